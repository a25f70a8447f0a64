"""What a chat request asks for beside the conversation."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.chat.decode import decode
from relayd.wire.neutral import Request, Sampling, Shape, Thinking, ToolChoice
from relayd.wire.parts import Extra
from relayd.wire.paths import Target

CHAT = Target("chat", "generate")
HELLO = [{"role": "user", "content": "Hello"}]


def asked(**body: Any) -> Request:
    """A request with these members."""
    return decode({"model": "m", "messages": HELLO} | body, CHAT)


def refused(**body: Any) -> str | None:
    """What a refusal of these members names."""
    with pytest.raises(BadCall) as caught:
        asked(**body)
    return caught.value.param


# --- sampling and limits ------------------------------------------------------------------------


def test_sampling_is_read_by_its_names() -> None:
    body: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 1,
        "top_k": 4,
        "frequency_penalty": 0,
        "presence_penalty": -1,
        "seed": -3,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"5": 1},
    }

    assert asked(**body).sampling == Sampling(**body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"n": 1.5}, "n"),
        ({"logit_bias": []}, "logit_bias"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": [1]}, "stop[0]"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        (
            {"tool_choice": {"allowed_tools": {"tools": [{}]}}},
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
        ({"function_call": 5}, "function_call"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_a_member_of_the_wrong_type_is_named(body: dict[str, Any], param: str) -> None:
    assert refused(**body) == param


def test_stream_options_without_a_stream_are_refused() -> None:
    """wire-formats 12, number 25."""
    assert refused(stream_options={"include_usage": True}) == "stream_options"


def test_usage_is_shown_to_who_asks() -> None:
    assert asked(stream=True, stream_options={"include_usage": True}).show_usage
    assert not asked(stream=True, stream_options={}).show_usage
    assert not asked(stream=True).show_usage


def test_the_newer_of_two_limits_counts() -> None:
    request = asked(max_completion_tokens=5, max_tokens=9)

    assert (request.output.limit, request.param("output.limit")) == (5, "max_completion_tokens")
    assert request.extra == {"max_tokens": Extra(9, "silent")}
    assert asked(max_tokens=9).extra == {}


@pytest.mark.parametrize("stop", ["a", ["a"]])
def test_one_text_that_ends_an_answer_is_a_list_of_one(stop: object) -> None:
    assert asked(stop=stop).output.stop == ["a"]


def test_the_user_has_two_names() -> None:
    both = asked(user="u", safety_identifier="s")

    assert (both.user, both.param("user")) == ("s", "safety_identifier")
    assert both.extra == {"user": Extra("u", "silent")}
    assert asked(user="u").extra == {}


def test_the_usual_tier_is_called_standard() -> None:
    assert asked(service_tier="default").tier == "standard"
    assert asked(service_tier="odd").tier == "odd"


def test_an_unknown_member_is_kept_for_its_host() -> None:
    request = asked(provider={"order": ["x"]}, moderation={"model": "m"}, store=True)

    assert request.extra == {
        "provider": Extra({"order": ["x"]}, "lenient"),
        "moderation": Extra({"model": "m"}, "refuse"),
    }
    assert request.store is True


# --- tools --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required", extra={"tool_choice": Extra("any", "silent")})),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("required", ("f",))),
        ({"type": "custom", "custom": {"name": "f"}}, ToolChoice("required", ("f",))),
        ({"type": "web_search"}, ToolChoice("required", hosted={"type": "web_search"})),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "f"}}]},
            },
            ToolChoice("auto", ("f",), listed=True),
        ),
        (
            {"allowed_tools": {"mode": "required", "tools": [{"name": "f"}]}},
            ToolChoice("required", ("f",), listed=True),
        ),
        (None, None),
    ],
)
def test_a_choice_of_tools_has_many_forms(said: object, choice: ToolChoice | None) -> None:
    assert asked(tool_choice=said).tool_choice == choice


def test_the_older_choice_of_functions_is_one() -> None:
    request = asked(function_call={"name": "f"})

    assert request.tool_choice == ToolChoice("required", ("f",))
    assert request.param("tool_choice") == "function_call"
    assert asked(function_call="none").tool_choice == ToolChoice("none")


# --- the form of the answer ---------------------------------------------------------------------


def test_a_schema_is_the_form_of_the_answer() -> None:
    schema = {
        "name": "n",
        "description": "d",
        "schema": {"type": "object"},
        "strict": True,
        "odd": 1,
    }
    request = asked(response_format={"type": "json_schema", "json_schema": schema})

    extra = {"odd": Extra(1, "lenient")}
    assert request.output.shape == Shape("schema", "n", "d", {"type": "object"}, True, extra)
    assert request.extra == {}
    assert asked(response_format={"type": "json_object"}).output.shape == Shape("json")


def test_plain_text_is_no_form_and_a_grammar_is_not_left_out() -> None:
    plain, grammar = {"type": "text"}, {"type": "grammar", "grammar": "x"}

    assert asked(response_format=plain).extra == {"response_format": Extra(plain, "silent")}
    assert asked(response_format=grammar).extra == {"response_format": Extra(grammar, "refuse")}


# --- thinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "thinking"),
    [
        ({"reasoning_effort": "high"}, Thinking("on", "high")),
        ({"reasoning_effort": "none"}, Thinking("off", "none")),
        ({"reasoning": {"effort": "low"}}, Thinking("on", "low")),
        ({"reasoning": {"effort": "none", "enabled": True}}, Thinking("off", "none")),
        ({"reasoning": {"max_tokens": 99}}, Thinking("on", budget=99)),
        ({"reasoning": {"enabled": False}}, Thinking("off")),
        ({"reasoning": {"enabled": True, "exclude": True}}, Thinking("on", show="none")),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, Thinking("on", budget=9)),
        ({"thinking": {"type": "disabled"}}, Thinking("off")),
        ({"thinking": {"type": "auto"}}, Thinking("adaptive")),
        ({"thinking": {"clear_thinking": False}}, Thinking()),
        ({"thinking": "enabled"}, Thinking("on")),
        ({"enable_thinking": False}, Thinking("off")),
        ({"reasoning_format": "hidden"}, Thinking(show="none")),
        ({"reasoning_format": "parsed"}, Thinking()),
    ],
)
def test_thinking_is_switched_on_in_many_ways(body: dict[str, Any], thinking: Thinking) -> None:
    request = asked(**body)

    assert request.thinking == thinking
    if "reasoning_effort" not in body:
        assert {name: extra.loss for name, extra in request.extra.items()} == dict.fromkeys(
            body, "silent"
        )


@pytest.mark.parametrize(
    "body",
    [
        {"reasoning": {"effort": "extreme"}},
        {"reasoning": {"max_tokens": -1}},
        {"reasoning": {"max_tokens": "many"}},
        {"reasoning": {"odd": 1}},
        {"reasoning": "on"},
        {"thinking": {"type": "odd"}},
        {"thinking": {"type": ["x"]}},
        {"thinking": 5},
        {"reasoning_format": "odd"},
    ],
)
def test_a_switch_that_nobody_knows_is_kept_for_its_host(body: dict[str, Any]) -> None:
    request = asked(**body)

    assert request.extra == {name: Extra(value, "lenient") for name, value in body.items()}


def test_an_effort_that_nobody_knows_is_refused_elsewhere() -> None:
    request = asked(reasoning_effort="default")

    assert request.extra == {"reasoning_effort": Extra("default", "refuse")}
    assert request.param("thinking") == "reasoning_effort"


def test_a_refusal_names_the_switch_that_was_used() -> None:
    assert asked(enable_thinking=True).param("thinking") == "enable_thinking"
    assert asked(reasoning_effort="low", enable_thinking=True).param("thinking") == (
        "reasoning_effort"
    )


def test_what_nobody_said_is_called_as_here_all_the_same() -> None:
    assert asked().param("output.limit") == "max_completion_tokens"
    assert asked(parallel_tool_calls=False).param("parallel") == "parallel_tool_calls"
