"""The records of the hub: the little that they find out about themselves."""

from __future__ import annotations

import pytest

from relayd.wire.neutral import Declaration, Function, Message, Namespace, Request, Tool, ToolChoice
from relayd.wire.parts import Part, Text, ToolCall, ToolResult


def request(*messages: Message, tools: list[Tool] | None = None) -> Request:
    return Request(source="chat", model="m", messages=list(messages), tools=tools or [])


def test_parts_come_in_order_those_of_a_result_behind_it() -> None:
    first, inner, last = Text("a"), Text("b"), Text("c")
    result = ToolResult(id="c", parts=[inner])
    asked = request(Message("user", [result, last]))
    asked.instructions = [first]

    assert list(asked.parts()) == [first, result, inner, last]


def test_a_tool_is_declared_once_wherever_the_history_declares_it_again() -> None:
    one, again, other, grouped = (
        Function(name="f"),
        Function(name="f"),
        Function(name="g"),
        Function(name="f", namespace=Namespace("n")),
    )
    declared: list[Part] = [Declaration([again, other, grouped, other]), Text("t")]
    asked = request(Message("system", declared), tools=[one])

    found = asked.all_tools()
    assert [id(tool) for tool in found] == [id(one), id(other), id(grouped)]


def test_tools_of_one_name_that_the_client_declares_itself_are_all_kept() -> None:
    """That is the upstream's to refuse."""
    assert len(request(tools=[Function(name="f"), Function(name="f")]).all_tools()) == 2


def test_the_system_messages_at_the_head_are_instructions() -> None:
    head, declared, later = Text("b"), Declaration([Function(name="f")]), Text("d")
    user = Message("user", [Text("c")])
    late = Message("system", [later])
    asked = request(Message("system", [head, declared]), user, late)
    asked.instructions = [Text("a")]

    parts, messages = asked.opening()
    assert parts == [Text("a"), head]
    assert messages == [user, late]
    only = request(Message("system", [head]))
    assert only.opening() == ([head], [])


def test_calls_are_found_by_their_ids() -> None:
    call = ToolCall(id="c", name="f")
    asked = request(Message("assistant", [Text("t"), call, ToolCall(id="", name="g")]))

    assert asked.calls() == {"c": call}


def test_a_field_is_named_as_the_client_wrote_it() -> None:
    asked = request()
    asked.places["n"] = "generationConfig.candidateCount"

    assert asked.param("n") == "generationConfig.candidateCount"
    assert asked.param("user") == "user"


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        (ToolChoice("required", ("f",)), "f"),
        (ToolChoice("required", ("f",), listed=True), ""),
        (ToolChoice("required", ("f", "g")), ""),
        (ToolChoice("required"), ""),
        (ToolChoice("auto", ("f",)), ""),
    ],
)
def test_one_name_that_is_required_is_a_forced_call(choice: ToolChoice, forced: str) -> None:
    assert choice.forced == forced
