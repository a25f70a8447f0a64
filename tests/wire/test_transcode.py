"""The pipe between two formats: how events are cut, what is noted, what is bounded.

The reader and the writer here are the simplest that there are, of no real format: an event is one
JSON object, and what it says is written as it is. That real ones fit together is tested in
test_transcode_properties.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.errors import BadReply, BrokenStream, RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.alike import Plain
from relayd.wire.events import (
    Close,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Open,
    Reply,
    Start,
)
from relayd.wire.facts import parsed
from relayd.wire.names import Names
from relayd.wire.parts import Document, Opaque, Text, ToolCall
from relayd.wire.pipe import Headers
from relayd.wire.restore import Restore
from relayd.wire.transcode import (
    LARGEST,
    MOST_BRACKETS,
    MOST_VALUES,
    Transcode,
    blocks_in,
    estimated_output,
    may_be_read,
    rewritten,
    single,
    streamed,
    whole,
)
from tests.wire.cuts import cut, every_way


class SimpleReader:
    """One object is one event."""

    plain: Plain | None = None

    def read(self, name: bytes, data: bytes) -> Events:
        value = parsed(data)
        return [] if value is None else self.said(value)

    def said(self, value: Document) -> Events:
        events: Events = []
        if "id" in value:
            usage = Usage(in_uncached=value["input"]) if "input" in value else None
            events += [Start(value["id"], "m", usage=usage), Open(0, Text(""))]
        if "text" in value:
            events.append(Delta(0, value["text"]))
        if "call" in value:
            events += [Open(1, ToolCall(id="", name=value["call"])), Close(1)]
        if "usage" in value:
            events.append(Counted(Usage(out_total=value["usage"])))
        if "error" in value:
            events.append(Failure(value["error"]))
        if "many" in value:
            raise OverflowError("The upstream's reply has too many parts.")
        if "number" in value:
            events.append(Open(1, Opaque("chat", "n", {"n": 2**70})))
        if "choice" in value:
            events.append(Open(1, Text(""), value["choice"]))
        if "end" in value:
            events += [Close(0), End()]
        return events

    def whole(self, document: Document) -> Events:
        return self.said(document)

    def end(self) -> Events:
        return [Close(0), Failure("too early")]


class SimpleWriter:
    """Text as it is, `<` and `>` around the reply, `!` for a failure, calls in brackets."""

    keepalive = b"."
    stream_headers: Headers = ((b"content-type", b"text/plain"),)

    def write(self, events: Events) -> bytes:
        return b"".join(map(self._one, events))

    def say(self, block: int, text: str) -> bytes:
        return text.encode()

    def _one(self, event: object) -> bytes:
        match event:
            case Start():
                return b"<"
            case Delta():
                return event.text.encode()
            case Open(part=ToolCall() as call):
                return f"[{call.name} {call.id}]".encode()
            case Open(part=Opaque() as opaque):
                return orjson.dumps(opaque.document)
            case Failure():
                return b"!" + event.message.encode()
            case End():
                return b">"
        return b""

    def error(self, exc: RelayError) -> bytes:
        return b"!" + exc.message.encode()

    def whole(self, reply: Reply) -> Document:
        parts = reply.choices[0].parts
        return {"parts": [p.document if isinstance(p, Opaque) else text_of(p) for p in parts]}


def text_of(part: object) -> str:
    return part.text if isinstance(part, Text) else ""


def transcode(restore: Restore | None = None, largest: int = LARGEST) -> Transcode:
    return Transcode(SimpleReader(), SimpleWriter(), restore, largest)


def run(pipe: Transcode, pieces: Iterable[bytes]) -> bytes:
    return b"".join([*map(pipe.feed, pieces), pipe.finish()])


def event(**value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


HELLO = event(id="r1", input=3) + event(text="Hello") + event(text=" you", usage=2) + event(end=1)


# --- cutting --------------------------------------------------------------------------------------


def test_a_reply_is_read_and_written() -> None:
    pipe = transcode()

    assert run(pipe, [HELLO]) == b"<Hello you>"
    assert (pipe.complete, pipe.failed, pipe.opened) == (True, None, True)
    assert (pipe.response_id, pipe.seen) == ("r1", len(HELLO))
    assert pipe.usage == Usage(out_total=2)
    assert (pipe.keepalive, pipe.stream_headers) == (b".", SimpleWriter.stream_headers)
    assert pipe.at_boundary


def test_it_is_the_same_wherever_the_reads_were_cut() -> None:
    """wire-formats, trap 2."""
    for stream in (HELLO, HELLO.replace(b"\n", b"\r\n"), HELLO.replace(b"\n", b"\r")):
        assert {run(transcode(), pieces) for pieces in every_way(stream)} == {b"<Hello you>"}


def test_an_emoji_cut_byte_by_byte_arrives_whole() -> None:
    """wire-formats, trap 5."""
    stream = 'data: {"text":"a🦊b"}\n\n'.encode()

    assert {run(transcode(), pieces) for pieces in every_way(stream)} == {"a🦊b".encode()}


def test_comments_between_and_inside_events_are_skipped() -> None:
    """wire-formats, trap 4."""
    stream = b': keepalive\n\ndata: {"text":"a"}\n: inside\n\n: PROCESSING\n\n' + event(text="b")

    assert {run(transcode(), pieces) for pieces in every_way(stream)} == {b"ab"}


def test_unicode_line_separators_break_no_line() -> None:
    """wire-formats, trap 6."""
    text = "a\u2028b\u2029c\u0085d"
    stream = f'data: {{"text":"{text}"}}\n\n'.encode()

    assert run(transcode(), [stream]) == text.encode()
    assert run(transcode(), cut(stream, range(1, 99))) == text.encode()


def test_a_byte_order_mark_is_stripped_and_never_written() -> None:
    """wire-formats, trap 7."""
    for pieces in every_way(sse.BOM + event(text="a")):
        assert run(transcode(), pieces) == b"a"


def test_a_last_event_without_blank_line_is_delivered() -> None:
    """wire-formats, trap 8."""
    for stream in (HELLO[:-1], HELLO[:-2]):
        pipe = transcode()
        assert run(pipe, [stream]) == b"<Hello you>"
        assert pipe.complete


def test_data_without_a_space_and_in_several_lines_is_data() -> None:
    """wire-formats, traps 1 and 3."""
    stream = b'data:{"text":"a"}\n\ndata: {"text":\ndata: "b"}\n\nevent: e\ndata: {"text":"c"}\n\n'

    assert {run(transcode(), pieces) for pieces in every_way(stream)} == {b"abc"}


def test_one_event_of_eight_megabytes_passes_in_linear_time() -> None:
    """wire-formats, trap 9."""

    def seconds(size: int) -> float:
        stream = event(text="x" * size)
        pieces = list(cut(stream, range(65_536, len(stream), 65_536)))
        start = time.process_time()
        assert len(run(transcode(), pieces)) == size
        return time.process_time() - start

    seconds(2**20)
    once, eight = min(seconds(2**20) for _ in range(3)), min(seconds(2**23) for _ in range(3))
    assert eight < 40 * once + 0.1


def test_nothing_behind_the_end_counts() -> None:
    """wire-formats, trap 14."""
    for rest in (event(text="more"), event(error="late") + event(text="more")):
        pipe = transcode()
        assert run(pipe, [HELLO, rest]) == b"<Hello you>"
        assert run(transcode(), [HELLO + rest]) == b"<Hello you>"
        assert (pipe.complete, pipe.failed) == (True, None)


@given(st.lists(st.sampled_from([b"data: ", b"event: e", b"\n", b"\r", b"x", b":"])))
@example([b"data: ", b"\r", b"\r", b"\n", b"data: "])
def test_the_short_way_reads_as_the_long_way(pieces: list[bytes]) -> None:
    stream = b"".join(pieces) + b"\n\n"

    events = [sse.parse(block) for block in sse.blocks(stream)]
    blocks = blocks_in(stream)
    assert b"".join(blocks) == stream
    assert [sse.parse(block) for block in blocks] == events
    found = single(stream)
    assert found is None or found in events


@pytest.mark.parametrize(
    ("chunk", "found"),
    [
        (b"data: {}\n\n", (b"", b"{}")),
        (b"data: {}\r\n\r\n", (b"", b"{}")),
        (b"event: a\ndata: {}\n\n", (b"a", b"{}")),
        (b"event: a\r\ndata: {}\r\n\r\n", None),
        (b"data: {\rdata: }\r\n\r\n", None),
        (b"data: {}\r\n\n", None),
        (b"data:{}\n\n", None),
        (b"data: {}\n", None),
        (b"data: {}\r\r", None),
        (b"data: {\rdata: }\n\n", None),
        (b"data: {\ndata: }\n\n", None),
        (b"id: 1\ndata: {}\n\n", None),
        (b"event: a\nevent: b\ndata: {}\n\n", None),
        (b"data: {}\n\nx", None),
        (b"event: a\ndata: {}\nx\n", None),
        (b"", None),
    ],
)
def test_one_event_as_most_hosts_write_it_is_seen_at_once(
    chunk: bytes, found: tuple[bytes, bytes] | None
) -> None:
    assert single(chunk) == found


# --- what is noted --------------------------------------------------------------------------------


def test_a_failure_inside_of_the_stream_is_the_upstreams_and_the_last_word() -> None:
    pipe = transcode()

    assert run(pipe, [event(error="overloaded"), event(text="a")]) == b"!overloaded"
    assert (pipe.failed, pipe.complete, pipe.opened) == ("overloaded", False, False)
    assert pipe.first_error_event == b'{"error":"overloaded"}'
    assert run(pipe, [event(text="b")]) == b""
    assert run(transcode(), [event(error="overloaded")[:-2]]) == b"!overloaded"


def test_a_stream_that_ends_too_early_is_not_completed() -> None:
    """The relay tells of it, in the client's words: nothing is made up here."""
    pipe = transcode()

    assert run(pipe, [event(id="r", text="a")]) == b"<a"
    assert (pipe.complete, pipe.failed) == (False, None)
    assert pipe.error_event(BrokenStream("gone"), "r") == b"!gone"


def test_usage_at_the_start_counts_until_more_is_known() -> None:
    pipe = transcode()

    pipe.feed(event(id="r", input=3))
    assert pipe.usage == Usage(in_uncached=3)
    pipe.feed(event(usage=7))
    assert pipe.usage == Usage(out_total=7)


def test_what_was_produced_is_estimated_by_its_text() -> None:
    pipe = transcode()
    pipe.feed(event(id="r", text="12345678"))

    assert pipe.estimate_output() == 2


@pytest.mark.parametrize(
    ("first", "begins"), [(b"d", True), (b":", True), (b"{", False), (b"[", False), (b"<", False)]
)
def test_json_is_no_stream(first: bytes, begins: bool) -> None:
    assert transcode().begins(first) is begins


def test_it_says_how_far_it_is() -> None:
    pipe = transcode()
    pipe.feed(b"data: ")

    assert repr(pipe).endswith(" 6 pending>")
    assert repr(pipe).startswith("<Transcode <")
    run(pipe, [b'{"end":1}'])
    assert repr(pipe).endswith(" complete>")


# --- restoring ------------------------------------------------------------------------------------


def test_a_call_without_an_id_gets_one_in_streams_and_in_whole_replies() -> None:
    def restore() -> Restore:
        return Restore(Names([], "chat"), "", "req-1")

    out = run(transcode(restore()), [event(call="f")])
    assert out.startswith(b"[f call_") and len(out) == len(b"[f call_]") + 24
    document = {"id": "r", "call": "f"}
    assert streamed(document, SimpleReader(), SimpleWriter(), restore()) == b"<" + out


def test_events_that_the_restoring_keeps_write_nothing() -> None:
    class Keeping(Restore):
        def apply(self, events: Events) -> Events:
            return []

    assert run(transcode(Keeping(Names([], "chat"))), [event(text="a")]) == b""


# --- bounds ---------------------------------------------------------------------------------------


def test_a_reader_that_gives_up_ends_the_stream_with_an_error() -> None:
    pipe = transcode()

    assert run(pipe, [event(text="a") + event(many=1) + event(text="b")]) == (
        b"a!The upstream's reply has too many parts."
    )
    assert pipe.failed == "The upstream's reply has too many parts."
    assert repr(pipe).endswith(" The upstream's reply has too many parts.>")


def test_what_cannot_be_written_ends_the_stream_with_an_error() -> None:
    pipe = transcode()

    assert run(pipe, [event(number=1, end=1), event(text="a")]) == (
        b"!The upstream's reply holds what cannot be written again."
    )
    assert not pipe.complete


def test_an_event_that_is_too_large_ends_the_stream_rather_than_vanish() -> None:
    pipe = transcode(largest=1000)
    large = event(text="x" * 2000)

    out = run(pipe, [event(text="a"), *cut(large, range(100, 2000, 100)), event(text="b")])
    assert out == b"a!The upstream's reply is too large to be translated."


@pytest.mark.parametrize("said", [{"text": "x" * 90}, {"id": "r", "rest": "x" * 90}])
def test_all_that_a_reply_says_is_bounded(said: dict[str, object]) -> None:
    """Some writers have to say all of it once more: an endless upstream would fill the memory."""
    pipe = transcode(largest=1000)
    for _ in range(30):
        pipe.feed(event(**said))

    assert pipe.failed == "The upstream's reply is too large to be translated."


def test_what_a_reader_says_at_the_end_is_bounded_as_well() -> None:
    class Late(SimpleReader):
        def end(self) -> Events:
            return [Delta(0, "x" * 2000)]

    pipe = Transcode(Late(), SimpleWriter(), largest=1000)
    assert run(pipe, [event(text="a")]) == b"a!The upstream's reply is too large to be translated."


def deep_event(depth: int) -> bytes:
    return b'data: {"text":"a","rest":' + b"[" * depth + b"]" * depth + b"}\n\n"


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_what_is_nested_too_deep_is_not_read() -> None:
    """orjson reads a thousand levels, and writes a quarter of that."""
    assert run(transcode(), [deep_event(150)]) == b"a"
    assert run(transcode(), [deep_event(300)]).startswith(b"!The upstream's reply is nested")
    assert run(transcode(), [event(text="a", rest=[[]] * 300)]) == b"a"


@pytest.mark.parametrize(
    "rest",
    [
        b"[" + b"[]," * MOST_BRACKETS + b"0]",
        b"[" + b"{}," * MOST_BRACKETS + b"0]",
        b"[" + b"0," * (MOST_VALUES + 1) + b"0]",
    ],
)
def test_an_event_of_too_many_values_is_not_even_parsed(rest: bytes) -> None:
    """A few megabytes of them would stop the event loop for many seconds."""
    data = b'{"text":"a","rest":%b}' % rest

    out = run(transcode(), [b"data: %b\n\n" % data, event(text="b")])
    assert out == b"!The upstream's reply holds too many values to be translated."
    assert not may_be_read(data)


def test_as_many_values_as_answers_have_are_read() -> None:
    rest = [[number, number] for number in range(50_000)]
    assert run(transcode(), [event(text="a", rest=rest)]) == b"a"
    assert may_be_read(event(text="x, y" * 800_000 + "[]", rest=rest))


# --- whole replies --------------------------------------------------------------------------------


def test_a_whole_reply_is_written_whole_or_as_a_stream() -> None:
    document = {"id": "r", "text": "Hello", "end": 1}

    assert whole(document, SimpleReader(), SimpleWriter(), None) == b'{"parts":["Hello"]}'
    assert rewritten(document, SimpleReader(), SimpleWriter(), None) == {"parts": ["Hello"]}
    assert streamed(document, SimpleReader(), SimpleWriter(), None) == b"<Hello>"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"error": "overloaded"}, "The upstream answered with an error: overloaded"),
        ({"many": 1}, "The upstream's reply has too many parts."),
        ({"number": 1}, "The upstream's reply holds what cannot be written again."),
        (nested(300), "The upstream's reply is nested too deep to be translated."),
    ],
)
def test_what_is_no_reply_is_the_upstreams_failure(document: Document, why: str) -> None:
    for give in (whole, streamed):
        with pytest.raises(BadReply) as caught:
            give(document, SimpleReader(), SimpleWriter(), None)
        assert caught.value.message == why


def test_a_whole_reply_with_absurdly_many_answers_is_refused() -> None:
    with pytest.raises(BadReply, match="too many answers"):
        whole({"choice": 10**9}, SimpleReader(), SimpleWriter(), None)
    with pytest.raises(BadReply):
        rewritten({"choice": 10**9}, SimpleReader(), SimpleWriter(), None)


def test_a_whole_reply_that_is_nested_too_deep_is_refused_in_a_stream_as_well() -> None:
    deep: Document = {}
    for _ in range(300):
        deep = {"a": deep}
    for give in (whole, streamed, rewritten):
        with pytest.raises(BadReply, match="nested too deep"):
            give(deep, SimpleReader(), SimpleWriter(), None)


def test_without_usage_a_whole_reply_is_measured_by_its_text() -> None:
    document: Document = {"text": "x" * 400}
    assert estimated_output(document, SimpleReader()) == 100
