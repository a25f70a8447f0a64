"""How much a model shall think, said in the way that it takes (wire-formats 8.7)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import FormatName
from relayd.wire.capabilities import EFFORTS, UNKNOWN, Capability
from relayd.wire.neutral import Effort, Output, Thinking, ToolChoice
from relayd.wire.setting import Rules
from relayd.wire.thinking import SILENT, Control, effort_of, is_idle, nearest, thought
from tests.wire.ways import able, going, request

LEVELS: dict[str, Any] = {"thinking": ("level", "disabled")}
ADAPTIVE: dict[str, Any] = {
    "thinking": ("adaptive", "disabled"),
    "efforts": ("low", "medium", "high", "xhigh", "max"),
    "shows_thinking": True,
}
BUDGETED: dict[str, Any] = {
    "thinking": ("enabled", "disabled"),
    "efforts": (),
    "max_output": 64_000,
    "forced_tool": "idle",
}
GEMINI_2: dict[str, Any] = {"thinking": ("budget", "disabled"), "budgets": (0, 24_576)}


def said(
    to: FormatName,
    thinking: Thinking,
    can: Capability = UNKNOWN,
    source: FormatName = "chat",
    **changes: Any,
) -> tuple[Control, tuple[str, ...]]:
    """The control, and what was dropped for it."""
    way = going(to, can)
    asked = request(source, thinking=thinking, places={"thinking": "t"}, **changes)
    return thought(asked, way), way.losses.dropped


@pytest.mark.parametrize(
    ("effort", "there", "nearest_there"),
    [
        ("medium", ("low", "medium", "high"), "medium"),
        ("minimal", ("low", "medium"), "low"),
        ("max", ("low", "high"), "high"),
        ("xhigh", ("none", "low"), "low"),
        ("high", (), None),
        ("high", ("none",), None),
    ],
)
def test_the_nearest_effort_is_the_most_up_to_it_or_the_least_there_is(
    effort: Effort, there: tuple[Effort, ...], nearest_there: Effort | None
) -> None:
    assert nearest(effort, there) == nearest_there


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(500, "minimal"), (1024, "low"), (8192, "medium"), (24_576, "high"), (30_000, "xhigh")],
)
def test_a_budget_amounts_to_an_effort(budget: int, effort: Effort) -> None:
    assert effort_of(budget) == effort


# --- on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "can", "thinking", "control"),
    [
        ("chat", LEVELS, Thinking("on", "high"), Control("level", "high", None, "summary")),
        ("responses", LEVELS, Thinking("on", "max"), Control("level", "max", None, "summary")),
        ("messages", ADAPTIVE, Thinking("on", "low"), Control("adaptive", "low", None, "summary")),
        (
            "messages",
            ADAPTIVE,
            Thinking("on", "minimal"),
            Control("adaptive", "low", None, "summary"),
        ),
        ("messages", BUDGETED, Thinking("on", "high"), Control("enabled", None, 16_384, "summary")),
        (
            "gemini",
            {"thinking": ("level",)},
            Thinking("on", "max"),
            Control("level", "high", None, "summary"),
        ),
        ("gemini", GEMINI_2, Thinking("on", "low"), Control("budget", None, 2048, "summary")),
        ("gemini", GEMINI_2, Thinking("on", "max"), Control("budget", None, 24_576, "summary")),
    ],
)
def test_an_effort_is_said_in_the_words_of_the_model(
    to: FormatName, can: dict[str, Any], thinking: Thinking, control: Control
) -> None:
    assert said(to, thinking, able(**can)) == (control, ())


@pytest.mark.parametrize(
    ("to", "can", "thinking", "control"),
    [
        ("chat", LEVELS, Thinking("on", budget=3000), Control("level", "low", None, "summary")),
        (
            "messages",
            ADAPTIVE,
            Thinking("on", budget=9000),
            Control("adaptive", "medium", None, "summary"),
        ),
        (
            "messages",
            BUDGETED,
            Thinking("on", budget=9000),
            Control("enabled", None, 9000, "summary"),
        ),
        ("messages", BUDGETED, Thinking("on", budget=1), Control("enabled", None, 1024, "summary")),
        (
            "messages",
            BUDGETED,
            Thinking("on", budget=99_999),
            Control("enabled", None, 32_768, "summary"),
        ),
        (
            "messages",
            BUDGETED,
            Thinking("on", budget=-1),
            Control("enabled", None, 8192, "summary"),
        ),
        ("gemini", GEMINI_2, Thinking("on", budget=-1), Control("budget", None, -1, "summary")),
        ("gemini", GEMINI_2, Thinking("adaptive"), Control("budget", None, -1, "summary")),
        ("chat", LEVELS, Thinking("on", budget=-1), Control("level", None, None, "summary")),
    ],
)
def test_a_budget_is_kept_where_it_can_be_said_and_becomes_an_effort_elsewhere(
    to: FormatName, can: dict[str, Any], thinking: Thinking, control: Control
) -> None:
    assert said(to, thinking, able(**can)) == (control, ())


def test_a_budget_and_an_effort_are_both_said_where_both_can_be() -> None:
    can = able(thinking=("enabled",), efforts=("low", "high"))
    control, _ = said("messages", Thinking("on", "medium", budget=2000), can)
    assert (control.effort, control.budget) == ("low", 2000)


def test_a_model_that_would_rather_not_think_is_told_to() -> None:
    lazy = able(**LEVELS, default_effort="none")
    assert said("chat", Thinking("adaptive"), lazy)[0].effort == "medium"
    assert said("chat", Thinking("adaptive"), able(**LEVELS))[0].effort is None


def test_a_model_with_budgets_only_is_told_efforts_where_the_format_has_no_budgets() -> None:
    control, _ = said("chat", Thinking("on", "max"), able(**BUDGETED))
    assert (control.form, control.effort) == ("level", "high")


def test_thinking_leaves_room_for_the_answer() -> None:
    can, thinking = able(**BUDGETED), Thinking("on", budget=8000)
    assert said("messages", thinking, can, output=Output(limit=4000))[0].budget == 3999
    assert said("messages", thinking, can, output=Output(limit=8001))[0].budget == 8000
    assert said("messages", thinking, can, output=Output(limit=1024)) == (SILENT, ("t",))
    assert said("messages", thinking, able(thinking=("enabled",)))[0].budget == 8000


def test_thinking_of_a_model_that_does_not_think_is_reported() -> None:
    assert said("chat", Thinking("on", "high"), able(thinking=())) == (SILENT, ("t",))


def test_thinking_between_tools_is_reported_elsewhere() -> None:
    control, dropped = said("chat", Thinking("between_tools", "low"), able(**LEVELS), "messages")
    assert (control, dropped) == (Control("level", "low"), ("t",))


# --- what is seen of it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "show", "seen"),
    [
        ("chat", None, "summary"),
        ("messages", None, "summary"),
        ("responses", None, None),
        ("gemini", None, None),
        ("gemini", "none", "none"),
        ("responses", "raw", "raw"),
    ],
)
def test_thinking_is_shown_as_the_clients_format_has_it(
    source: FormatName, show: Any, seen: str | None
) -> None:
    thinking = Thinking("on", "low", show=show)
    assert said("messages", thinking, able(**ADAPTIVE), source)[0].show == seen


def test_an_operator_may_hide_thinking_from_chat_clients() -> None:
    way = going("messages", able(**ADAPTIVE), rules=Rules(show_reasoning=False))
    assert thought(request("chat", thinking=Thinking("on", "low")), way).show is None


def test_to_ask_for_a_look_asks_a_model_to_think_that_hides_it() -> None:
    look = Thinking(show="summary")
    control, _ = said("messages", look, able(**ADAPTIVE), "gemini")
    assert control == Control("adaptive", None, None, "summary")
    assert said("messages", look, UNKNOWN, "gemini")[0].form is None
    assert said("gemini", look, able(thinking=("level",)), "responses")[0].show == "summary"


# --- off, and nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "can", "control", "dropped"),
    [
        ("chat", LEVELS, Control("disabled", "none"), ()),
        ("chat", {"thinking": ()}, SILENT, ()),
        (
            "chat",
            {"thinking": ("level",), "efforts": ("low", "high")},
            Control("level", "low"),
            ("t",),
        ),
        (
            "messages",
            {"thinking": ("adaptive",), "efforts": ("low",)},
            Control(None, "low"),
            ("t",),
        ),
        ("messages", {"thinking": ("adaptive", "between_tools")}, Control("between_tools"), ("t",)),
        ("messages", ADAPTIVE, Control("disabled"), ()),
        ("messages", ADAPTIVE | {"disabled_up_to": "high"}, Control("disabled", "high"), ()),
        ("gemini", {"thinking": ("level",)}, Control("level", "minimal", None, "none"), ()),
        (
            "gemini",
            {"thinking": ("level",), "efforts": ("low",)},
            Control("level", "low", None, "none"),
            (),
        ),
        ("gemini", GEMINI_2, Control("budget", None, 0), ()),
        (
            "gemini",
            {"thinking": ("budget",), "budgets": (128, 9)},
            Control("budget", None, 128, "none"),
            ("t",),
        ),
    ],
)
@pytest.mark.parametrize(
    "thinking", [Thinking("off", "none"), Thinking(effort="none"), Thinking(budget=0)]
)
def test_off_is_off_or_as_little_as_there_is_and_told(
    to: FormatName,
    can: dict[str, Any],
    control: Control,
    dropped: tuple[str, ...],
    thinking: Thinking,
) -> None:
    assert said(to, thinking, able(**can)) == (control, dropped)


@pytest.mark.parametrize(("effort", "told"), [("max", "high"), ("low", "low")])
def test_an_answer_without_thinking_has_the_effort_that_the_model_takes_then(
    effort: Effort, told: Effort
) -> None:
    can = able(**ADAPTIVE, disabled_up_to="high")
    control, _ = said("messages", Thinking("off", effort), can, "responses")
    assert control == Control("disabled", told)
    assert said("messages", Thinking("off", "max"), able(**ADAPTIVE))[0].effort == "max"


@pytest.mark.parametrize("to", ["chat", "responses", "messages", "gemini"])
def test_who_says_nothing_says_nothing(to: FormatName) -> None:
    assert said(to, Thinking(), able(**LEVELS)) == (SILENT, ())


@pytest.mark.parametrize("efforts", [(), ("low", "medium", "high")])
def test_an_effort_alone_is_a_budget_where_the_model_knows_no_other_word(
    efforts: tuple[Effort, ...],
) -> None:
    """wire-formats, trap 124: a level is refused there, whoever asked for it."""
    can = able(**GEMINI_2 | {"efforts": efforts})
    control, dropped = said("gemini", Thinking(effort="low"), can, "messages")
    assert (control, dropped) == (Control("budget", None, 2048, None), ())
    assert said("gemini", Thinking(effort="low"), able(thinking=()), "messages")[0] == SILENT


def test_an_anthropic_clients_effort_alone_asks_for_no_thinking() -> None:
    effort = Thinking(effort="high")
    assert said("chat", effort, able(**LEVELS), "messages")[0] == Control("level", "high")
    assert said("gemini", effort, UNKNOWN, "messages")[0] == Control("level", "high")
    assert said("chat", effort, able(thinking=()), "messages")[0] == SILENT


def test_control_says_whether_the_model_is_asked_to_think() -> None:
    assert Control("level", "low").thinks
    assert not any(c.thinks for c in (SILENT, Control("disabled"), Control("budget", budget=0)))


@pytest.mark.parametrize(
    ("thinking", "can", "idle"),
    [
        (Thinking(), {}, False),
        (Thinking(), {"default_effort": "none"}, True),
        (Thinking("off"), {}, True),
        (Thinking("off"), {"always_thinks": True}, False),
        (Thinking("on"), {"default_effort": "none"}, False),
    ],
)
def test_a_model_is_idle_where_it_does_not_think(
    thinking: Thinking, can: dict[str, Any], idle: bool
) -> None:
    assert is_idle(request("chat", thinking=thinking), able(**can)) is idle


# --- forced calls -------------------------------------------------------------------------------


def test_a_forced_call_turns_thinking_off_where_both_cannot_be() -> None:
    """wire-formats, trap 92."""
    forced = ToolChoice("required", ("f",))
    can = able(**BUDGETED)
    control, dropped = said("messages", Thinking("on", "high"), can, tool_choice=forced)
    assert (control, dropped) == (Control("disabled"), ("t",))
    asked = request("chat", thinking=Thinking("on", "high"))
    assert thought(asked, going("messages", can), forced=True).form == "disabled"


@pytest.mark.parametrize(
    ("choice", "can"),
    [
        (ToolChoice("auto"), BUDGETED),
        (ToolChoice("required"), BUDGETED | {"forced_tool": "yes"}),
        (ToolChoice("required"), BUDGETED | {"thinking": ("enabled",)}),
    ],
)
def test_thinking_stays_where_both_can_be(choice: ToolChoice, can: dict[str, Any]) -> None:
    control, dropped = said("messages", Thinking("on", "high"), able(**can), tool_choice=choice)
    assert (control.form, dropped) == ("enabled", ())


def test_efforts_are_told_in_order() -> None:
    assert [nearest(effort, EFFORTS) for effort in EFFORTS[1:]] == list(EFFORTS[1:])
