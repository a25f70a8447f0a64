"""Streams of pictures, speech and transcripts: when they are complete, and what they used."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.errors import BrokenStream
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.chat.media import read_head
from relayd.wire.chat.media_stream import MediaStream, PictureStream, SpeechStream, streamed
from relayd.wire.chat.stream import observer
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.paths import TAILS

USAGE = {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105}
# As in a picture: no event name, no quote, no dot can stand in it.
PIXELS = "QUJD" * 5000


def of(tail: str, **fields: Any) -> Head:
    return read_head(orjson.dumps({"model": "m", "stream": True, **fields}), TAILS[tail])


def event(kind: str, *, named: bool = True, **fields: Any) -> bytes:
    data = orjson.dumps({"type": kind, **fields})
    return (b"event: %b\n" % kind.encode() if named else b"") + b"data: %b\n\n" % data


def read(stream: Passthrough, *events: bytes) -> Passthrough:
    for one in events:
        assert stream.feed(one) == one
    assert stream.finish() == b""
    return stream


PARTIAL = event("image_generation.partial_image", b64_json=PIXELS, partial_image_index=0)
COMPLETED = event("image_generation.completed", b64_json=PIXELS, usage=USAGE)


def test_each_format_of_stream_has_its_observer() -> None:
    assert type(observer(of("images/generations", n=2))) is PictureStream
    assert type(observer(of("audio/speech", input="Hi"))) is SpeechStream
    transcript = TAILS["audio/transcriptions"]
    assert type(observer(read_head(b'{"model":"m","stream":true}', transcript))) is MediaStream


def test_a_picture_is_complete_with_its_event() -> None:
    stream = read(observer(of("images/generations")), PARTIAL, PARTIAL, COMPLETED)

    assert stream.complete and stream.failed is None and stream.opened
    assert stream.usage == Usage(
        in_uncached=5, out_total=100, out_image=100, total_reported=105, images=1
    )


def test_as_many_pictures_have_to_come_as_were_asked_for() -> None:
    stream = observer(of("images/generations", n=2))
    read(stream, PARTIAL, COMPLETED)
    assert not stream.complete

    read(stream, COMPLETED)
    assert stream.complete
    assert stream.usage is not None
    assert (stream.usage.images, stream.usage.out_total) == (2, 200)

    read(stream, COMPLETED)
    assert stream.usage is not None and stream.usage.images == 3, "what came is paid for"


def test_the_end_mark_ends_a_stream_with_fewer_pictures() -> None:
    assert read(PictureStream(3), COMPLETED, b"data: [DONE]\n\n").complete
    assert not read(PictureStream(1), PARTIAL, b"data: [DONE]\n\n").complete


def test_a_picture_that_began_to_show_counts() -> None:
    stream = read(PictureStream(1), PARTIAL)

    assert not stream.complete and stream.usage == Usage(images=1)
    assert stream.estimate_output() == 0
    assert PictureStream().usage is None


def test_an_event_that_nobody_knows_changes_nothing() -> None:
    stream = read(PictureStream(), event("image_generation.in_progress"))

    assert stream.opened and not stream.complete and stream.usage is None


def test_edits_have_events_of_their_own_name() -> None:
    edited = event("image_edit.completed", b64_json=PIXELS, usage=USAGE)

    assert read(PictureStream(), edited).complete


@pytest.mark.parametrize("cut", [1, 7, 100, 4096])
def test_an_event_in_many_reads_is_one_event(cut: int) -> None:
    stream, whole = PictureStream(), PARTIAL + COMPLETED
    pieces = [whole[at : at + cut] for at in range(0, len(whole), cut)]

    assert b"".join(map(stream.feed, pieces)) == whole
    assert stream.complete and stream.usage is not None and stream.usage.images == 1


def test_an_event_without_a_type_goes_by_its_name() -> None:
    assert read(MediaStream(), b'event: transcript.text.done\ndata: {"text":"Hi"}\n\n').complete


def test_speech_is_all_audio() -> None:
    stream = read(
        SpeechStream(),
        event("speech.audio.delta", audio=PIXELS),
        event("speech.audio.delta", audio=PIXELS, named=False),
        event("speech.audio.done", usage=USAGE),
    )

    assert stream.complete
    assert stream.usage == Usage(in_uncached=5, out_total=100, out_audio=100, total_reported=105)


def test_a_transcript_is_complete_when_its_text_is_done() -> None:
    stream = MediaStream()
    read(stream, event("transcript.text.delta", delta="Hi"))
    assert not stream.complete and stream.opened and stream.usage is None

    read(stream, event("transcript.text.done", text="Hi", usage=USAGE))
    assert stream.complete and stream.usage is not None and stream.usage.out_total == 100


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"error":{"message":"Blocked."}}\n\n',
        b'event: error\ndata: {"type":"error","error":{"message":"Blocked."}}\n\n',
        b'event: error\ndata: {"message":"Blocked."}\n\n',
    ],
)
def test_an_error_is_noticed_first_or_later(bad: bytes) -> None:
    first, later = read(PictureStream(), bad), read(PictureStream(), PARTIAL, bad)

    assert first.failed == later.failed == "Blocked."
    assert first.first_error_event and not first.opened and later.opened


def test_an_error_of_ours_is_worded_as_in_chat() -> None:
    data = sse.parse(PictureStream().error_event(BrokenStream("Cut."), "req_1")).data

    assert orjson.loads(data)["error"]["message"] == "Cut."
    assert orjson.loads(data)["request_id"] == "req_1"


# --- a whole reply where a stream was asked for ---------------------------------------------------


def events_of(head: Head, reply: dict[str, Any]) -> list[dict[str, Any]]:
    made = streamed(head, orjson.dumps(reply), 99)
    assert made is not None
    blocks = [sse.parse(block) for block in sse.blocks(made)]
    events: list[dict[str, Any]] = [orjson.loads(block.data) for block in blocks]
    assert [event["type"].encode() for event in events] == [block.name for block in blocks]
    assert read(observer(head), made).complete
    return events


def test_a_whole_reply_of_pictures_becomes_their_events() -> None:
    reply = {"created": 5, "size": "8x8", "data": [{"b64_json": "A"}, {"url": "u"}], "usage": USAGE}
    first, last = events_of(of("images/generations", n=2), reply)

    assert (first["type"], first["b64_json"], first["size"]) == (
        "image_generation.completed",
        "A",
        "8x8",
    )
    assert (last["url"], last["usage"], last["created_at"]) == ("u", USAGE, 5)
    assert "usage" not in first


def test_a_whole_reply_of_an_edit_has_the_names_of_edits() -> None:
    (only,) = events_of(of("images/edits"), {"data": [{"b64_json": "A"}]})

    assert (only["type"], only["created_at"]) == ("image_edit.completed", 99)


def test_a_whole_transcript_becomes_its_events() -> None:
    transcript = TAILS["audio/transcriptions"]
    head = read_head(b'{"model":"m","stream":true}', transcript)
    delta, done = events_of(head, {"text": "Hi", "usage": USAGE})

    assert (delta["delta"], done["text"], done["usage"]) == ("Hi", "Hi", USAGE)


def test_what_cannot_be_streamed_passes_as_it_is() -> None:
    speech = of("audio/speech", input="Hi")
    assert streamed(speech, b'{"audio":"A"}', 99) is None
    assert streamed(speech, b"\x00", 99) is None
    assert streamed(of("images/generations"), b'{"data":[]}', 99) is None
