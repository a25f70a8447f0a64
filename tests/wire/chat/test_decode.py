"""Chat requests, read into the hub (wire-formats 2.1, 8.3, 8.4, 8.10)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire import envelope
from relayd.wire.chat.decode import LOSSES, decode
from relayd.wire.chat.details import carrier, told
from relayd.wire.neutral import Custom, Function, Hosted, Message, Request
from relayd.wire.parts import (
    Cache,
    Carrier,
    Extra,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.paths import Target

CHAT = Target("chat", "generate")
FUNCTION = {"name": "f", "arguments": "{}"}
CALL = {"id": "c", "type": "function", "function": FUNCTION}
SIGNED = Carrier("anthropic-signature", "sig", "acc")
GOOGLES = Carrier("gemini-signature", "sig", "acc")


def read(*messages: dict[str, Any], **body: Any) -> Request:
    """A request of these messages."""
    return decode({"model": "m", "messages": list(messages)} | body, CHAT)


def turn(**members: Any) -> Message:
    """What the model said."""
    [message] = read({"role": "assistant"} | members).messages
    return message


def refused(*messages: dict[str, Any], **body: Any) -> str | None:
    """What a refusal names."""
    with pytest.raises(BadCall) as caught:
        read(*messages, **body)
    return caught.value.param


# --- messages -----------------------------------------------------------------------------------


def test_every_role_has_its_place() -> None:
    request = read(
        {"role": "developer", "content": "a", "name": "n"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "r", "is_error": True},
    )

    [first, second, third, last] = request.messages
    text = Text("a", at="messages[0].content")
    assert first == Message("system", [text], "messages[0]", "developer", "n")
    assert second.role == "user"
    assert third.parts == [ToolCall("c", "f", "{}", at="messages[2].tool_calls[0]")]
    result = Text("r", at="messages[3].content")
    assert last.parts == [ToolResult("c", "", [result], failed=True, at="messages[3]")]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"content": "a"}, "messages[0].role"),
        ({"role": "narrator"}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"function": {}}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 5}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"role": "tool", "tool_call_id": 5}, "messages[0].tool_call_id"),
    ],
)
def test_a_message_that_is_none_is_named(message: dict[str, Any], param: str) -> None:
    assert refused(message) == param


def test_a_turn_has_its_text_its_pictures_its_refusal_and_its_calls() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x"}}
    parts = turn(content="a", images=[picture], refusal="no", tool_calls=[CALL]).parts

    assert [type(part) for part in parts] == [Text, Image, Refusal, ToolCall]
    assert turn(content="a", images=None, refusal=None, tool_calls=None).parts == [
        Text("a", at="messages[0].content")
    ]


def test_what_only_its_host_knows_of_a_message_is_silent_but_for_sound() -> None:
    extra = turn(content="a", prefix=True, audio={"id": "x"}).extra

    assert extra == {"prefix": Extra(True, "silent"), "audio": Extra({"id": "x"}, "refuse")}


def test_arguments_as_an_object_are_json_text() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": {"b": 1, "a": None}}}

    [found] = turn(tool_calls=[call]).parts
    assert isinstance(found, ToolCall)
    assert found.arguments == '{"b":1,"a":null}'


def test_a_custom_call_has_free_text() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}

    [found] = turn(
        tool_calls=[
            call,
        ]
    ).parts
    assert found == ToolCall("c", "f", "x", True, at="messages[0].tool_calls[0]")


def test_the_older_function_call_is_answered_by_its_name() -> None:
    request = read(
        {"role": "assistant", "content": None, "function_call": FUNCTION},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "function_call": FUNCTION},
        {"role": "function", "name": "f", "content": "2"},
        {"role": "function", "name": "g", "content": "3"},
    )

    calls = [p.id for m in request.messages for p in m.parts if isinstance(p, ToolCall)]
    results = [p.id for m in request.messages for p in m.parts if isinstance(p, ToolResult)]
    assert results == [*calls, ""]
    assert len(set(calls)) == 2


# --- thinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_says_where_it_stood(field: str) -> None:
    entries = [{"type": "reasoning.encrypted", "data": "e"}]
    [part, _] = turn(**{field: "t"}, reasoning_details=entries, content="a").parts

    at = f"messages[0].{field}"
    sealed = carrier(field, entries)
    assert part == Reasoning(["t"], raw=True, carrier=sealed, at=at)


def test_thinking_in_details_alone_is_thinking() -> None:
    entries = [
        {"type": "reasoning.text", "text": "t"},
        {"type": "reasoning.summary", "summary": "u"},
    ]
    [part] = turn(reasoning_details=entries).parts

    assert isinstance(part, Reasoning)
    assert (part.text, part.carrier) == (["tu"], carrier("", entries))
    [bare] = turn(reasoning_details=[{"data": "x"}]).parts
    assert isinstance(bare, Reasoning)
    assert bare.text == []


@pytest.mark.parametrize("said", [None, "", 5, []])
def test_thinking_that_is_no_text_is_none(said: object) -> None:
    assert turn(reasoning_content=said, reasoning_details=said, content="a").parts == [
        Text("a", at="messages[0].content")
    ]


def test_an_envelope_among_the_details_is_opened_and_its_readable_copy_left_out() -> None:
    sealed = envelope.wrap(SIGNED, "acc")
    message = turn(
        content="a",
        reasoning_content="t",
        reasoning_details=[
            *told(["t"], sealed, "", raw=True),
            *told([], sealed, "c", raw=False),
            *told([], sealed, "gone", raw=False),
        ],
        tool_calls=[CALL],
    )

    at = "messages[0].reasoning_details"
    [first, third, text, call, second] = message.parts
    assert first == Reasoning(["t"], raw=True, carrier=SIGNED, at=at)
    assert third == second == Reasoning([], carrier=SIGNED, at=at)
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    assert message.extra == {}


def test_a_thought_stands_once_though_calls_share_an_id() -> None:
    """Else n thoughts and n calls were n times n parts."""
    sealed = envelope.wrap(SIGNED, "acc")
    entries = told(["t"], sealed, "c", raw=True)
    message = turn(tool_calls=[CALL, CALL], reasoning_details=entries)

    assert [type(part) for part in message.parts] == [ToolCall, Reasoning, ToolCall]


def test_googles_signature_of_a_text_stands_behind_it() -> None:
    details = told([], envelope.wrap(GOOGLES, "acc"), "", raw=False)

    [text, signature] = turn(content="a", reasoning_details=details).parts

    assert isinstance(text, Text)
    assert signature.carrier == GOOGLES


def test_the_signature_of_a_call_goes_onto_it() -> None:
    sealed = envelope.wrap(replace(GOOGLES, call_id="c"), "acc")
    beside = {"google": {"thought_signature": sealed}}

    by_details = turn(tool_calls=[CALL], reasoning_details=told([], sealed, "c", raw=False))
    by_itself = turn(tool_calls=[CALL | {"extra_content": beside}])
    by_both = turn(
        tool_calls=[CALL | {"extra_content": beside}],
        reasoning_details=told([], sealed, "c", raw=False),
    )

    for message in (by_details, by_itself, by_both):
        [call] = message.parts
        assert call.carrier == GOOGLES
        assert call.extra == {}


def test_googles_own_signature_is_kept_as_it_is() -> None:
    beside = {"google": {"thought_signature": "abc"}}
    [call] = turn(tool_calls=[CALL | {"extra_content": beside}]).parts

    assert call.carrier == Carrier("gemini-signature", "abc")
    assert call.extra == {"extra_content": Extra(beside, "silent")}


@pytest.mark.parametrize("beside", [None, {}, {"google": None}, {"google": {}}, "x"])
def test_nothing_beside_a_call_is_no_signature(beside: object) -> None:
    [call] = turn(tool_calls=[CALL | {"extra_content": beside}]).parts

    assert call.carrier is None


def test_a_broken_envelope_is_dropped() -> None:
    beside = {"google": {"thought_signature": envelope.wrap(GOOGLES, "acc")[:9]}}
    [call] = turn(tool_calls=[CALL | {"extra_content": beside}]).parts

    assert (call.carrier, call.extra) == (None, {})


def test_anthropics_blocks_beside_the_text_are_thinking() -> None:
    blocks = [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "thinking", "thinking": "u"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    message = turn(content="a", thinking_blocks=blocks)

    found: list[Part] = [part for part in message.parts if isinstance(part, Reasoning)]
    assert [part.carrier for part in found] == [
        Carrier("anthropic-signature", "s"),
        None,
        Carrier("anthropic-redacted", "d"),
    ]
    assert message.extra == {"thinking_blocks": Extra(blocks, "silent")}


def test_anthropics_blocks_in_envelopes_are_whose_they_say() -> None:
    """Their own host gets what is its own; and a broken envelope is nobody's."""
    redacted = Carrier("anthropic-redacted", "d", "acc")
    own = {"type": "thinking", "thinking": "u", "signature": "s"}
    blocks = [
        {"type": "thinking", "thinking": "t", "signature": envelope.wrap(SIGNED, "acc")},
        {"type": "redacted_thinking", "data": envelope.wrap(redacted, "acc")},
        {"type": "thinking", "thinking": "x", "signature": envelope.PREFIX + "broken"},
        own,
        "garbage",
    ]
    message = turn(thinking_blocks=blocks)

    assert [part.carrier for part in message.parts] == [
        SIGNED,
        redacted,
        Carrier("anthropic-signature", "s"),
    ]
    assert message.extra == {"thinking_blocks": Extra([own, "garbage"], "silent")}


def test_thinking_blocks_that_are_no_list_are_their_hosts_business() -> None:
    assert turn(thinking_blocks="odd").extra == {"thinking_blocks": Extra("odd", "silent")}


def test_an_envelope_where_nobody_reads_it_stays_here() -> None:
    """LiteLLM's clients have signatures in members of their own."""
    sealed = envelope.wrap(GOOGLES, "acc")
    own = {"provider_specific_fields": {"thought_signature": sealed, "n": 1}}
    message = turn(content=[{"type": "text", "text": "t"} | own], tool_calls=[CALL | own], **own)
    left = {"provider_specific_fields": Extra({"n": 1}, "silent")}

    assert message.extra == left
    assert [part.extra for part in message.parts] == [
        {"provider_specific_fields": Extra({"n": 1}, "drop")},
        left,
    ]


# --- tools --------------------------------------------------------------------------------------


def tools(*said: object, **body: Any) -> Request:
    """A request with these tools."""
    return read({"role": "user", "content": "a"}, tools=list(said), **body)


def test_a_function_is_read_whole() -> None:
    function = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
        "strict": True,
        "odd": 1,
    }
    tool = {"type": "function", "function": function, "cache_control": {"type": "x"}, "more": 2}

    assert tools(tool).tools == [
        Function(
            at="tools[0]",
            name="f",
            description="d",
            schema={"type": "object"},
            strict=True,
            cache=Cache(),
            extra={"function.odd": Extra(1, "drop"), "more": Extra(2, "drop")},
        )
    ]


def test_a_custom_tool_may_have_a_grammar() -> None:
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    custom = {"name": "f", "description": "d", "format": form}

    [tool, plain] = tools(
        {"type": "custom", "custom": custom}, {"type": "custom", "custom": {"name": "g"}}
    ).tools

    assert isinstance(tool, Custom)
    assert (tool.name, tool.syntax, tool.grammar) == ("f", "lark", "x")
    assert isinstance(plain, Custom)
    assert plain.grammar == ""


def test_a_tool_of_the_hosts_is_kept_as_it_is() -> None:
    document = {"type": "openrouter:web_search", "parameters": {}}

    [tool] = tools(document).tools

    assert isinstance(tool, Hosted)
    assert (tool.kind, tool.name, tool.document) == (
        "openrouter:web_search",
        "openrouter:web_search",
        document,
    )


def test_the_older_functions_are_tools() -> None:
    request = read({"role": "user", "content": "a"}, functions=[{"name": "f", "parameters": {}}])

    assert request.tools == [Function(at="functions[0]", name="f", schema={})]
    assert request.param("tools") == "functions"
    assert request.parallel is False


def test_search_options_are_a_search() -> None:
    [tool] = tools(web_search_options={"search_context_size": "low"}).tools

    assert isinstance(tool, Hosted)
    assert (tool.kind, tool.at) == ("web_search", "web_search_options")


def test_a_tool_without_a_name_is_named() -> None:
    assert refused({"role": "user"}, tools=[{"function": {}}]) == "tools[0].function.name"


def test_the_table_of_losses_names_what_other_formats_lack() -> None:
    assert LOSSES["prediction"] == "lenient"
    assert set(LOSSES.values()) <= {"silent", "drop", "lenient", "refuse"}
