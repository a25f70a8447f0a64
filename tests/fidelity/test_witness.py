"""The official libraries' view of a stream, on streams whose meaning is plain to see."""

from __future__ import annotations

from typing import Any

import orjson

from benchmarks.fidelity.witness import understood


def stream(*events: dict[str, Any], named: bool = False) -> bytes:
    """Server-sent events, with names where the format has them."""
    name = b"event: %s\n" if named else b"%.0s"
    return b"".join(
        name % str(event.get("type")).encode() + b"data: " + orjson.dumps(event) + b"\n\n"
        for event in events
    )


def test_chat_pieces_are_joined_and_azures_first_chunk_is_left_out() -> None:
    def chunk(**delta: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return {"id": "1", "model": "m", "object": "x", "created": 1, "choices": [choice]}

    azure = {"id": "", "model": "", "object": "", "created": 0, "choices": []}
    usage = {"id": "1", "choices": [], "x_groq": {"usage": {"prompt_tokens": 3}}}
    whole = understood(
        "chat", stream(azure, chunk(role="assistant", content="A"), chunk(content="b"), usage)
    )

    assert whole["id"] == "1"
    assert whole["choices"][0]["message"]["content"] == "Ab"
    assert whole["x_groq"] == {"usage": {"prompt_tokens": 3}}


def test_messages_blocks_are_built_up() -> None:
    start = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []}
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    whole = understood(
        "messages",
        stream(
            {"type": "message_start", "message": start | {"usage": {"output_tokens": 1}}},
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 9},
            },
            {"type": "message_stop"},
            named=True,
        ),
    )

    assert whole["content"] == [block | {"input": {"a": 1}}]
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("tool_use", 9)


def test_of_a_response_the_items_that_were_done_count() -> None:
    begun = {"id": "r", "object": "response", "output": [], "model": "m"}
    item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "first"}
    whole = understood(
        "responses",
        stream(
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {
                "type": "response.output_item.added",
                "sequence_number": 1,
                "output_index": 0,
                "item": item,
            },
            {
                "type": "response.output_item.done",
                "sequence_number": 2,
                "output_index": 0,
                "item": item,
            },
            {
                "type": "response.completed",
                "sequence_number": 3,
                "response": begun | {"output": [item | {"encrypted_content": "anew"}]},
            },
            named=True,
        ),
    )

    assert [one["encrypted_content"] for one in whole["output"]] == ["first"]


def test_gemini_texts_are_joined_and_signatures_belong_to_their_text() -> None:
    def chunk(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}}]} | members

    whole = understood(
        "gemini",
        stream(
            chunk({"text": "Hm", "thought": True}, usageMetadata={"promptTokenCount": 3}),
            chunk({"text": "A"}),
            chunk({"text": "b", "thoughtSignature": "c2ln"}),
            chunk({"text": ""}, usageMetadata={"candidatesTokenCount": 2}),
        ),
    )

    assert whole["candidates"][0]["content"]["parts"] == [
        {"text": "Hm", "thought": True},
        {"text": "Ab", "thoughtSignature": "c2ln"},
    ]
    assert whole["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 2}
