"""The blocks of a Messages request, read into parts (wire-formats 4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire import envelope
from relayd.wire.messages.parts import block, cache, content
from relayd.wire.neutral import Declaration
from relayd.wire.parts import (
    Cache,
    Carrier,
    Citation,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def read(**value: Any) -> Part:
    return block(value, "here")


def test_text_has_its_mark_and_its_sources() -> None:
    cited = {"type": "page_location", "document_title": "d", "cited_text": "q", "start_page": 1}
    found = read(type="text", text="a", citations=[cited], cache_control={"type": "ephemeral"})
    assert found == Text("a", [Citation("", "d", "q", native=cited)], at="here", cache=Cache())


@pytest.mark.parametrize(
    ("value", "mark"),
    [
        ({}, None),
        ({"cache_control": None}, None),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, Cache("1h")),
        ({"cache_control": {"type": "ephemeral", "ttl": None}}, Cache()),
    ],
)
def test_a_mark_is_read(value: dict[str, Any], mark: Cache | None) -> None:
    assert cache(value) == mark


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (
            {"type": "base64", "media_type": "IMAGE/PNG", "data": PIXEL.replace("=", "")},
            Image(at="here", mime="image/png", data=PIXEL),
        ),
        ({"type": "base64", "data": PIXEL}, Image(at="here", mime="image/png", data=PIXEL)),
        ({"type": "url", "url": "https://x"}, Image(at="here", url="https://x")),
        ({"type": "file", "file_id": "f"}, Image(at="here", file_id="f")),
    ],
)
def test_a_picture_has_one_of_three_sources(source: dict[str, str], found: Image) -> None:
    assert read(type="image", source=source) == found


def test_a_document_may_be_plain_text_and_says_what_it_is() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "said"}
    found = read(
        type="document", source=source, title="t", context="c", citations={"enabled": True}
    )
    assert found == File(
        at="here",
        mime="text/plain",
        plain="said",
        name="t",
        context="c",
        extra={"citations": Extra({"enabled": True}, "drop")},
    )


@pytest.mark.parametrize(
    "source", [{"type": "content", "content": []}, {"type": "text", "data": "x"}, {}]
)
def test_a_source_that_nobody_else_has_stays_opaque(source: dict[str, Any]) -> None:
    assert isinstance(read(type="image", source=source), Opaque)


def test_a_call_keeps_its_arguments_in_their_order() -> None:
    found = read(type="tool_use", id="c", name="f", input={"b": 1, "a": {"d": 1, "c": 2}})
    assert found == ToolCall("c", "f", '{"b":1,"a":{"d":1,"c":2}}', at="here")


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ({"content": ""}, [Text("", at="here.content")]),
        ({"content": []}, []),
        ({}, []),
        ({"content": None}, []),
        ({"content": "x"}, [Text("x", at="here.content")]),
        ({"content": [{"type": "text", "text": "x"}]}, [Text("x", at="here.content[0]")]),
    ],
)
def test_an_empty_result_is_accepted_in_all_its_forms(
    value: dict[str, Any], parts: list[Part]
) -> None:
    """wire-formats, trap 85."""
    found = read(type="tool_result", tool_use_id="c", **value)
    assert found == ToolResult("c", parts=parts, at="here")


def test_a_result_may_have_failed() -> None:
    found = read(type="tool_result", tool_use_id="c", is_error=True)
    assert isinstance(found, ToolResult)
    assert found.failed


SEALED = Carrier("openai-encrypted", "gAAA", "acc1", "rs_1")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            Reasoning(["hm"], raw=True, carrier=Carrier("anthropic-signature", "S"), at="here"),
        ),
        ({"type": "thinking", "thinking": ""}, Reasoning([], raw=True, at="here")),
        (
            {"type": "thinking", "thinking": "hm", "signature": envelope.wrap(SEALED, "")},
            Reasoning(["hm"], raw=True, carrier=SEALED, at="here"),
        ),
        (
            {"type": "redacted_thinking", "data": "D"},
            Reasoning([], carrier=Carrier("anthropic-redacted", "D"), at="here"),
        ),
        (
            {"type": "redacted_thinking", "data": envelope.wrap(SEALED, "")},
            Reasoning([], carrier=SEALED, at="here"),
        ),
        (
            {"type": "redacted_thinking", "data": envelope.PREFIX + "broken"},
            Reasoning([], carrier=envelope.UNSEALED, at="here"),
        ),
    ],
)
def test_thinking_has_its_signature_or_what_was_in_our_envelope(
    value: dict[str, Any], found: Reasoning
) -> None:
    assert block(value, "here") == found


def test_a_tool_that_is_made_known_is_a_declaration() -> None:
    found = read(type="tool_addition", tool={"name": "f"})
    assert found == Declaration([], at="here", extra={"tool": Extra({"name": "f"}, "silent")})


@pytest.mark.parametrize(
    ("value", "loss"),
    [
        ({"type": "hologram"}, "refuse"),
        ({}, "refuse"),
        ({"type": "search_result"}, "refuse"),
        ({"type": "server_tool_use", "name": "web_search"}, "refuse"),
        ({"type": "server_tool_use", "name": "tool_search_tool_bm25"}, "lenient"),
        ({"type": "tool_search_tool_result"}, "lenient"),
        ({"type": "tool_reference", "tool_name": "f"}, "silent"),
    ],
)
def test_what_only_this_format_has_stays_as_it_is(value: dict[str, Any], loss: str) -> None:
    found = block(value, "here")
    assert isinstance(found, Opaque)
    assert (found.document, found.kind, found.loss) == (value, value.get("type", ""), loss)


def test_unknown_members_of_a_block_are_dropped_elsewhere() -> None:
    found = read(type="text", text="a", light=1)
    assert found.extra == {"light": Extra(1, "drop")}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"type": "text"}, "here.text"),
        ({"type": 5}, "here.type"),
        ({"type": "tool_use", "id": "c", "name": "f", "input": "x"}, "here.input"),
        ({"type": "tool_use", "name": "f"}, "here.id"),
        ({"type": "tool_result"}, "here.tool_use_id"),
        ({"type": "image", "source": {"type": "base64", "data": "?"}}, "here.source.data"),
        ({"type": "redacted_thinking"}, "here.data"),
    ],
)
def test_what_is_wrong_is_named(value: dict[str, Any], param: str) -> None:
    with pytest.raises(BadCall) as caught:
        block(value, "here")
    assert caught.value.param == param


def test_content_is_blocks_or_one_text() -> None:
    assert content({"content": "a"}, "content", "m") == [Text("a", at="m.content")]
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert [part.at for part in content({"content": blocks}, "content", "m")] == [
        "m.content[0]",
        "m.content[1]",
    ]


def test_an_envelope_where_nobody_reads_it_stays_here() -> None:
    """Clients put what they got wherever they like; it may be another provider's ciphertext."""
    sealed = envelope.wrap(Carrier("openai-encrypted", "x", "acc"), "acc")
    found = read(type="tool_use", id="c", name="f", input={}, signature=sealed, caller="me")
    assert found.extra == {"caller": Extra("me", "drop")}
