"""From messages to turns (wire-formats 8.3, 8.4)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import Message, Request
from relayd.wire.parts import Part, Text, ToolCall, ToolResult
from relayd.wire.setting import USUAL, Rules
from relayd.wire.turns import GO_ON, ORPHAN, UNANSWERED, Turn, spoken, turns
from tests.wire.ways import request, says


def call(name: str, at: str = "") -> ToolCall:
    return ToolCall(name, f"tool_{name}", "{}", at=at)


def result(name: str, at: str = "") -> ToolResult:
    return ToolResult(name, parts=[Text(f"of {name}")], at=at)


def shown(found: list[Turn]) -> list[str]:
    """Each turn on a line: who, and what."""
    return [f"{turn.role}: {' '.join(map(_shown, turn.parts))}" for turn in found]


def _shown(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case ToolCall():
            return f"call({part.id})"
        case ToolResult():
            failed = "!" if part.failed else ""
            return f"result({part.id}){failed}"
    return type(part).__name__


def of(*messages: Message) -> list[str]:
    return shown(turns(messages))


def losing(
    *messages: Message, lenient: bool = False, rules: Rules = USUAL, prefill: bool = True
) -> tuple[list[str], tuple[str, ...]]:
    """The turns for another format, and what was lost."""
    losses = Losses("messages", lenient=lenient)
    asked: Request = request("chat", *messages)
    found = spoken(asked, asked.messages, losses, rules, prefill=prefill)
    return shown(found), losses.dropped


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert of(says("user", "a"), says("user", "b"), says("assistant", "c"), says("user", "d")) == [
        "user: a b",
        "assistant: c",
        "user: d",
    ]


def test_results_stand_first_in_one_user_turn_in_the_order_of_the_calls() -> None:
    """wire-formats, trap 83."""
    assert of(
        says("assistant", "so", call("1"), call("2")),
        says("tool", result("2")),
        says("tool", result("1")),
        says("user", "and?"),
    ) == ["assistant: so call(1) call(2)", "user: result(1) result(2) and?"]


def test_text_before_a_result_moves_behind_it() -> None:
    assert of(says("assistant", call("1")), says("user", "text", result("1"))) == [
        "assistant: call(1)",
        "user: result(1) text",
    ]


def test_later_system_messages_stay_where_they_stood() -> None:
    assert of(says("user", "a"), says("system", "s"), says("system", "t"), says("user", "b")) == [
        "user: a",
        "system: s t",
        "user: b",
    ]


def test_a_request_is_left_as_it_was() -> None:
    asked = request(
        "gemini",
        says("user", "a"),
        says("assistant", ToolCall("", "f")),
        says("user", ToolResult("", "f"), "b"),
        says("user", "c"),
    )
    before = deepcopy(asked.messages)
    turns(asked.messages)
    assert asked.messages == before


# --- ids ----------------------------------------------------------------------------------------


def test_calls_without_ids_get_some_and_so_do_their_results() -> None:
    found = turns(
        [
            says("assistant", ToolCall("", "f"), ToolCall("", "g"), ToolCall("", "f")),
            says("user", ToolResult("", "f"), ToolResult("", "f"), ToolResult("", "g")),
            says("assistant", ToolCall("", "f")),
            says("user", ToolResult("", "")),
        ]
    )
    assert shown(found) == [
        "assistant: call(call_f_0) call(call_g_1) call(call_f_2)",
        "user: result(call_f_0) result(call_g_1) result(call_f_2)",
        "assistant: call(call_f_3)",
        "user: result(call_f_3)",
    ]


def test_a_result_of_no_call_gets_no_id() -> None:
    assert of(says("assistant", ToolCall("", "f")), says("user", ToolResult("", "g"))) == [
        "assistant: call(call_f_0)",
        "user: result()",
    ]


def test_results_without_ids_answer_what_is_not_answered_yet() -> None:
    found = turns(
        [
            says("assistant", ToolCall("a", "f"), ToolCall("b", "f"), ToolCall("c", "g")),
            says("user", ToolResult("a"), ToolResult("", "f"), ToolResult(""), ToolResult("", "f")),
        ]
    )
    assert shown(found)[1] == "user: result(a) result(b) result(c) result()"


def test_any_number_of_calls_is_answered_in_any_order() -> None:
    calls = [ToolCall("", f"f{n}") for n in range(20_000)]
    results = [ToolResult("", call.name) for call in reversed(calls)]
    [asked, answered] = turns([says("assistant", *calls), says("user", *results)])
    assert [part.id for part in answered.parts if isinstance(part, ToolResult)] == [
        part.id for part in asked.parts if isinstance(part, ToolCall)
    ]


def test_the_same_history_has_the_same_ids_when_it_has_grown() -> None:
    first = [says("assistant", ToolCall("", "f")), says("user", ToolResult("", "f"))]
    grown = [*first, says("assistant", ToolCall("", "f")), says("user", ToolResult("", "f"))]
    assert of(*grown)[:2] == of(*first)


# --- calls and results --------------------------------------------------------------------------

ORPHANED: list[Message] = [says("user", "hi"), says("user", result("9", at="messages[1]"), "so")]
ANSWERED = [says("assistant", call("1")), says("user", result("1")), says("user", "x")]
UNANSWERED_END = [says("user", "hi"), says("assistant", call("1", at="messages[1].tool_calls[0]"))]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (ORPHANED, "messages[1]"),
        (UNANSWERED_END, "messages[1].tool_calls[0]"),
        ([*UNANSWERED_END, says("user", "well")], "messages[1].tool_calls[0]"),
        (
            [*ANSWERED, says("assistant", "y"), says("user", result("1", at="messages[4]"))],
            "messages[4]",
        ),
    ],
)
def test_an_orphan_is_text_or_refused_never_sent(messages: list[Message], param: str) -> None:
    """wire-formats, trap 84."""
    with pytest.raises(CannotTranslate) as caught:
        losing(*messages)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")
    assert losing(*messages, lenient=True)[1] == (param,)


def test_a_result_without_its_call_becomes_the_users_text() -> None:
    lines, dropped = losing(*ORPHANED, rules=Rules(orphan_results=True))
    assert lines == [f"user: hi {ORPHAN} of 9 so"]
    assert dropped == ()


@pytest.mark.parametrize(
    ("behind", "lines"),
    [
        ([], ["user: hi", "assistant: call(1)", "user: result(1)!"]),
        ([says("user", "x")], ["user: hi", "assistant: call(1)", "user: result(1)! x"]),
        (
            [says("system", "x"), says("user", "y")],
            ["user: hi", "assistant: call(1)", "user: result(1)!", "system: x", "user: y"],
        ),
    ],
)
def test_a_call_without_a_result_leniently_gets_one_that_says_so(
    behind: list[Message], lines: list[str]
) -> None:
    found, dropped = losing(*UNANSWERED_END, *behind, lenient=True)
    assert (found, dropped) == (lines, ("messages[1].tool_calls[0]",))


def test_the_result_that_was_missing_stands_in_the_order_of_the_calls() -> None:
    found, _ = losing(
        says("assistant", call("1"), call("2")), says("tool", result("2")), lenient=True
    )
    assert found == ["assistant: call(1) call(2)", "user: result(1)! result(2)"]
    assert UNANSWERED.endswith(".")


def test_a_turn_of_nothing_is_left_out() -> None:
    assert losing(says("user"), says("assistant", "a"))[0] == ["assistant: a"]


# --- the last word ------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [[], [says("assistant", "a"), says("user", "b")]])
def test_a_history_that_ends_on_the_user_is_taken_by_all(messages: list[Message]) -> None:
    assert losing(*messages, prefill=False)[0] == losing(*messages)[0]


def test_a_history_ending_on_the_model_is_refused_or_gets_a_user_turn() -> None:
    """wire-formats, trap 132."""
    messages: list[Any] = [says("user", "a"), says("assistant", "b", at="messages[1]")]
    assert losing(*messages)[0] == ["user: a", "assistant: b"]
    with pytest.raises(CannotTranslate) as caught:
        losing(*messages, prefill=False)
    assert caught.value.code == "unsupported_value"
    asked = ["user: a", "assistant: b", f"user: {GO_ON}"]
    assert losing(*messages, prefill=False, lenient=True)[0] == asked
    by_rule = losing(*messages, prefill=False, rules=Rules(append_user_turn=True))
    assert by_rule == (asked, ())
