"""A Messages request, read into the hub (wire-formats 4.1)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.errors import BadCall
from relayd.wire import envelope
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.messages.decode import BILLING, LOSSES, decode, decode_count
from relayd.wire.neutral import (
    Function,
    Hosted,
    Request,
    Sampling,
    Shape,
    Thinking,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import Cache, Carrier, Extra, Opaque, Text, ToolCall
from relayd.wire.paths import Target

TARGET = Target("messages", "generate", verb="messages")


def decoded(**members: Any) -> Request:
    return decode({"model": "m", "messages": [], **members}, TARGET)


def lost(request: Request, *, lenient: bool = False) -> tuple[str, ...]:
    """What another format reports as dropped. Raises CannotTranslate."""
    losses = Losses("chat", lenient=lenient)
    losses.of_request(request)
    return losses.dropped


def refused(**members: Any) -> str | None:
    with pytest.raises(BadCall) as caught:
        decoded(**members)
    return caught.value.param


def test_a_request_of_everything_is_read() -> None:
    request = decoded(
        max_tokens=100,
        stream=True,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        stop_sequences=["a"],
        metadata={"user_id": "u"},
        service_tier="standard_only",
        cache_control={"type": "ephemeral", "ttl": "1h"},
    )
    assert request.model == "m"
    assert request.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=4)
    assert (request.output.limit, request.output.stop) == (100, ["a"])
    assert (request.user, request.tier, request.stream) == ("u", "standard", True)
    assert request.caching.mark == Cache("1h")
    assert request.param("output.limit") == "max_tokens"
    assert lost(request) == ()


@pytest.mark.parametrize(("tier", "word"), [("auto", "auto"), ("new", "new"), (None, "")])
def test_a_tier_keeps_its_own_word_where_the_hub_has_none(tier: str | None, word: str) -> None:
    assert decoded(service_tier=tier).tier == word


def test_counting_needs_no_limit() -> None:
    """wire-formats, trap 159."""
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = decode_count(document, Target("messages", "count_tokens"))
    assert request.output.limit is None
    assert request.messages[0].parts == [Text("hi", at="messages[0].content")]


# --- instructions and messages ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "texts"),
    [
        (None, []),
        ("", []),
        ("Be kind.", ["Be kind."]),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], ["a", "b"]),
    ],
)
def test_instructions_are_a_text_or_blocks(system: Any, texts: list[str]) -> None:
    request = decoded(system=system)
    assert [part.text for part in request.instructions if isinstance(part, Text)] == texts


@pytest.mark.parametrize("as_blocks", [True, False])
def test_system_blocks_are_kept_apart_and_the_billing_header_is_left_out(as_blocks: bool) -> None:
    """wire-formats, trap 89."""
    header = f"{BILLING} cc_version=2; cch=1f2e3;"
    mark = {"cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": header}, {"type": "text", "text": "Be kind."} | mark]
    request = decoded(system=blocks if as_blocks else header)
    assert isinstance(request.instructions[0], Opaque)
    assert request.instructions[0].document == blocks[0]
    if as_blocks:
        assert request.instructions[1] == Text("Be kind.", at="system[1]", cache=Cache())
    assert lost(request) == ()


def test_messages_have_a_role_and_what_it_says() -> None:
    request = decoded(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}], "id": 1},
            {"role": "system", "content": "c"},
            {"role": "user"},
        ]
    )
    assert [(m.role, m.spoken, len(m.parts)) for m in request.messages] == [
        ("user", "user", 1),
        ("assistant", "assistant", 1),
        ("system", "system", 1),
        ("user", "user", 0),
    ]
    assert lost(request) == ("messages[1].id",)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": ["a"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"thinking": {"type": "loudly"}}, "thinking.type"),
        ({"thinking": {"type": ["adaptive"]}}, "thinking.type"),
        ({"thinking": {"budget_tokens": 1024}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": {}}}, "thinking.display"),
        ({"tool_choice": {"type": {}}}, "tool_choice.type"),
        ({"messages": [{"role": [], "content": "a"}]}, "messages[0].role"),
        ({"service_tier": []}, "service_tier"),
        ({"tools": [{"name": "f", "type": []}]}, "tools[0].type"),
        ({"thinking": {"type": "adaptive", "display": "sung"}}, "thinking.display"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
        ({"tool_choice": {"type": "perhaps"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "input_schema": "x"}]}, "tools[0].input_schema"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    assert refused(**members) == param


@pytest.mark.parametrize(
    "source",
    [{"type": "url", "url": "https://x/a.pdf"}, {"type": "text", "data": "plain"}],
)
def test_a_document_of_the_models_own_stays_here(source: dict[str, str]) -> None:
    block = {"type": "document", "source": source}
    request = decoded(messages=[{"role": "assistant", "content": [block]}])
    with pytest.raises(CannotTranslate) as caught:
        lost(request, lenient=True)
    assert caught.value.param == "messages[0].content[0].source"


def test_an_envelope_is_put_back_onto_its_call() -> None:
    sealed = Carrier("gemini-signature", "sig", "acc1", call_id="c")
    blocks = [
        {"type": "redacted_thinking", "data": envelope.wrap(sealed, "")},
        {"type": "tool_use", "id": "c", "name": "f", "input": {"b": 1, "a": 2}},
    ]
    [call] = decoded(messages=[{"role": "assistant", "content": blocks}]).messages[0].parts
    assert isinstance(call, ToolCall)
    assert call.carrier == Carrier("gemini-signature", "sig", "acc1")
    assert call.arguments == '{"b":1,"a":2}'


# --- tools --------------------------------------------------------------------------------------


def tool(**members: Any) -> Tool:
    return decoded(tools=[members]).tools[0]


def test_a_function_is_read() -> None:
    found = tool(
        name="f",
        description="d",
        input_schema={"type": "object"},
        strict=True,
        cache_control={"type": "ephemeral"},
    )
    assert found == Function(
        at="tools[0]",
        name="f",
        description="d",
        schema={"type": "object"},
        strict=True,
        cache=Cache(),
    )


def test_a_tools_type_is_no_part_of_its_schema() -> None:
    """wire-formats, trap 94."""
    found = tool(name="f", type="custom", input_schema={"type": "object"})
    assert isinstance(found, Function)
    assert (found.schema, found.extra) == (
        {"type": "object"},
        {"type": Extra("custom", "silent")},
    )


@pytest.mark.parametrize(
    ("document", "name", "kind"),
    [
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search", "web_search"),
        ({"type": "bash_20250124", "name": "bash"}, "bash", "bash_20250124"),
        ({"type": "mcp_toolset", "mcp_server_name": "s"}, "mcp_toolset", "mcp_toolset"),
    ],
)
def test_a_tool_that_anthropic_knows_is_hosted(
    document: dict[str, Any], name: str, kind: str
) -> None:
    expected = Hosted(at="tools[0]", name=name, format="messages", kind=kind, document=document)
    assert tool(**document) == expected


def test_members_of_tools_that_only_this_format_has_are_told_or_do_not_matter() -> None:
    request = decoded(
        tools=[
            {
                "name": "f",
                "input_schema": {},
                "defer_loading": True,
                "eager_input_streaming": True,
                "input_examples": [{}],
            }
        ]
    )
    assert lost(request) == ("tools[0].input_examples",)


@pytest.mark.parametrize(
    ("said", "choice", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any"}, ToolChoice("required"), None),
        ({"type": "none"}, ToolChoice("none"), None),
        ({"type": "tool", "name": "f"}, ToolChoice("required", ("f",)), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), False),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), True),
        (None, None, None),
    ],
)
def test_a_choice_is_read(said: Any, choice: ToolChoice | None, parallel: bool | None) -> None:
    request = decoded(tool_choice=said)
    assert (request.tool_choice, request.parallel) == (choice, parallel)


# --- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "thinking"),
    [
        ({}, Thinking()),
        ({"thinking": {}}, Thinking()),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            Thinking("on", budget=2048),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Thinking("adaptive", show="summary"),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            Thinking("adaptive", show="none"),
        ),
        ({"thinking": {"type": "disabled"}}, Thinking("off")),
        ({"thinking": {"type": "between_tools"}}, Thinking("between_tools")),
        ({"output_config": {"effort": "xhigh"}}, Thinking(effort="xhigh")),
    ],
)
def test_thinking_is_read(members: dict[str, Any], thinking: Thinking) -> None:
    request = decoded(**members)
    assert request.thinking == thinking
    assert lost(request) == ()


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"output_config": {"format": {"schema": {"a": 1}}}}, "output_config.format"),
        ({"output_format": {"schema": {"a": 1}}}, "output_format"),
    ],
)
def test_the_form_of_an_answer_has_two_names(members: dict[str, Any], place: str) -> None:
    request = decoded(**members)
    assert request.output.shape is not None
    assert (request.output.shape.schema, request.param("shape")) == ({"a": 1}, place)
    assert lost(request) == ()
    assert decoded().output.shape is None
    assert isinstance(request.output.shape, Shape)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_what_only_this_format_says_is_named_by_its_loss(name: str) -> None:
    request = decoded(**{name: {"some": "value"}})
    if LOSSES[name] == "drop":
        assert lost(request) == (name,)
        return
    with pytest.raises(CannotTranslate) as caught:
        lost(request)
    assert caught.value.param == name
    if LOSSES[name] == "lenient":
        assert lost(request, lenient=True) == (name,)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"hologram": 1}, "hologram"),
        ({"output_config": {"task_budget": 1}}, "output_config"),
        ({"output_config": {"effort": "utmost"}}, "output_config"),
        ({"thinking": {"type": "adaptive", "volume": 1}}, "thinking.volume"),
        ({"tool_choice": {"type": "auto", "reason": "x"}}, "tool_choice.reason"),
    ],
)
def test_an_unknown_member_is_refused_or_leniently_dropped(
    members: dict[str, Any], param: str
) -> None:
    request = decoded(**members)
    with pytest.raises(CannotTranslate) as caught:
        lost(request)
    assert caught.value.param == param
    assert lost(request, lenient=True) == (param,)


def test_unknown_metadata_is_dropped() -> None:
    assert lost(decoded(metadata={"user_id": "u", "team": "t"})) == ("metadata",)


def test_a_document_is_not_changed_by_reading_it() -> None:
    document = {
        "model": "m",
        "system": [{"type": "text", "text": BILLING}],
        "messages": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}],
        "tools": [{"name": "f", "input_schema": {}, "defer_loading": True}],
    }
    before = orjson.dumps(document)
    decode(document, TARGET)
    assert orjson.dumps(document) == before
