"""The tools of a request, written as Anthropic's (wire-formats 8.5, 8.6)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.losses import CannotTranslate
from relayd.wire.messages.content import Content
from relayd.wire.messages.tools import ANSWER, Tools
from relayd.wire.names import Names
from relayd.wire.neutral import (
    Custom,
    Function,
    Hosted,
    Namespace,
    Output,
    Request,
    Shape,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import Cache, Document, Extra, ToolCall
from relayd.wire.setting import USUAL, Rules
from tests.wire.ways import able, going, request, says

OBJECT: Document = {"type": "object", "properties": {"a": {"type": "string"}}}
F, G = Function(name="f", schema=OBJECT), Function(name="g", schema=OBJECT)
SEARCH = Hosted(name="web_search", format="responses", kind="web_search", document={}, at="t[0]")


def maker(
    asked: Request, can: Capability = UNKNOWN, rules: Rules = USUAL, *, lenient: bool = False
) -> Tools:
    way = going("messages", can, rules=rules, lenient=lenient)
    names = Names(asked.all_tools(), "messages")
    native = asked.source == "messages"
    return Tools(asked, way, names, Content(asked, way, names, native=native))


def written(
    *tools: Tool, can: Capability = UNKNOWN, rules: Rules = USUAL, **changes: Any
) -> Document:
    document: Document = {}
    asked = request("chat", tools=list(tools), **changes)
    document["shaped_by"] = maker(asked, can, rules).write(document)
    return document


def one(tool: Tool, **changes: Any) -> Document:
    [document] = written(tool, **changes)["tools"]
    return dict(document)


def refused(*tools: Tool, **changes: Any) -> str | None:
    with pytest.raises(CannotTranslate) as caught:
        written(*tools, **changes)
    return caught.value.param


# --- tools --------------------------------------------------------------------------------------


def test_a_function_is_a_tool() -> None:
    tool = Function(name="f", description="d", schema=OBJECT, cache=Cache())
    assert one(tool, can=able(cache_marks=1)) == {
        "name": "f",
        "description": "d",
        "cache_control": {"type": "ephemeral"},
        "input_schema": OBJECT,
    }
    assert repr(maker(request("chat"))).startswith("<Tools <Names")


def test_a_tool_without_parameters_takes_an_object() -> None:
    assert one(Function(name="f"))["input_schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("strict", "can", "said"),
    [
        (True, {}, True),
        (True, {"strict_tools": False}, False),
        (False, {}, False),
        (None, {}, False),
    ],
)
def test_strict_is_said_where_it_is_taken(
    strict: bool | None, can: dict[str, Any], said: bool
) -> None:
    tool = one(Function(name="f", schema=OBJECT, strict=strict), can=able(**can))
    assert ("strict" in tool) is said
    assert ("additionalProperties" in tool["input_schema"]) is said


def test_a_name_that_is_not_taken_becomes_one_that_is() -> None:
    assert one(Function(name="a.b"))["name"].startswith("a_b_")
    space = Namespace("files")
    assert one(Function(name="read", namespace=space))["name"] == "files__read"


@pytest.mark.parametrize(
    ("tool", "about"),
    [
        (Custom(name="patch"), "The text, as it is."),
        (
            Custom(name="patch", syntax="lark", grammar="start: x"),
            "Text of this lark grammar:\nstart: x",
        ),
        (
            Custom(name="patch", grammar="start: x"),
            "Text of this formal grammar:\nstart: x",
        ),
    ],
)
def test_a_tool_that_takes_free_text_takes_one_string(tool: Custom, about: str) -> None:
    assert one(tool)["input_schema"] == {
        "type": "object",
        "properties": {"input": {"type": "string", "description": about}},
        "required": ["input"],
    }


def test_an_operator_may_have_free_text_refused() -> None:
    assert refused(Custom(name="p", at="tools[0]"), rules=Rules(wrap_custom=False)) == "tools[0]"


def test_a_web_search_may_become_anthropics_own() -> None:
    found = written(SEARCH, F, rules=Rules(map_search=True))["tools"]
    assert found[0] == {"type": "web_search_20250305", "name": "web_search"}
    assert refused(SEARCH) == "t[0]"


def test_tools_that_only_the_history_calls_are_declared_and_not_called() -> None:
    calls = says("assistant", ToolCall("1", "f"), ToolCall("2", "old.g"), ToolCall("3", "f"))
    asked = request("chat", calls)
    document: Document = {}
    assert maker(asked).write(document) == ""
    assert [tool["name"][:5] for tool in document["tools"]] == ["f", "old_g"]
    assert document["tool_choice"] == {"type": "none"}
    nothing: Document = {}
    maker(request("chat")).write(nothing)
    assert nothing == {}


# --- which may be called ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "parallel", "said", "declared"),
    [
        (None, None, None, "f g"),
        (ToolChoice("auto"), None, {"type": "auto"}, "f g"),
        (ToolChoice("required"), None, {"type": "any"}, "f g"),
        (ToolChoice("none"), False, {"type": "none"}, "f g"),
        (ToolChoice("required", ("g",)), None, {"type": "tool", "name": "g"}, "f g"),
        (ToolChoice("required", ("g",), listed=True), None, {"type": "any"}, "g"),
        (ToolChoice("auto", ("f",), listed=True), None, {"type": "auto"}, "f"),
    ],
)
def test_a_choice_is_said_and_a_list_leaves_only_its_tools(
    choice: ToolChoice | None, parallel: bool | None, said: Document | None, declared: str
) -> None:
    document = written(F, G, tool_choice=choice, parallel=parallel)
    assert document.get("tool_choice") == said
    assert " ".join(tool["name"] for tool in document["tools"]) == declared


@pytest.mark.parametrize(
    ("choice", "kind"),
    [(None, "auto"), (ToolChoice("auto"), "auto"), (ToolChoice("required"), "any")],
)
def test_one_call_at_a_time_is_said_with_and_without_a_choice(
    choice: ToolChoice | None, kind: str
) -> None:
    """wire-formats, trap 93."""
    one_call = {"type": kind, "disable_parallel_tool_use": True}
    assert written(F, tool_choice=choice, parallel=False)["tool_choice"] == one_call
    several = written(F, tool_choice=ToolChoice("auto"), parallel=True)
    assert several["tool_choice"] == {"type": "auto"}


def test_a_tool_in_a_namespace_is_chosen_by_its_whole_name() -> None:
    tool = Function(name="read", namespace=Namespace("files"))
    document = written(F, tool, tool_choice=ToolChoice("required", ("read",)))
    assert document["tool_choice"] == {"type": "tool", "name": "files__read"}


# --- the answer as a tool -----------------------------------------------------------------------

OLD: dict[str, Any] = {"native_schema": False}
SHAPED = Output(shape=Shape("schema", description="The city.", schema=OBJECT))


def test_a_schema_becomes_a_tool_that_must_be_called_where_the_model_knows_none() -> None:
    document = written(can=able(**OLD), output=SHAPED)
    assert document == {
        "tools": [{"name": ANSWER, "description": "The city.", "input_schema": OBJECT}],
        "tool_choice": {"type": "tool", "name": ANSWER},
        "shaped_by": ANSWER,
    }
    bare = Output(shape=Shape("schema", schema={}))
    assert written(can=able(**OLD), output=bare)["tools"][0]["description"].startswith("The answer")


def test_a_schema_is_no_tool_where_the_model_knows_schemas() -> None:
    assert written(F, output=SHAPED)["shaped_by"] == ""
    assert written(F, can=able(**OLD), output=Output(shape=Shape("json")))["shaped_by"] == ""


@pytest.mark.parametrize(("tools", "can"), [([F], {}), ([], {"forced_tool": "no"})])
def test_a_schema_that_cannot_be_a_tool_is_refused(tools: list[Tool], can: dict[str, Any]) -> None:
    places = {"shape": "response_format"}
    can = OLD | can
    assert refused(*tools, can=able(**can), output=SHAPED, places=places) == "response_format"


# --- natively -----------------------------------------------------------------------------------


def test_natively_tools_stay_what_they_were() -> None:
    hosted = Hosted(name="bash", format="messages", kind="bash_1", document={"type": "bash_1"})
    custom = {"type": Extra("custom", "silent")}
    function = Function(name="a.b", schema=OBJECT, strict=False, cache=Cache("1h"), extra=custom)
    tools = maker(request("messages", tools=[hosted, Function(name="f"), function]))
    [bash, bare, full] = tools.native()
    assert bash == {"type": "bash_1"}
    assert bare == {"name": "f", "input_schema": None}
    assert full | {"name": ""} == {
        "name": "",
        "input_schema": OBJECT,
        "strict": False,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "type": "custom",
    }


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none", extra={"x": Extra(1, "drop")}), None, {"type": "none", "x": 1}),
        (
            ToolChoice("required", ("f",)),
            True,
            {"type": "tool", "name": "f", "disable_parallel_tool_use": False},
        ),
    ],
)
def test_natively_a_choice_stays_what_it_was(
    choice: ToolChoice | None, parallel: bool | None, said: Document | None
) -> None:
    tools = maker(request("messages", tools=[F], tool_choice=choice, parallel=parallel))
    assert tools.native_choice() == said
