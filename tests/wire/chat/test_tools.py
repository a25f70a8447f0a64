"""Tools and the choice among them, written as chat has them (wire-formats 8.5)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.chat.decode import decode
from relayd.wire.chat.tools import Tools
from relayd.wire.losses import CannotTranslate
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Hosted, Namespace, Request, Tool, ToolChoice
from relayd.wire.parts import Document
from relayd.wire.paths import Target
from relayd.wire.setting import Going, Rules
from tests.wire.ways import able, going, request

CLOSED: Document = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN: Document = {"type": "object", "properties": {"a": {"type": "string"}}}
SEARCH = Hosted(at="tools[0]", name="web_search", format="messages", kind="web_search", document={})


def written(asked: Request, way: Going) -> Document:
    """The members that the tools of a request become."""
    document: Document = {}
    tools = Tools(asked, way, Names(asked.all_tools(), "chat", custom=way.can.custom_tools))
    tools.write(document)
    assert repr(tools).startswith("<Tools")
    return document


def foreign(
    *tools: Tool, can: Capability = UNKNOWN, rules: Rules | None = None, **changes: Any
) -> Document:
    """The members that tools of another format become."""
    asked = request("messages", tools=list(tools), **changes)
    return written(asked, going("chat", can, rules=rules or Rules()))


def same(body: Document) -> Document:
    """The members that a chat request's own tools become."""
    asked = decode({"model": "m", "messages": [{"role": "user", "content": "a"}]} | body, CHAT)
    return written(asked, going("chat"))


CHAT = Target("chat", "generate")


def test_a_function_is_a_function() -> None:
    tool = Function(at="t", name="f", description="d", schema=OPEN)

    assert foreign(tool)["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": OPEN}}
    ]
    assert foreign(Function(at="t", name="f"))["tools"] == [
        {"type": "function", "function": {"name": "f"}}
    ]


def test_strict_is_said_where_the_schema_can_be_enforced() -> None:
    way = going("chat")
    asked = request(
        "messages",
        tools=[
            Function(at="a", name="a", schema=CLOSED, strict=True),
            Function(at="b", name="b", schema=OPEN, strict=True),
            Function(at="c", name="c", schema=OPEN, strict=False),
        ],
    )

    functions = [tool["function"] for tool in written(asked, way)["tools"]]

    assert [each.get("strict") for each in functions] == [True, None, False]
    assert way.losses.dropped == ("b.strict",)


def test_strict_is_not_said_to_who_does_not_know_it() -> None:
    way = going("chat", able(strict_tools=False))
    asked = request(
        "messages",
        tools=[
            Function(at="a", name="a", schema=CLOSED, strict=True),
            Function(at="b", name="b", schema=CLOSED, strict=False),
        ],
    )

    functions = [tool["function"] for tool in written(asked, way)["tools"]]

    assert [each.get("strict") for each in functions] == [None, None]
    assert way.losses.dropped == ("a.strict",)


def test_a_custom_tool_stays_one_where_the_model_knows_them() -> None:
    tool = Custom(at="t", name="f", description="d", syntax="lark", grammar="x")
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}

    assert foreign(tool, can=able(custom_tools=True))["tools"] == [
        {"type": "custom", "custom": {"name": "f", "description": "d", "format": form}}
    ]
    assert foreign(Custom(at="t", name="f"), can=able(custom_tools=True))["tools"] == [
        {"type": "custom", "custom": {"name": "f"}}
    ]


def test_a_custom_tool_becomes_a_function_with_one_string() -> None:
    [tool] = foreign(Custom(at="t", name="f", grammar="x"))["tools"]

    said = tool["function"]["parameters"]
    assert said["properties"] == {"input": {"type": "string", "description": "x"}}


def test_a_custom_tool_is_refused_where_the_operator_has_it() -> None:
    """wire-formats 12, number 12."""
    with pytest.raises(CannotTranslate) as caught:
        foreign(Custom(at="t", name="f"), rules=Rules(wrap_custom=False))

    assert caught.value.param == "t"


def test_a_tool_of_another_providers_is_refused() -> None:
    with pytest.raises(CannotTranslate):
        foreign(SEARCH)


def test_a_search_becomes_the_hosts_where_the_operator_has_it() -> None:
    assert foreign(SEARCH, rules=Rules(map_search=True)) == {"web_search_options": {}}


def test_a_namespace_is_part_of_the_name() -> None:
    tool = Function(at="t", name="f", namespace=Namespace("n"))
    choice = ToolChoice("required", ("f",))

    document = foreign(tool, tool_choice=choice)

    assert document["tools"][0]["function"]["name"] == "n__f"
    assert document["tool_choice"]["function"]["name"] == "n__f"


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "function": {"name": "f"}}),
        (
            ToolChoice("auto", ("f", "g"), listed=True),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "g"}},
                    ],
                },
            },
        ),
        (None, None),
    ],
)
def test_every_choice_has_a_form(choice: ToolChoice | None, said: object) -> None:
    tools = [Function(at="t", name="f"), Custom(at="u", name="g")]

    document = foreign(*tools, can=able(custom_tools=True), tool_choice=choice)

    assert document.get("tool_choice") == said


def test_without_tools_nothing_is_said_of_them() -> None:
    assert foreign(tool_choice=ToolChoice("auto"), parallel=False) == {}


def test_one_call_at_a_time_is_said() -> None:
    tool = Function(at="t", name="f")

    assert foreign(tool, parallel=False)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in foreign(tool, parallel=True)


@pytest.mark.parametrize(
    "body",
    [
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "d",
                        "parameters": OPEN,
                        "strict": True,
                        "odd": 1,
                    },
                    "cache_control": {"type": "ephemeral"},
                    "more": 2,
                },
                {"type": "custom", "custom": {"name": "g"}},
                {"type": "openrouter:web_search", "parameters": {}},
            ],
            "tool_choice": {"type": "custom", "custom": {"name": "g"}},
            "parallel_tool_calls": True,
        },
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "any"},
        {"tool_choice": {"type": "web_search"}, "web_search_options": {"user_location": {}}},
        {"functions": [{"name": "f", "parameters": OPEN}], "function_call": {"name": "f"}},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"tool_choice": {"type": "function", "function": {"name": "undeclared"}}},
        {},
    ],
)
def test_tools_of_the_same_format_stay_as_they_were(body: Document) -> None:
    assert same(body) == body
