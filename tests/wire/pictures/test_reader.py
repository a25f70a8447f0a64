"""Replies of an image endpoint, read as events."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.events import Counted, End, Event, Events, Failure, Open, fold
from relayd.wire.gemini.reader import GeminiReader
from relayd.wire.parts import Document, Image
from relayd.wire.pictures.reader import MOST_HELD, PicturesReader, Tally

PNG = "iVBORw0KGgo="
USAGE = {"input_tokens": 5, "output_tokens": 1000, "total_tokens": 1005}
USED = Usage(in_uncached=5, out_total=1000, out_image=1000, total_reported=1005)


def pictures(events: Events) -> list[Image]:
    return [e.part for e in events if isinstance(e, Open) and isinstance(e.part, Image)]


def failure(events: Events) -> str:
    (found,) = [event.message for event in events if isinstance(event, Failure)]
    return found


def read(*events: tuple[bytes, object]) -> Events:
    reader, found = PicturesReader(), list[Event]()
    for name, value in events:
        data = value if isinstance(value, bytes) else orjson.dumps(value)
        found += reader.read(name, data)
    return found + reader.end()


@pytest.mark.parametrize(
    ("each", "more", "image"),
    [
        ({"b64_json": PNG}, {}, Image("image/png", PNG)),
        ({"b64_json": "AAAA"}, {"output_format": "webp"}, Image("image/webp", "AAAA")),
        ({"b64_json": "AAAA"}, {}, Image("image/png", "AAAA")),
        ({"b64_json": "AAA"}, {}, Image("image/png", "AAA=")),
        ({"url": "https://a.example/b"}, {}, Image("", "", "https://a.example/b")),
    ],
)
def test_a_picture_is_a_block(each: Document, more: Document, image: Image) -> None:
    document = {"created": 1, "data": [each], "usage": USAGE} | more
    events = PicturesReader().whole(document)
    assert pictures(events) == [image]
    reply = fold(events)
    assert reply.usage == USED
    assert reply.ended
    assert reply.start is not None
    assert reply.start.created == 1


def test_all_pictures_are_read_and_nothing_needs_to_be_counted() -> None:
    events = PicturesReader().whole({"data": [{"b64_json": PNG}, {"b64_json": PNG}]})
    assert len(pictures(events)) == 2
    assert not any(isinstance(event, Counted) for event in events)


@pytest.mark.parametrize("data", [None, [], [{}], [{"b64_json": "$"}], {"b64_json": PNG}, "x"])
def test_a_reply_without_a_picture_is_none(data: object) -> None:
    assert failure(PicturesReader().whole({"data": data})) == (
        "The upstream's reply holds no picture."
    )


def test_an_error_is_a_failure() -> None:
    error = {"message": "Slow down.", "status": 429}
    (found,) = PicturesReader().whole({"error": error})
    assert found == Failure("Slow down.", 429)
    (found,) = PicturesReader().whole({"error": {"code": "x"}})
    assert found == Failure("x", 502)
    assert failure(read((b"error", {"error": {"message": "No."}}), (b"", {"data": 1}))) == "No."


def completed(name: str = "image_generation", **more: Any) -> tuple[bytes, Document]:
    kind = f"{name}.completed"
    value = {"type": kind, "b64_json": PNG, "created_at": 3, "usage": USAGE} | more
    return kind.encode(), value


def test_a_stream_has_the_final_pictures_only() -> None:
    partial = (b"image_generation.partial_image", {"b64_json": "AAAA"})
    name, value = completed("image_edit")
    events = read(partial, completed(), (b"", value), (b"", b"garbage"))
    assert name == b"image_edit.completed"
    assert pictures(events) == [Image("image/png", PNG)] * 2
    usage = fold(events).usage
    assert usage is not None
    assert usage.out_total == 2000


def test_nothing_comes_behind_the_end() -> None:
    reader = PicturesReader()
    reader.read(*_dumped(completed()))
    assert isinstance(reader.read(b"", b"[DONE]")[-1], End)
    assert reader.read(*_dumped(completed())) == []
    assert reader.end() == []
    assert "drawn=1" in repr(reader)


def _dumped(event: tuple[bytes, Document]) -> tuple[bytes, bytes]:
    return event[0], orjson.dumps(event[1])


def chunk(*parts: Document, **candidate: Any) -> Document:
    return {
        "candidates": [{"content": {"parts": list(parts)}} | candidate],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 9},
    }


DRAWN = {"inlineData": {"mimeType": "image/png", "data": PNG}}


def tallied(*chunks: Document) -> tuple[Tally, list[int], Events]:
    """What each chunk came to, and the events of all."""
    tally, sizes, found = Tally(GeminiReader()), list[int](), list[Event]()
    for each in chunks:
        events = tally.read(b"", orjson.dumps(each))
        sizes.append(len(events))
        found += events
    return tally, sizes, found + tally.end()


def test_a_tally_says_how_many_pictures_came() -> None:
    whole = chunk(DRAWN, DRAWN, finishReason="STOP")
    tally, _, streamed = tallied(whole)
    for events in (streamed, Tally(GeminiReader()).whole(whole)):
        counted = [event for event in events if isinstance(event, Counted)][-1]
        assert counted.usage.images == 2
    assert "2 of" in repr(tally)
    assert tally.undrawn is None


def test_nothing_is_told_before_the_first_picture() -> None:
    _, sizes, events = tallied(
        chunk({"text": "Here "}), chunk({"text": "it is"}), chunk(DRAWN), chunk({"text": "!"})
    )
    assert sizes[:2] == [0, 0]
    assert sizes[2] > 5
    assert [event.__class__.__name__ for event in events[:4]] == [
        "Start",
        "Counted",
        "Open",
        "Delta",
    ]
    assert len(pictures(events)) == 1


def test_a_stream_without_a_picture_is_a_failure_that_says_why() -> None:
    tally, _, events = tallied(chunk({"text": "What cat?"}), chunk(finishReason="IMAGE_SAFETY"))
    (found,) = events
    assert isinstance(found, Failure)
    assert (found.status, found.code) == (400, "moderation_blocked")
    assert "IMAGE_SAFETY" in found.message
    assert tally.undrawn is not None
    assert tally.undrawn.usage is not None
    assert tally.end() == []


def test_a_failure_is_told_at_once() -> None:
    tally, sizes, events = tallied(chunk({"text": "x"}), {"error": {"message": "It broke."}})
    assert failure(events) == "It broke."
    assert sizes[0] == 0
    assert tally.undrawn is None


def test_a_flood_of_words_is_not_held() -> None:
    word = "x" * (MOST_HELD // 2)
    _, sizes, _ = tallied(chunk({"text": word}), chunk({"text": word}), chunk({"text": "x"}))
    assert sizes[0] == 0
    assert all(sizes[1:])
