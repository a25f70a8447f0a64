"""What hypothesis makes up for translations: replies as events, and hostile upstreams.

`replies` are valid sequences of the hub's events, with all that the formats differ in: blocks that
are open at the same time, several answers, thinking in paragraphs, carriers, citations, pictures,
counts in the middle, failures anywhere. `hostile` streams are what a careless or malicious upstream
may send: a stream of that format, with members missing, of the wrong type, enormous, nested
endlessly, in the wrong order, cut inside a character. `slow` runs look at many more examples:
RELAYD_EXAMPLES=20000 (per test) makes a fuzzing run of any of these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, get_args

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from relayd.model import FormatName, Usage
from relayd.wire.events import (
    Break,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Events,
    Failure,
    Finish,
    Logprob,
    Open,
    Reason,
    Seal,
    Start,
)
from relayd.wire.neutral import Function, Request
from relayd.wire.parts import (
    Carrier,
    CarrierKind,
    Citation,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.setting import Coming

NAMES: Final[tuple[FormatName, ...]] = get_args(FormatName)
KINDS: Final[tuple[CarrierKind, ...]] = get_args(CarrierKind)
PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
EXAMPLES: Final = int(os.environ.get("RELAYD_EXAMPLES", "0"))


def examples(usual: int) -> settings:
    """Settings of a test that looks at `usual` examples, or at RELAYD_EXAMPLES of them."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=EXAMPLES or usual,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=slow,
    )


def rarely(draw: st.DrawFn, odds: int) -> bool:
    """Once in `odds` + 1 times; what is rare is the first to go when a failing case is shrunk."""
    return draw(st.integers(0, odds)) == odds


def short(value: Any) -> str:
    """Events and their like, without what is as usual."""
    if isinstance(value, list):
        return "[" + ", ".join(map(short, value)) + "]"
    if not is_dataclass(value):
        return repr(value)
    told = []
    for each in fields(value):
        held = getattr(value, each.name)
        usual = each.default_factory() if each.default_factory is not MISSING else each.default
        if held != usual:
            told.append(f"{each.name}={short(held)}")
    return f"{type(value).__name__}({', '.join(told)})"


# --- replies ------------------------------------------------------------------------------------

# Texts with what JSON, SSE and UTF-8 may trip over: quotes, line separators, planes beyond the
# first, the words of the framings themselves.
SAID: Final = (
    "Hello",
    " world",
    "\n\n",
    "\r",
    "é\u2028\u2029\x85",
    "😀",
    '"\\',
    "data: [DONE]",
    "\x00",
    "a",
    " ",
)
texts = st.sampled_from(SAID)
arguments = st.sampled_from(
    ("", "{}", '{"a":1}', '{"city":"Zürich","n":[1,2.5,null]}', '{"x":"😀"}')
)


@dataclass
class Plan:
    """One block to come: its part, and the events that grow it, in order."""

    part: Part
    grows: list[Any] = field(default_factory=list)
    choice: int = 0


@st.composite
def carriers(draw: st.DrawFn, *kinds: CarrierKind) -> Carrier:
    """State of a provider's."""
    kind = draw(st.sampled_from(kinds or KINDS))
    if kind == "chat-details":
        detail = {"type": "reasoning.encrypted", "data": "sealed", "index": 0}
        return Carrier(kind, orjson.dumps([detail]).decode())
    return Carrier(kind, "c2VhbGVk", id="rs_1" if kind == "openai-encrypted" else "")


@st.composite
def _texts(draw: st.DrawFn) -> Plan:
    grows: list[Any] = draw(st.lists(texts, max_size=4))
    if grows and rarely(draw, 5):
        grows.append(Citation("https://e.org/a", "A", "", 0, 1))
    if grows and rarely(draw, 5):
        grows.append(draw(carriers("gemini-signature")))
    if grows and rarely(draw, 9):
        grows[0] = (grows[0], [Logprob("He", -0.5, [72, 101], [Logprob("He", -0.5)])])
    return Plan(Text(""), grows)


@st.composite
def _thoughts(draw: st.DrawFn) -> Plan:
    if rarely(draw, 3):
        kinds: tuple[CarrierKind, ...] = ("anthropic-redacted", "openai-encrypted")
        return Plan(Reasoning([], carrier=draw(carriers(*kinds, "gemini-signature"))))
    grows: list[Any] = draw(st.lists(texts, min_size=1, max_size=4))
    if draw(st.booleans()) and len(grows) > 1:
        grows.insert(1, Break(0))
    if draw(st.booleans()):
        place = draw(st.sampled_from((0, len(grows))))
        grows.insert(place, draw(carriers("anthropic-signature", "openai-encrypted")))
    return Plan(Reasoning([], raw=draw(st.booleans())), grows)


@st.composite
def _calls(draw: st.DrawFn, *, custom: bool = False) -> Plan:
    carrier = draw(carriers("gemini-signature")) if rarely(draw, 3) else None
    part = ToolCall("call", draw(st.sampled_from(("f", "get_weather"))), custom=custom)
    part.carrier = carrier
    whole = draw(texts) if custom else draw(arguments)
    cut = draw(st.integers(0, len(whole)))
    return Plan(part, [piece for piece in (whole[:cut], whole[cut:]) if piece])


# What only one format has, as it stands there.
HOSTED: Final = (
    Plan(Opaque("responses", "web_search_call", {"type": "web_search_call", "id": "ws_1"})),
    Plan(Opaque("messages", "web_search_tool_result", {"type": "web_search_tool_result"})),
    Plan(Opaque("gemini", "executableCode", {"executableCode": {"code": "1"}})),
)
usual_blocks = st.one_of(
    _texts(),
    _texts(),
    _thoughts(),
    _calls(),
    _calls(),
    st.builds(Plan, st.builds(Refusal, st.just("")), st.lists(texts, min_size=1, max_size=2)),
    st.just(Plan(Image(mime="image/png", data=PIXEL))),
    st.sampled_from(HOSTED),
)
blocks = st.one_of(usual_blocks, usual_blocks, usual_blocks, _calls(custom=True))

CALLED: Final[tuple[Reason, ...]] = ("tool_calls", "tool_calls", "length", "filter")
UNCALLED: Final[tuple[Reason, ...]] = (
    "stop",
    "stop",
    "stop_sequence",
    "length",
    "context_full",
    "filter",
    "pause",
)


@st.composite
def counts(draw: st.DrawFn) -> Usage:
    """A whole usage, as readers make it."""
    out, thought = draw(st.integers(1, 900)), draw(st.integers(0, 1))
    usage = Usage(in_uncached=draw(st.integers(1, 900)), out_total=out, reasoning=thought * out)
    if draw(st.booleans()):
        usage.cache_read = draw(st.integers(0, 90))
    if rarely(draw, 3):
        usage.cache_write_5m = draw(st.integers(1, 90))
    if rarely(draw, 5):
        usage.tool_prompt = draw(st.integers(1, 90))
    return usage


@st.composite
def replies(
    draw: st.DrawFn,
    *,
    choices: int = 2,
    failures: bool = True,
    custom: bool = True,
    mixed: bool = True,
) -> Events:
    """The events of one reply, valid by `tests.wire.grammar.events`.

    Arguments:
        choices: at most so many answers.
        failures: it may break off with a `Failure`.
        custom: calls of tools with free text are among them.
        mixed: two texts of one answer may grow at the same time.
    """
    number = draw(st.integers(1, choices))
    plans = draw(st.lists(blocks if custom else usual_blocks, max_size=5))
    plans = [replace(plan) for plan in plans]
    for at, plan in enumerate(plans):
        plan.choice = draw(st.integers(0, number - 1))
        if isinstance(plan.part, ToolCall):  # no two calls have one id: `Restore` sees to it
            plan.part = replace(plan.part, id=f"call_{at}")
    events: Events = [Start("up-1", "model", 1_700_000_000.0)]
    if draw(st.booleans()):
        events[0] = Start("up-1", "model", None, Usage(in_uncached=7, out_total=1))
    events += draw(_spoken(plans, mixed=mixed))
    if draw(st.booleans()):
        events.append(Counted(draw(counts())))
    for choice in range(number):
        called = any(isinstance(p.part, ToolCall) for p in plans if p.choice == choice)
        reason = draw(st.sampled_from(CALLED if called else UNCALLED))
        events.append(Finish(reason, choice, stop="END" if reason == "stop_sequence" else ""))
    events.append(End())
    if failures and rarely(draw, 7):
        events = events[: draw(st.integers(0, len(events) - 1))]
        events.append(Failure("It broke.", 503, "server_is_overloaded"))
    return events


@st.composite
def _spoken(draw: st.DrawFn, plans: list[Plan], *, mixed: bool) -> Events:
    """The blocks' events: one after another, or several open at once."""
    together = draw(st.integers(1, 3)) if draw(st.booleans()) else 1
    waiting = [(number, plan, _grown(number, plan)) for number, plan in enumerate(plans)]
    live: list[tuple[Plan, Iterator[Event]]] = []
    events: Events = []
    while waiting or live:
        fits = waiting and (mixed or not _meets(waiting[0][1], live))
        if fits and (not live or (len(live) < together and draw(st.booleans()))):
            number, plan, grown = waiting.pop(0)
            events.append(Open(number, plan.part, plan.choice))
            live.append((plan, grown))
            if isinstance(plan.part, Image | Opaque):
                events += grown
                live.pop()
            continue
        at = draw(st.integers(0, len(live) - 1)) if len(live) > 1 else 0
        event = next(live[at][1])
        events.append(event)
        if isinstance(event, Close):
            live.pop(at)
        if rarely(draw, 19):
            events.append(Counted(Usage(in_uncached=7, out_total=2)))
    return events


def _meets(plan: Plan, live: list[tuple[Plan, Iterator[Event]]]) -> bool:
    """Whether another text of its answer is open."""
    if isinstance(plan.part, ToolCall):
        return False
    others = [each for each, _ in live if not isinstance(each.part, ToolCall)]
    return any(each.choice == plan.choice for each in others)


def _grown(number: int, plan: Plan) -> Iterator[Event]:
    for each in plan.grows:
        match each:
            case str():
                yield Delta(number, each)
            case (str(text), list(logprobs)):
                yield Delta(number, text, logprobs)
            case Carrier():
                yield Seal(number, each)
            case Citation():
                yield Cite(number, each)
            case Break():
                yield Break(number)
    yield Close(number)


def coming(name: FormatName, *, sealed: bool = True, array: bool = False) -> Coming:
    """What the writer of a client's format is told, of a client that asked to see all."""
    request = Request(source=name, model="asked", messages=[], tools=[Function(name="f")])
    request.thinking.show = "summary"
    request.stream = True
    return Coming(
        request, "asked", "req_1", 1_700_000_000, scope="here", sealed=sealed, array=array
    )


# --- hostile upstreams --------------------------------------------------------------------------

JUNK: Final[tuple[Any, ...]] = (
    None,
    0,
    -1,
    3,
    10**9,
    2**63 - 1,
    2**64 - 1,
    1.5,
    1e308,
    True,
    False,
    "",
    "x",
    "null",
    "[DONE]",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": {}},
    [1, "x", None, {}],
    {"type": "text", "text": 1},
    {"type": None},
    {"index": "0"},
    {"message": {"content": "x"}},
)


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to three places changed: replaced by junk, left out, repeated, nested."""
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value)
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:
    inner = isinstance(value, dict | list) and value and draw(st.integers(0, 9)) > 0
    if not inner:
        if rarely(draw, 19):
            return _deep(100)
        return draw(st.sampled_from(JUNK))
    if isinstance(value, dict):
        key = draw(st.sampled_from(sorted(value)))
        rest = dict(value)
        if rarely(draw, 5):
            del rest[key]
        else:
            rest[key] = _changed(draw, value[key])
        return rest
    at = draw(st.integers(0, len(value) - 1))
    return [*value[:at], _changed(draw, value[at]), *value[at + draw(st.integers(0, 1)) :]]


Frames = list[tuple[bytes, bytes]]  # of a stream: the event's name and its data


@st.composite
def hostile(draw: st.DrawFn, seeds: list[Frames]) -> Frames:
    """A stream of `seeds`, made hostile: members, order, repetition, bytes."""
    stream = list(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream) - 1))
        name, data = stream[at]
        match draw(st.integers(0, 9)):
            case 0:
                del stream[at]
            case 1:
                stream.insert(draw(st.integers(0, len(stream))), stream[at])
            case 2:
                stream[at] = (name, data[: draw(st.integers(0, len(data)))])
            case 3:
                stream[at] = (draw(st.sampled_from((b"", b"error", b"\xff", b"ping"))), data)
            case 4:
                stream[at] = (
                    name,
                    draw(st.binary(max_size=20)).replace(b"\n", b"").replace(b"\r", b""),
                )
            case _ if data != b"[DONE]":
                try:
                    value = orjson.loads(data)
                except orjson.JSONDecodeError:
                    continue
                stream[at] = (name, orjson.dumps(draw(mutated(value))))
        if not stream:
            break
    return stream
