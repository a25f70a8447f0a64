"""What a request says beside its input, as documents."""

from __future__ import annotations

from relayd.wire.neutral import Custom, Function, Output, Shape, Thinking
from relayd.wire.parts import Extra, Text
from relayd.wire.responses import settings, tools
from tests.wire.ways import request

DECLARED = [
    {"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": None}
    | {"defer_loading": True},
    {"type": "namespace", "name": "n", "description": "group", "new": 1}
    | {
        "tools": [
            {"type": "function", "name": "g", "parameters": None, "strict": True},
            {"type": "custom", "name": "h"},
        ]
    },
    {"type": "namespace", "name": "o", "tools": [{"type": "custom", "name": "i"}]},
    {"type": "custom", "name": "patch", "description": "p"}
    | {"format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
    {"type": "custom", "name": "exec", "format": {"type": "text"}},
    {"type": "web_search", "filters": {"x": 1}},
]


def test_tools_are_written_as_they_were_declared() -> None:
    assert settings.tools(tools.tools({"tools": DECLARED}, "")) == DECLARED


def test_a_choice_is_written_as_it_was_made() -> None:
    for said in (
        "none",
        "required",
        {"type": "custom", "name": "f"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "f"}]},
        {"type": "web_search"},
    ):
        found = tools.choice(said)
        assert found is not None
        assert settings.choice(found) == said


def test_the_form_of_the_answer_is_written() -> None:
    schema = Shape("schema", "n", "d", {"type": "object"}, False, {"new": Extra(1, "drop")})
    for shape, form in (
        (None, None),
        (Shape("json"), {"type": "json_object"}),
        (Shape("schema", "n", schema={}), {"type": "json_schema", "name": "n", "schema": {}}),
        (
            schema,
            {"type": "json_schema", "name": "n", "description": "d"}
            | {"schema": {"type": "object"}, "strict": False, "new": 1},
        ),
    ):
        expected = {} if form is None else {"format": form}
        assert settings.text(Output(shape=shape)) == expected
    assert settings.text(Output(verbosity="low")) == {"verbosity": "low"}


def test_thinking_is_written() -> None:
    assert settings.reasoning(Thinking()) == {}
    thinking = Thinking(effort="low", style="auto", extra={"context": Extra("all", "silent")})
    assert settings.reasoning(thinking) == {"effort": "low", "summary": "auto", "context": "all"}


def test_a_reply_repeats_its_request() -> None:
    quiet = settings.repeated(request("responses"))
    assert (quiet["tools"], quiet["tool_choice"], quiet["metadata"]) == ([], "auto", {})
    assert quiet["text"] == {"format": {"type": "text"}}
    assert quiet["instructions"] is quiet["user"] is None
    asked = request(
        "responses",
        instructions=[Text("a"), Text("b")],
        tools=[Function(name="f"), Custom(name="g")],
        tool_choice=tools.choice({"type": "function", "name": "f"}),
        thinking=Thinking(effort="high"),
        output=Output(shape=Shape("json"), limit=9),
        user="u",
    )
    said = settings.repeated(asked)
    assert said["instructions"] == "a\n\nb"
    assert [tool["name"] for tool in said["tools"]] == ["f", "g"]
    assert said["tool_choice"] == {"type": "function", "name": "f"}
    assert said["reasoning"] == {"effort": "high", "summary": None}
    assert said["text"] == {"format": {"type": "json_object"}}
    assert (said["max_output_tokens"], said["user"]) == (9, "u")


def test_a_tier_has_its_own_word() -> None:
    assert settings.tier(request("responses", tier="standard")) == "default"
    assert settings.tier(request("responses", tier="flex")) == "flex"
    assert settings.tier(request("responses")) is None
