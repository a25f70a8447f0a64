"""What a provider wants back comes back through clients of other formats, and goes nowhere else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from benchmarks.fidelity import carried, hub
from benchmarks.fidelity.recording import Recorded
from benchmarks.fidelity.verdicts import Verdict
from relayd.wire import envelope

ENDS = {"stop_reason": "tool_use", "stop_sequence": None}
REPLIES: dict[str, dict[str, Any]] = {
    "messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmF0dXJl"},
            {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 9},
        **ENDS,
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "Z0FBQUFB",
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "f",
                "arguments": '{"a":1}',
                "status": "completed",
            },
        ],
    },
    "gemini": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Hm.", "thought": True},
                        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"},
                        {"functionCall": {"name": "f", "args": {"a": 1}}},
                    ],
                },
                "finishReason": "STOP",
            }
        ],
    },
}


def recorded() -> list[Recorded]:
    """A reply with carriers for each format that has them."""
    return [
        Recorded(
            id=f"{name}/carrier",
            format=name,
            path=hub.PATHS[name],
            stream=False,
            request=b"{}",
            asked_usage=False,
            status=200,
            content_type="application/json",
            retry_after="",
            body=orjson.dumps(reply),
        )
        for name, reply in REPLIES.items()
    ]


def checked() -> list[Verdict]:
    return list(carried.check_all(recorded()))


def test_every_carrier_comes_back_through_every_other_client() -> None:
    verdicts = checked()

    assert [(one.row, one.problems) for one in verdicts if one.outcome != "equal"] == []
    assert len(verdicts) == 9


def test_an_envelope_that_is_not_opened_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "unwrap", lambda text: None)
    verdicts = checked()

    assert all(one.outcome == "failed" for one in verdicts)
    assert any("whole: carriers" in problem for one in verdicts for problem in one.problems)
    assert any("streamed: carriers" in problem for one in verdicts for problem in one.problems)


def test_what_goes_to_another_account_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "ANOTHER", carried.ACCOUNT)
    problems = {problem for one in checked() for problem in one.problems}

    assert "whole: another account gets what is not its own" in problems
