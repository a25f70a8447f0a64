"""Chat streams: the bytes pass, the usage is right, only the hidden chunk is missing."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BrokenStream
from relayd.model import Usage
from relayd.wire.chat.request import read_head
from relayd.wire.chat.stream import LONGEST_HELD, ChatPassthrough, HidingChat
from relayd.wire.chat.stream import observer as stream_of
from relayd.wire.paths import TAILS
from tests.wire.cuts import cut, every_way, observer, places, run


def data(value: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + orjson.dumps(value) + end


def chunk(text: str, finish: str | None = None, end: bytes = b"\n\n", **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return data({"id": "c1", "choices": [choice], **more}, end)


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
READ = Usage(in_uncached=5, out_total=2, total_reported=7)
ALONE = data({"id": "c1", "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"
START = b": hello\n\n" + chunk("h\u00e9\u2028") + chunk("y", usage=None)
STREAM = START + chunk("", "stop") + ALONE + DONE


def test_the_bytes_pass_and_the_usage_is_right_however_they_are_cut() -> None:
    for pieces in every_way(STREAM):
        watch = observer("chat")
        assert run(watch, pieces) == STREAM
        assert watch.usage == READ
        assert watch.complete
        assert watch.failed is None
        assert watch.response_id == "c1"
        assert watch.seen == len(STREAM)


def test_a_read_is_given_out_as_the_same_object() -> None:
    watch = observer("chat")
    for piece in (chunk("a"), chunk("b")[:9], chunk("b")[9:], b""):
        assert watch.feed(piece) is piece


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
def test_only_the_usage_chunk_is_hidden(end: bytes) -> None:
    stream = STREAM.replace(b"\n\n", end)
    shown = (START + chunk("", "stop") + DONE).replace(b"\n\n", end)
    for pieces in every_way(stream):
        watch = observer("chat", asked_usage=False)
        assert run(watch, pieces) == shown
        assert watch.usage == READ
        assert watch.at_boundary


@given(
    st.lists(
        st.sampled_from(
            [chunk("a"), ALONE, b": c\r\n\r\n", b": d\n", chunk("b", end=b"\r\n\r\n"), b"\n"]
        )
    ),
    places,
)
def test_hiding_takes_out_usage_chunks_wherever_they_stand(
    parts: list[bytes], cuts: list[int]
) -> None:
    watch = HidingChat()
    shown = b"".join(part for part in parts if part != ALONE)
    assert run(watch, cut(b"".join(parts), cuts)) == shown
    assert (watch.usage is not None) == (ALONE in parts)


@pytest.mark.parametrize(
    "terminal",
    [
        chunk("x", "stop", usage=USAGE),
        chunk("", None, usage=USAGE),
        data({"choices": [], "prompt_filter_results": []}),
        data({"choices": [], "usage": None}),
    ],
)
def test_a_chunk_with_anything_else_in_it_is_never_hidden(terminal: bytes) -> None:
    stream = chunk("a") + terminal + DONE
    watch = observer("chat", asked_usage=False)
    assert run(watch, [chunk("a"), terminal, DONE]) == stream


def test_what_holds_no_usage_is_given_out_as_the_object_that_came() -> None:
    for pieces in every_way(STREAM):
        watch = ChatPassthrough()
        assert all(watch.feed(piece) is piece for piece in pieces)
    other = START.replace(b"usage", b"other")
    assert HidingChat().feed(other) is other


def test_usage_with_null_choices_is_hidden_too() -> None:
    watch = observer("chat", asked_usage=False)
    assert watch.feed(data({"choices": None, "usage": USAGE})) == b""
    assert watch.usage == READ


def test_groq_keeps_its_usage_elsewhere() -> None:
    watch = observer("chat")
    watch.feed(chunk("a"))
    watch.feed(chunk("", "stop", x_groq={"usage": USAGE}))
    assert watch.usage == READ


def test_usage_on_every_chunk_is_a_running_total() -> None:
    watch = observer("chat")
    for count in range(3):
        watch.feed(chunk("a", usage={"prompt_tokens": 5, "completion_tokens": count}))
    assert watch.usage == Usage(in_uncached=5, out_total=2)


@pytest.mark.parametrize("spelling", [(b'":', b'": '), (b'":', b'" : ')])
def test_a_host_that_writes_spaces_is_understood(spelling: tuple[bytes, bytes]) -> None:
    for pieces in every_way(STREAM.replace(*spelling)):
        watch = observer("chat")
        run(watch, pieces)
        assert watch.usage == READ
        assert watch.complete


def test_content_that_looks_like_an_end_is_no_end() -> None:
    watch = observer("chat")
    watch.feed(chunk("a"))
    watch.feed(chunk('[DONE] "finish_reason":"stop" "usage":{}'))
    watch.feed(chunk("b", finish=""))
    assert not watch.complete
    assert watch.usage is None


def test_nothing_after_the_end_counts() -> None:
    watch = observer("chat")
    run(watch, [chunk("a"), b"data: [DONE]  \n\n", ALONE])
    assert watch.complete
    assert watch.usage is None


def test_a_finish_reason_completes_a_stream_without_end_marker() -> None:
    watch = observer("chat")
    watch.feed(chunk("a"))
    assert not watch.complete
    watch.feed(chunk("", "length"))
    assert watch.complete


@pytest.mark.parametrize("error", [{"message": "no", "code": 400}, "no"])
def test_an_error_in_the_stream_is_a_failure(error: object) -> None:
    event = data({"error": error})
    watch = observer("chat")
    assert run(watch, [chunk("a", error=None), event]) == chunk("a", error=None) + event
    assert watch.failed == "no"
    assert orjson.loads(watch.first_error_event) == {"error": error}


def test_json_instead_of_events_is_read_at_the_end() -> None:
    body = b'{"id":"c","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}'
    for asked in (True, False):
        watch = observer("chat", asked_usage=asked)
        assert run(watch, cut(body, [9, 30])) == body
        assert watch.usage == Usage(in_uncached=1)
        assert watch.complete


def test_a_last_event_without_blank_line_is_closed() -> None:
    """Before, SDKs dropped it; now they see it."""
    for asked in (True, False):
        for end in (b"", b"\n"):
            watch = observer("chat", asked_usage=asked)
            assert run(watch, [chunk("a"), b"data: [DONE]" + end]) == chunk("a") + DONE
            assert watch.complete
            assert watch.at_boundary
    watch = observer("chat", asked_usage=False)
    assert run(watch, [chunk("a"), ALONE.rstrip()]) == chunk("a")


def test_a_stream_that_breaks_inside_an_event_stays_incomplete() -> None:
    torn = chunk("b")[:-20]
    watch = observer("chat")
    assert run(watch, [chunk("a"), torn]) == chunk("a") + torn
    assert not watch.complete
    assert not watch.at_boundary
    hiding = observer("chat", asked_usage=False)
    assert run(hiding, [chunk("a"), torn]) == chunk("a")
    assert hiding.at_boundary


def test_a_torn_comment_is_not_lost_when_hiding() -> None:
    watch = observer("chat", asked_usage=False)
    assert run(watch, [chunk("a"), b": half"]) == chunk("a") + b": half"
    assert not watch.at_boundary


def test_an_error_event_stands_by_itself_behind_a_torn_event() -> None:
    broken = BrokenStream("gone")
    for torn, closing in [
        (b"", b""),
        (b"event: x\n", b""),
        (b"event: x", b"\n"),
        (b"data: ", b"\n"),
        (b'data: {"a', b"\n\n"),
    ]:
        watch = observer("chat")
        watch.feed(chunk("a"))
        watch.feed(torn)
        event = watch.error_event(broken, "req-1")
        assert event.startswith(closing + b'data: {"error":')
        assert event.endswith(b"\n\n")


@pytest.mark.parametrize("size", [LONGEST_HELD - 100, LONGEST_HELD + 9_000])
def test_a_long_event_is_held_only_so_long_when_hiding(size: int) -> None:
    stream = chunk("a") + chunk("x" * size) + ALONE + chunk("", "stop") + DONE
    shown = stream.replace(ALONE, b"")
    for step in (7_000, 30_000):
        watch = HidingChat()
        held = out = 0
        for piece in cut(stream, range(step, len(stream), step)):
            out += len(watch.feed(piece))
            held = max(held, watch.seen - out)
        assert held <= LONGEST_HELD + len(ALONE)
        again = HidingChat()
        assert run(again, cut(stream, range(step, len(stream), step))) == shown


def test_an_event_beyond_the_observers_limit_still_passes_when_hiding() -> None:
    stream = chunk("x" * 2 * LONGEST_HELD) + ALONE + chunk("", "stop") + DONE
    for step in (30_000, 70_000):
        watch = HidingChat(limit=LONGEST_HELD + 10)
        assert run(watch, cut(stream, range(step, len(stream), step))) == stream.replace(ALONE, b"")
        assert watch.usage == READ


def test_a_long_event_that_was_given_out_and_breaks_gets_its_error_apart() -> None:
    watch = HidingChat()
    torn = chunk("x" * 2 * LONGEST_HELD)[:-30]
    assert run(watch, [torn]) == torn
    assert not watch.at_boundary
    assert watch.error_event(BrokenStream("gone"), "r").startswith(b"\n\ndata: ")


def test_output_is_estimated_from_the_bytes_of_text() -> None:
    watch = ChatPassthrough()
    assert watch.estimate_output() == 0
    for _ in range(100):
        watch.feed(chunk("word"))
    assert watch.estimate_output() == 100
    for _ in range(100):
        watch.feed(chunk("word" * 10))
    assert 1000 <= watch.estimate_output() <= 1200


def test_events_that_came_in_one_read_are_estimated_alike() -> None:
    apart, together = ChatPassthrough(), ChatPassthrough()
    for _ in range(10):
        together.feed(chunk("a") * 20)
        for _ in range(20):
            apart.feed(chunk("a"))
    assert apart.estimate_output() == together.estimate_output() == 200


def completion(text: str, finish: str | None = None) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return data({"id": "cmpl-1", "object": "text_completion", "choices": [choice]})


@pytest.mark.parametrize("asked", [True, False])
def test_a_legacy_completion_is_measured_by_its_texts(asked: bool) -> None:
    options = b',"stream_options":{"include_usage":true}' if asked else b""
    body = b'{"model":"m","prompt":"a","stream":true%b}' % options
    watch = stream_of(read_head(body, TAILS["completions"]))
    pieces = [completion("word") for _ in range(50)]

    assert run(watch, pieces) == b"".join(pieces)
    assert not watch.complete and watch.estimate_output() == 50
    assert run(watch, [completion("", "stop"), ALONE, DONE]).count(b'"usage"') == int(asked)
    assert watch.complete and watch.usage == READ
