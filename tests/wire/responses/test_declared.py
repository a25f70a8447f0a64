"""Tools of other formats, and what the answer shall be like, in this format's words."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.losses import CannotTranslate
from relayd.wire.names import Names
from relayd.wire.neutral import (
    Custom,
    Function,
    Hosted,
    Namespace,
    Output,
    Request,
    Shape,
    ToolChoice,
)
from relayd.wire.responses.declared import Declared
from relayd.wire.setting import Going, Rules
from tests.wire.ways import able, going, request

LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = LOOSE | {"required": ["a"], "additionalProperties": False}


def declared(asked: Request, to: Going | None = None) -> Declared:
    way = to or going("responses")
    names = Names(asked.all_tools(), "responses", custom=way.can.custom_tools)
    return Declared(asked, way, names)


def tool(*tools: Any, to: Going | None = None) -> Any:
    (found, *_) = declared(request("chat", tools=list(tools)), to).tools()
    return found


def test_a_flat_tool_says_strict_false() -> None:
    """wire-formats, trap 57."""
    assert tool(Function(name="f", description="d", schema=LOOSE)) == {
        "type": "function",
        "name": "f",
        "description": "d",
        "parameters": LOOSE,
        "strict": False,
    }


def test_a_tool_without_arguments_takes_an_empty_object() -> None:
    found = tool(Function(name="f"))
    assert found["parameters"] == {"type": "object", "properties": {}}
    assert found["strict"] is False


def test_strict_stays_where_the_schema_fits() -> None:
    strict = tool(Function(name="f", schema=CLOSED, strict=True))
    assert strict["strict"] is True
    to = going("responses")
    loose = tool(Function(name="f", schema=LOOSE, strict=True, at="tools[0]"), to=to)
    assert (loose["strict"], loose["parameters"]) == (False, LOOSE)
    assert to.losses.dropped == ("tools[0].strict",)


def test_a_tool_of_free_text_stays_one_where_the_model_takes_it() -> None:
    custom = Custom(name="patch", description="p", syntax="lark", grammar="start: x")
    to = going("responses", able(custom_tools=True))
    form = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    assert tool(custom, to=to) == {
        "type": "custom",
        "name": "patch",
        "description": "p",
        "format": form,
    }


def test_a_tool_of_free_text_becomes_a_function_of_one_text() -> None:
    found = tool(Custom(name="patch", grammar="start: x"))
    assert (found["type"], found["name"], found["strict"]) == ("function", "patch", False)
    assert found["parameters"]["required"] == ["input"]
    assert found["parameters"]["properties"]["input"]["description"] == "start: x"


def test_a_tool_of_free_text_is_refused_where_the_operator_has_it_so() -> None:
    """wire-formats 12, no. 12."""
    with pytest.raises(CannotTranslate) as caught:
        tool(
            Custom(name="patch", at="tools[0]"),
            to=going("responses", rules=Rules(wrap_custom=False)),
        )
    assert caught.value.param == "tools[0]"


def test_names_are_made_to_fit_with_their_namespace() -> None:
    space = Namespace("shell")
    assert tool(Function(name="run", namespace=space))["name"] == "shell__run"
    assert tool(Function(name="a b"))["name"].startswith("a_b_")


def test_a_web_search_is_the_upstreams_own_where_the_operator_has_it_so() -> None:
    search = Hosted(
        name="web_search", format="messages", kind="web_search", document={}, at="tools[0]"
    )
    assert tool(search, to=going("responses", rules=Rules(map_search=True))) == {
        "type": "web_search"
    }
    with pytest.raises(CannotTranslate) as caught:
        declared(request("messages", tools=[search])).tools()
    assert caught.value.param == "tools[0]"
    lenient = going("responses", lenient=True)
    assert declared(request("messages", tools=[search]), lenient).tools() == []


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, None),
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "name": "f"}),
        (ToolChoice("required", ("g",)), {"type": "custom", "name": "g"}),
        (
            ToolChoice("auto", ("f", "g"), listed=True),
            {"type": "allowed_tools", "mode": "auto"}
            | {"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]},
        ),
    ],
)
def test_a_choice_names_tools_as_the_upstream_has_them(choice: Any, written: Any) -> None:
    tools = [Function(name="f"), Custom(name="g")]
    to = going("responses", able(custom_tools=True))
    assert declared(request("chat", tools=tools, tool_choice=choice), to).choice() == written


def test_a_wrapped_tool_is_chosen_as_a_function() -> None:
    asked = request("chat", tools=[Custom(name="g")], tool_choice=ToolChoice("required", ("g",)))
    assert declared(asked).choice() == {"type": "function", "name": "g"}


def test_a_choice_of_what_is_not_declared_is_refused() -> None:
    """wire-formats 12, no. 13."""
    asked = request("chat", tools=[Function(name="f")], tool_choice=ToolChoice("required", ("g",)))
    with pytest.raises(CannotTranslate) as caught:
        declared(asked).choice()
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (Output(), {}),
        (Output(verbosity="low"), {"verbosity": "low"}),
        (Output(shape=Shape("json")), {"format": {"type": "json_object"}}),
        (
            Output(shape=Shape("schema", schema=CLOSED, strict=True, description="d")),
            {
                "format": {"type": "json_schema", "name": "answer", "description": "d"}
                | {"schema": CLOSED, "strict": True}
            },
        ),
        (
            Output(shape=Shape("schema", "n", schema=LOOSE)),
            {"format": {"type": "json_schema", "name": "n", "schema": LOOSE, "strict": False}},
        ),
    ],
)
def test_the_form_of_the_answer_is_written(output: Output, text: Any) -> None:
    assert declared(request("chat", output=output)).text() == text


def test_a_schema_that_cannot_be_enforced_is_reported() -> None:
    to = going("responses")
    output = Output(shape=Shape("schema", schema=LOOSE, strict=True))
    asked = request("chat", output=output, places={"shape": "response_format.json_schema"})
    assert declared(asked, to).text()["format"]["strict"] is False
    assert to.losses.dropped == ("response_format.json_schema.strict",)


def test_what_is_declared_can_be_seen() -> None:
    assert repr(declared(request("chat"))) == "<Declared 0 tools of chat>"
