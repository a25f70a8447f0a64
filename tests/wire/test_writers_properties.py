"""Whatever events come, each writer obeys its format, and its stream and its whole reply agree.

The witness is the format's own reader: what it reads from the written stream and from the written
document is the same answer. Where a format itself cannot say the same in both, the difference has a
name (`alike`).
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from relayd.errors import RelayError
from relayd.model import FormatName
from relayd.wire import sse
from relayd.wire.codec import Codec
from relayd.wire.events import Choice, Events, Failure, Reply, fold
from relayd.wire.formats import FORMATS
from relayd.wire.parts import Carrier, Image, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from tests.wire.grammar import events as order
from tests.wire.grammar import gemini
from tests.wire.grammar.table import STREAMS, WHOLES
from tests.wire.strategies import NAMES, coming, examples, replies, short

FREE_TEXT: Final = ("chat", "responses")  # the formats that have tools with free text

each_format = pytest.mark.parametrize("name", NAMES)


def codec(name: FormatName) -> Codec:
    found = FORMATS[name].codec
    if found is None:
        pytest.skip(f"{name} has no codec yet")
    return found


def written(name: FormatName, events: Events) -> bytes:
    return codec(name).writer(coming(name)).write(events)


def read(name: FormatName, data: bytes) -> Events:
    reader = codec(name).reader()
    events: Events = []
    for block in sse.blocks(data):
        event = sse.parse(block)
        if event.data:
            events += reader.read(event.name, event.data)
    return events + reader.end()


def fitting(name: FormatName, *, failures: bool = True) -> st.SearchStrategy[Events]:
    # A chat chunk has no place for which of two texts it goes on with: they come out mixed.
    return replies(failures=failures, custom=name in FREE_TEXT, mixed=name != "chat")


# --- the grammar --------------------------------------------------------------------------------


@each_format
def test_every_written_stream_obeys_its_grammar(name: FormatName) -> None:
    codec(name)

    @examples(50)
    @given(events=fitting(name))
    def holds(events: Events) -> None:
        data = written(name, events)
        note(f"{short(events)}\n{data.decode(errors='replace')}")
        failed = isinstance(events[-1], Failure)
        assert STREAMS[name](data) == ("failed" if failed else "complete")

    holds()


@each_format
def test_every_written_reply_has_its_shape(name: FormatName) -> None:
    codec(name)

    @examples(40)
    @given(events=fitting(name, failures=False))
    def holds(events: Events) -> None:
        document = codec(name).writer(coming(name)).whole(fold(events))
        note(repr(document))
        WHOLES[name](document)

    holds()


@each_format
def test_the_bytes_do_not_depend_on_how_events_were_grouped(name: FormatName) -> None:
    codec(name)

    @examples(30)
    @given(events=fitting(name))
    def holds(events: Events) -> None:
        writer = codec(name).writer(coming(name))
        assert b"".join(writer.write([each]) for each in events) == written(name, events)

    holds()


@each_format
def test_a_failure_of_ours_may_come_anywhere(name: FormatName) -> None:
    codec(name)

    @examples(30)
    @given(events=fitting(name), at=st.integers(0, 30))
    def holds(events: Events, at: int) -> None:
        begun = events[: min(at, len(events) - 1)]
        writer = codec(name).writer(coming(name))
        data = writer.write(begun) + writer.error(RelayError("It stalled.", status=504))
        note(f"{short(events)}\n{data.decode(errors='replace')}")
        assert STREAMS[name](data) == "failed"

    holds()


@examples(50)
@given(events=replies(custom=False))
def test_an_array_is_json_and_obeys_the_grammar_of_gemini(events: Events) -> None:
    """wire-formats, trap 102."""
    data = codec("gemini").writer(coming("gemini", array=True)).write(events)
    note(f"{short(events)}\n{data.decode(errors='replace')}")
    failed = isinstance(events[-1], Failure)
    assert gemini.stream(data, array=True) == ("failed" if failed else "complete")


@each_format
def test_keep_alives_do_no_harm_between_writes(name: FormatName) -> None:
    codec(name)

    @examples(20)
    @given(events=fitting(name))
    def holds(events: Events) -> None:
        writer = codec(name).writer(coming(name))
        pieces = [writer.keepalive + writer.write([each]) for each in events[:-1]]
        data = b"".join([*pieces, writer.write(events[-1:])])
        failed = isinstance(events[-1], Failure)
        assert STREAMS[name](data) == ("failed" if failed else "complete")

    holds()


# --- the stream and the whole reply -------------------------------------------------------------


@each_format
def test_a_stream_says_the_same_as_the_whole_reply(name: FormatName) -> None:
    codec(name)

    @examples(50)
    @given(events=fitting(name, failures=False))
    def holds(events: Events) -> None:
        data = written(name, events)
        document = codec(name).writer(coming(name)).whole(fold(events))
        note(f"{short(events)}\n{data.decode(errors='replace')}")
        note(repr(document))
        streamed, whole = read(name, data), codec(name).reader().whole(document)
        assert order.check(streamed) == "complete"
        assert order.check(whole) == "complete"
        assert alike(name, fold(streamed)) == alike(name, fold(whole))

    holds()


def alike(name: FormatName, reply: Reply) -> Any:
    """What must be the same, by these named differences.

    an empty text is no part: a stream cannot know that nothing will come;
    neighbours are one: a stream of Gemini's has no borders between texts;
    kinds are sorted: a whole chat message has one place for all texts, and one for all calls;
    no arguments are an empty object;
    sealed thinking is one list: a whole chat message has one for all its blocks.
    """
    choices = [_choice(name, each) for each in reply.choices]
    while choices and choices[-1] == _choice(name, Choice()):
        choices.pop()
    return choices, reply.usage


def _choice(name: FormatName, choice: Choice) -> Any:
    parts = [told for part in choice.parts if (told := _part(part)) is not None]
    if name == "chat":
        parts.sort(key=lambda each: str(each[0]))
    if name in ("chat", "gemini"):
        parts = _joined(parts)
    finish = choice.finish
    reason = (finish.reason, finish.stop) if finish is not None else None
    return parts, reason, choice.logprobs


def _part(part: Part) -> list[Any] | None:
    match part:
        case Text() if part.text or part.carrier:
            cited = [(each.url, each.title, each.start, each.end) for each in part.citations]
            return ["text", part.text, part.carrier, cited]
        case Refusal() if part.text:
            return ["refusal", part.text, part.carrier, []]
        case Reasoning():
            carrier = part.carrier
            if carrier is not None and carrier.kind == "chat-details":
                return ["thinking", "\n\n".join(part.text), None, _details(carrier)]
            return ["thinking", "\n\n".join(part.text), carrier, []]
        case ToolCall():
            said = part.arguments or ("" if part.custom else "{}")
            return ["zcall", part.id, part.name, said, part.custom, part.carrier]
        case Image():
            return ["image", part.mime, part.data or part.url, part.carrier]
        case Opaque():
            return ["opaque", part.kind]
    return None


def _details(carrier: Carrier) -> list[Any]:
    """The sealed thinking of a chat reply: one list when whole, a list for each block in a stream,
    and so in another order, under other numbers."""
    entries = orjson.loads(carrier.payload).get("details", ())
    told = [{name: each for name, each in one.items() if name != "index"} for one in entries]
    return sorted(told, key=str)


def _joined(parts: list[list[Any]]) -> list[list[Any]]:
    """Neighbouring texts and thoughts as one."""
    found: list[list[Any]] = []
    for part in parts:
        last = found[-1] if found else [""]
        if part[0] in ("text", "refusal", "thinking") and last[0] == part[0]:
            carrier = part[2] or last[2]
            rest = sorted(last[3] + part[3], key=str)
            found[-1] = [part[0], last[1] + part[1], carrier, rest]
        else:
            found.append(part)
    return found
