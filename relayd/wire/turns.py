"""From messages to the turns that a provider wants: merged, results behind their calls.

Clients of one format write a tool's results as messages of their own, clients of another among a
user's parts; items of Responses are turns already, and older Gemini calls have no ids. Whoever
writes for an upstream of another format calls `spoken`, and finds: user and assistant in
alternation, all results of one assistant's calls at the head of the user turn behind it, in the
order of the calls, each with the call's id. Later system messages stay turns of their own, where
they stood. Nothing is dropped, and no part of the request is changed: parts that get an id are
copies. A request that stays in its format keeps its shape.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from relayd.wire.losses import Losses
from relayd.wire.neutral import Message, Request
from relayd.wire.parts import Part, Text, ToolCall, ToolResult
from relayd.wire.setting import Rules

ORPHAN = "Tool result:"
UNANSWERED = "The tool gave no result."
GO_ON = "Continue."


@dataclass(slots=True)
class Turn:
    """One turn. `at` is where its first message stood."""

    role: Literal["system", "user", "assistant"]
    parts: list[Part]
    at: str = ""


def spoken(
    request: Request,
    messages: Iterable[Message],
    losses: Losses,
    rules: Rules,
    *,
    prefill: bool = True,
) -> list[Turn]:
    """The turns for an upstream of another format than the request's.

    Arguments:
        messages: those behind the instructions (`Request.opening`).
        prefill: the last turn may be the model's own.

    Raises CannotTranslate for calls and results that do not belong together, and for a last turn
    that the model does not take.
    """
    found = paired(turns(messages), losses, rules)
    if not prefill:
        _give_the_user_the_last_word(found, losses, rules)
    return found


def turns(messages: Iterable[Message]) -> list[Turn]:
    """The turns of `messages`, merged, each user turn with its results first."""
    found: list[Turn] = []
    for message in messages:
        role: Literal["system", "user", "assistant"] = (
            "user" if message.role == "tool" else message.role
        )
        if found and found[-1].role == role:
            found[-1].parts += message.parts
        else:
            found.append(Turn(role, list(message.parts), message.at))
    _name_calls(found)
    calls: list[str] = []
    for turn in found:
        if turn.role == "assistant":
            calls = [part.id for part in turn.parts if isinstance(part, ToolCall)]
        elif turn.role == "user":
            turn.parts = _results_first(turn.parts, calls)
            calls = []
    return found


def _results_first(parts: list[Part], calls: list[str]) -> list[Part]:
    """`parts` with the results of `calls` at the head; results of no call stay where they are."""
    order = {call: place for place, call in enumerate(calls)}
    results: list[ToolResult] = []
    others: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult) and part.id in order:
            results.append(part)
        else:
            others.append(part)
    results.sort(key=lambda part: order[part.id])
    return [*results, *others]


# --- ids ----------------------------------------------------------------------------------------


def _name_calls(found: list[Turn]) -> None:
    """Give ids to calls that have none, and to their results, by order and name.

    An id is made of where its call stands among all calls of the history, so that it is the same on
    the next turn.
    """
    number, asked = 0, _Asked()
    for turn in found:
        if turn.role == "assistant":
            asked = _Asked()
        for place, part in enumerate(turn.parts):
            if isinstance(part, ToolCall):
                if not part.id:
                    part = replace(part, id=f"call_{part.name}_{number}")
                    turn.parts[place] = part
                asked.call(part)
                number += 1
            elif isinstance(part, ToolResult):
                turn.parts[place] = asked.answer(part)


class _Asked:
    """The calls of one turn that have no result yet, by order and name: each step takes the same
    time, however many there are."""

    def __init__(self) -> None:
        self._calls: deque[ToolCall] = deque()
        self._named: dict[str, deque[ToolCall]] = {}
        self._answered: set[str] = set()

    def call(self, part: ToolCall) -> None:
        self._calls.append(part)
        self._named.setdefault(part.name, deque()).append(part)

    def answer(self, part: ToolResult) -> ToolResult:
        """`part` with the id of its call, if one is left."""
        if not part.id:
            waiting = self._named.get(part.name, deque()) if part.name else self._calls
            while waiting and waiting[0].id in self._answered:
                waiting.popleft()
            part = replace(part, id=waiting[0].id) if waiting else part
        self._answered.add(part.id)
        return part


# --- calls and results --------------------------------------------------------------------------


def paired(found: list[Turn], losses: Losses, rules: Rules) -> list[Turn]:
    """The same turns, with every call answered by the next turn and every result called for.

    A call without a result and a result without its call are refused. Where the client or the
    operator is lenient, the first gets a result that says so, and the second becomes the user's
    text.
    """
    before: Turn | None = None
    for turn in found:
        calls = _calls(before)
        kept: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult) and part.id not in calls:
                kept += _orphan(part, losses, rules)
            else:
                kept.append(part)
        turn.parts, before = kept, turn
    whole: list[Turn] = []
    for place, turn in enumerate(found):
        whole.append(turn)
        behind = found[place + 1] if place + 1 < len(found) else None
        missing = _unanswered(turn, behind, losses)
        if missing and behind is not None and behind.role == "user":
            order = list(_calls(turn))
            behind.parts = _results_first([*missing, *behind.parts], order)
        elif missing:
            whole.append(Turn("user", missing, turn.at))
    return [turn for turn in whole if turn.parts]


def _calls(turn: Turn | None) -> dict[str, ToolCall]:
    parts = turn.parts if turn is not None and turn.role == "assistant" else []
    return {part.id: part for part in parts if isinstance(part, ToolCall)}


def _orphan(part: ToolResult, losses: Losses, rules: Rules) -> list[Part]:
    if not rules.orphan_results:
        why = f"there is no tool call `{part.id[:64]}` right before it"
        losses.lose("lenient", part.at, why, code="invalid_value")
    return [Text(ORPHAN, at=part.at), *part.parts]


def _unanswered(turn: Turn, behind: Turn | None, losses: Losses) -> list[Part]:
    """Results for the calls that the next turn does not answer."""
    answered = {p.id for p in behind.parts if isinstance(p, ToolResult)} if behind else set()
    made: list[Part] = []
    for call in _calls(turn).values():
        if call.id not in answered:
            why = f"the tool call `{call.id[:64]}` has no result behind it"
            losses.lose("lenient", call.at, why, code="invalid_value")
            made.append(ToolResult(call.id, call.name, [Text(UNANSWERED)], failed=True, at=call.at))
    return made


def _give_the_user_the_last_word(found: list[Turn], losses: Losses, rules: Rules) -> None:
    """A model that does not go on with its own words is asked to continue, or nobody asks it."""
    if not found or found[-1].role != "assistant":
        return
    if not rules.append_user_turn:
        why = "this model does not take a history that ends on its own turn"
        losses.lose("lenient", found[-1].at, why, code="unsupported_value")
    found.append(Turn("user", [Text(GO_ON)], found[-1].at))
