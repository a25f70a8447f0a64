"""Validation by the official libraries' types notices what these let through by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.fidelity.valid import event_problems, reply_problems, request_problems

USER = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
CHAT: dict[str, Any] = {"model": "m", "messages": USER}
MESSAGES: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": USER}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("chat", CHAT),
        ("chat", CHAT | {"stream": True}),
        ("messages", MESSAGES),
        ("responses", RESPONSES),
        ("gemini", GEMINI),
        ("gemini", GEMINI | {"generationConfig": {"topK": 3}}),
    ],
)
def test_a_request_that_the_library_would_send_is_valid(
    name: str, document: dict[str, Any]
) -> None:
    assert request_problems(name, document) == []


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("chat", CHAT | {"top_k": 3}),
        ("chat", {"model": "m"}),
        ("chat", CHAT | {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}),
        ("chat", CHAT | {"messages": [{"role": "user", "content": "x", "mood": "good"}]}),
        ("chat", CHAT | {"tools": [{"type": "function", "function": {"nome": "f"}}]}),
        ("messages", MESSAGES | {"system": [{"type": "text", "text": "x", "mood": "good"}]}),
        ("messages", {"model": "m", "messages": USER}),
        ("responses", RESPONSES | {"input": [{"role": "user", "content": [{"type": "text"}]}]}),
        ("responses", RESPONSES | {"stop": ["x"]}),
        ("gemini", GEMINI | {"stream": True}),
        ("gemini", {"contents": []}),
        ("gemini", {"contents": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}),
        ("gemini", GEMINI | {"generationConfig": {"top_k_": 3}}),
    ],
)
def test_unknown_members_and_wrong_parts_are_noticed_at_any_depth(
    name: str, document: dict[str, Any]
) -> None:
    assert request_problems(name, document) != []


def test_replies_and_events_without_what_the_library_demands_are_noticed() -> None:
    message = {"role": "assistant", "content": "Hi"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    event = {"type": "content_block_stop", "index": 0}

    assert reply_problems("chat", reply | {"choices": choices}) == []
    assert reply_problems("chat", reply) != []
    assert event_problems("messages", event) == []
    assert event_problems("messages", {"type": "content_block_stop"}) != []
    assert event_problems("messages", {"type": "ping"}) == []
