"""What a request says, whatever format says it: the measure of a crossing.

A translation cannot be compared document by document, so both sides are decoded, and reduced to
what all formats have: who says which text, which media, which calls with which arguments, which
result belongs to which call, which tools there are, and the controls that both formats know. These
differences are allowed, because a format leaves no choice:

- turns: neighbouring messages of one side are one turn, and its results come first, in call order;
- later system messages are the user's text in a tag;
- a document that is nothing but text is its text;
- media of a result may stand behind it, and texts may be joined: white space does not count;
- Chat and Responses have no mark for a result that is an error: its text says so;
- Chat has no order between the text and the calls of a turn;
- ids are compared by what they join: the n-th call with its result;
- Messages has no list of allowed tools: only these are declared; and it wants every tool declared
  that the history calls;
- Messages wants the user to speak first, so that the user says that the conversation begins;
- instructions without a message are a message; where there is no JSON mode, they go on about it;
- a tool with free text may be a function with one text, and a name may be changed for the upstream:
  both are undone as the relay undoes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from relayd.model import FormatName
from relayd.wire.messages.encode import BEGUN
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Message, Request, Tool
from relayd.wire.parts import (
    File,
    Media,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)

Lines = list[tuple[Any, ...]]
_TAG: Final = re.compile(r"</?system-reminder>")
# A control of the hub and the formats that have it.
CONTROLS: Final[dict[str, frozenset[FormatName]]] = {
    "output.limit": frozenset(("chat", "responses", "messages", "gemini")),
    "output.stop": frozenset(("chat", "messages", "gemini")),
    "output.verbosity": frozenset(("chat", "responses")),
    "sampling.temperature": frozenset(("chat", "responses", "messages", "gemini")),
    "sampling.top_p": frozenset(("chat", "responses", "messages", "gemini")),
    "sampling.top_k": frozenset(("messages", "gemini")),
    "sampling.seed": frozenset(("chat", "gemini")),
    "sampling.n": frozenset(("chat", "gemini")),
    "sampling.frequency_penalty": frozenset(("chat", "gemini")),
    "sampling.presence_penalty": frozenset(("chat", "gemini")),
    "thinking.effort": frozenset(("chat", "responses")),
    "parallel": frozenset(("chat", "responses", "messages")),
    "user": frozenset(("chat", "responses", "messages")),
    "stream": frozenset(("chat", "responses", "messages")),
}
LONGEST_USER: Final = 64  # a longer one is sent as a digest to those who take no more
DEFAULTS: Final = {
    "parallel": True,
    "sampling.temperature": 1,
    "sampling.top_p": 1,
    "sampling.n": 1,
}


# --- requests -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """One side's turn, sorted into kinds."""

    side: str
    texts: list[str] = field(default_factory=list)
    results: list[tuple[int, bool, str, list[Any]]] = field(default_factory=list)
    calls: Lines = field(default_factory=list)
    media: list[Any] = field(default_factory=list)
    order: list[str] = field(default_factory=list)


def of_request(
    request: Request, names: Names | None = None, *, ordered: bool = True, failed: bool = True
) -> Lines:
    """What a request says, in lines that can be compared.

    Arguments:
        names: of the tools, where the request has those of an upstream.
        ordered: whether the order between texts and calls counts.
        failed: whether it counts that a result is an error.
    """
    opening, rest = request.opening()
    lines: Lines = [("system", squeezed(part.text for part in opening if isinstance(part, Text)))]
    numbers = _Numbers()
    for turn in _turns(rest, names, numbers):
        lines += _lines(turn, ordered, failed)
    tools = sorted(_tool(tool, names) for tool in request.all_tools() if _plain(tool))
    return lines + [("tool", *tool) for tool in tools]


def changes(request: Request, back: Request, names: Names) -> list[str]:
    """What of a request an upstream would understand otherwise, in words; `back` is the request as
    it was sent, decoded again, and `names` are those of its tools."""
    pair = {request.source, back.source}
    ordered, failed = "chat" not in pair, not pair & {"chat", "responses"}
    meant = of_request(request, ordered=ordered, failed=failed)
    understood = of_request(back, names, ordered=ordered, failed=failed)
    choice = request.tool_choice
    listed = choice is not None and (choice.listed or len(choice.names) > 1)
    if choice is not None and listed and back.source == "messages":
        meant = [line for line in meant if line[0] != "tool" or line[2] in choice.names]
    declared = {line[1:3] for line in meant if line[0] == "tool"}
    called = {line[3:5] for line in meant if line[1] == "call"} - declared
    understood = [line for line in understood if line[0] != "tool" or line[1:3] not in called]
    begun = ("user", "text", BEGUN)
    if begun in understood and begun not in meant:
        understood.remove(begun)
    if all(line[0] in ("system", "tool") for line in meant):
        meant, understood = _one_text(meant), _one_text(understood)
    shape = request.output.shape
    if shape is not None and shape.kind == "json" and understood[0][1].startswith(meant[0][1]):
        understood[0] = meant[0]
    return _differences(meant, understood)


def _one_text(lines: Lines) -> Lines:
    """All that is said by whomever, and the other lines."""
    said = [line[-1] for line in lines if line[0] == "system" or line[1] == "text"]
    rest = [line for line in lines if line[0] != "system" and line[1] != "text"]
    return [("system", squeezed(said)), *rest]


def _differences(one: Lines, other: Lines) -> list[str]:
    if one == other:
        return []
    lost = [f"lost {line!r:.160}" for line in one if line not in other]
    added = [f"added {line!r:.160}" for line in other if line not in one]
    return [*lost[:3], *added[:3]] or ["the order of turns differs"]


def control_differences(one: Request, other: Request, dropped: Iterable[str]) -> list[str]:
    """The controls that both formats have and that are not the same, without those reported."""
    reported = tuple(dropped)
    found = []
    for name, formats in CONTROLS.items():
        before, after = _value(one, name), _value(other, name)
        if before in (None, "", [], DEFAULTS.get(name)) or before == after:
            continue
        if name == "user" and len(before) > LONGEST_USER:
            continue
        told = one.param(name.rpartition(".")[2]) in reported or one.param(name) in reported
        if {one.source, other.source} <= formats and not told:
            found.append(f"{name}: {before!r} became {after!r}")
    return [*found, *_choice_differences(one, other), *_shape_differences(one, other)]


def _choice_differences(one: Request, other: Request) -> Iterator[str]:
    before, after = one.tool_choice, other.tool_choice
    if before is None or before.hosted is not None or not one.all_tools():
        return
    mode = after.mode if after is not None else "auto"
    if before.mode != mode:
        yield f"tool_choice: {before.mode} became {mode}"
    if before.forced and (after is None or not (after.forced or after.names)):
        yield f"tool_choice: {before.forced} is not forced any more"


def _shape_differences(one: Request, other: Request) -> Iterator[str]:
    """Structured output: whether it is asked for, and the members of its schema."""
    before, after = one.output.shape, other.output.shape
    if before is None or (before.kind == "json" and other.source == "messages"):
        return
    if after is None:
        yield "output.shape: lost"
    elif (before.kind, _members(before.schema)) != (after.kind, _members(after.schema)):
        yield f"output.shape: {before!r:.120} became {after!r:.120}"


def _members(schema: Any) -> list[str]:
    """The names of a schema's members, however deep, in any order: what formats do to keywords
    differs, what there is to be filled in must not."""
    if isinstance(schema, list):
        return sorted({name for each in schema for name in _members(each)})
    if not isinstance(schema, dict):
        return []
    named = schema.get("properties")
    inside = [name for each in schema.values() for name in _members(each)]
    return sorted({*inside, *(named if isinstance(named, dict) else ())})


def _value(request: Request, name: str) -> Any:
    value: Any = request
    for step in name.split("."):
        value = getattr(value, step)
    return value


class _Numbers:
    """Numbers calls in their order, and finds the number of a result's call."""

    def __init__(self) -> None:
        self._by_id: dict[str, int] = {}
        self._unanswered: list[tuple[int, str]] = []
        self._count = 0

    def call(self, call: ToolCall, name: str) -> int:
        number = self._count
        self._count += 1
        if call.id:
            self._by_id[call.id] = number
        self._unanswered.append((number, name))
        return number

    def result(self, result: ToolResult, name: str) -> int:
        """-1 where there was no call."""
        number = self._by_id.get(result.id, -1) if result.id else -1
        if not result.id:
            number = next((n for n, called in self._unanswered if called == name), -1)
        self._unanswered = [each for each in self._unanswered if each[0] != number]
        return number


def _turns(messages: Iterable[Message], names: Names | None, numbers: _Numbers) -> list[_Turn]:
    turns: list[_Turn] = []
    for message in messages:
        side = "assistant" if message.role == "assistant" else "user"
        said = [part for part in message.parts if _says(part)]
        if not said:
            continue
        if not turns or turns[-1].side != side:
            turns.append(_Turn(side))
        for part in said:
            _add(turns[-1], part, names, numbers)
    return turns


def _says(part: Part) -> bool:
    if isinstance(part, Text | Refusal):
        return bool(part.text.strip())
    return isinstance(part, Media | ToolCall | ToolResult)


def _add(turn: _Turn, part: Part, names: Names | None, numbers: _Numbers) -> None:
    match part:
        case Text() | Refusal():
            turn.texts.append(_TAG.sub("", part.text))
            turn.order.append("text")
        case File() if part.plain:
            turn.texts.append(part.plain)
        case Media():
            turn.media.append(medium(part))
        case ToolCall():
            name, arguments = _called(part, names)
            turn.calls.append((numbers.call(part, name[-1]), *name, arguments))
            turn.order.append("call")
        case ToolResult():
            name = _named(part.name, names)
            texts = [_text(inside) for inside in part.parts]
            media = [medium(p) for p in part.parts if isinstance(p, Media) and not _text(p)]
            number = numbers.result(part, name[-1])
            turn.results.append((number, part.failed, squeezed(texts), media))


def _text(part: Part) -> str:
    """The text that a part of a result is; "" for any other."""
    if isinstance(part, File):
        return part.plain
    return part.text if isinstance(part, Text) else ""


def _lines(turn: _Turn, ordered: bool, failed: bool) -> Lines:
    turn.results.sort(key=lambda result: result[0])
    media = [each for *_, inside in turn.results for each in inside] + turn.media
    lines: Lines = [
        (turn.side, "result", number, wrong and failed, text)
        for number, wrong, text, _ in turn.results
    ]
    if turn.texts:
        lines.append((turn.side, "text", squeezed(turn.texts)))
    lines += [(turn.side, "call", *call) for call in turn.calls]
    lines += [(turn.side, "media", *each) for each in media]
    changes = [kind for n, kind in enumerate(turn.order) if not n or turn.order[n - 1] != kind]
    return lines + ([(turn.side, "order", *changes)] if ordered and len(changes) > 1 else [])


def squeezed(texts: Iterable[str]) -> str:
    """The texts as one, with single spaces."""
    return " ".join(" ".join(texts).split())


def medium(part: Media) -> tuple[str, ...]:
    """What a picture, file or sound is, in words that can be compared."""
    return (part.mime if part.data else "", part.data[:64], str(len(part.data)), part.url)


def _called(call: ToolCall, names: Names | None) -> tuple[tuple[str, str], Any]:
    said = orjson.dumps({"input": call.arguments}).decode() if call.custom else call.arguments
    return _named(call.name, names, call.namespace), arguments(said)


def _named(name: str, names: Names | None, namespace: str = "") -> tuple[str, str]:
    if names is None or not name:
        return namespace, name
    original = names.back(name)
    return original.namespace or namespace, original.name


def arguments(text: str) -> Any:
    """The JSON of a call's arguments, members in a fixed order; the text itself if it is none."""
    try:
        return orjson.dumps(orjson.loads(text or "{}"), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return text


def _plain(tool: Tool) -> bool:
    return isinstance(tool, Function | Custom)


def _tool(tool: Tool, names: Names | None) -> tuple[str, str, str, str]:
    """Name, the beginning of the description, and the arguments that it takes."""
    namespace = tool.namespace.name if tool.namespace is not None else ""
    original = _named(tool.name, names, namespace)
    wrapped = isinstance(tool, Custom) or (names is not None and names.back(tool.name).wrapped)
    schema = tool.schema if isinstance(tool, Function) and not wrapped else None
    takes = ",".join(_members(schema))
    about = "" if wrapped else squeezed([tool.description or ""])[:60]
    return (*original, about, takes)
