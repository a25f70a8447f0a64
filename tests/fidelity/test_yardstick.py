"""The yardstick of fidelity notices what is wrong: a comparison that cannot fail proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from benchmarks.fidelity.check import check
from benchmarks.fidelity.cuts import cut
from benchmarks.fidelity.events import events
from benchmarks.fidelity.expect import expected, is_complete
from benchmarks.fidelity.recording import Recorded
from benchmarks.fidelity.replay import Replayed
from benchmarks.fidelity.usage import COUNTS

USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
BODY = orjson.dumps({"id": "1", "choices": [], "usage": USAGE})
WHOLE = Recorded("whole", "chat", "/v1/chat/completions", False, b"{}", False, 200, "", "", BODY)
STREAM = replace(
    WHOLE,
    stream=True,
    asked_usage=True,
    body=b'data: {"choices":[{"finish_reason":"stop"}]}\n\ndata: {"choices":[],"usage":'
    + orjson.dumps(USAGE)
    + b"}\n\ndata: [DONE]\n\n",
)


def row(**changes: Any) -> dict[str, Any]:
    """The usage row that WHOLE has to leave."""
    counts: dict[str, Any] = dict.fromkeys(
        [
            *("in_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_30m"),
            *("cache_write_12h", "cache_write_other", "out_total", "reasoning", "in_audio"),
            *("in_image", "in_video", "out_audio", "out_image", "tool_prompt", "total_reported"),
        ]
    )
    right = {
        "usage_source": "reported",
        "in_uncached": 20,
        "out_total": 9,
        "total_reported": 29,
        "server_tools": None,
        "bytes_out": len(BODY),
    }
    return counts | right | changes


def played(**changes: Any) -> Replayed:
    """WHOLE as it has to come out."""
    right = Replayed(WHOLE, "whole", 200, "", BODY, "req_1", WHOLE.request, row())
    return replace(right, **changes)


def test_a_faithful_exchange_passes() -> None:
    checked = check(played())

    assert checked.failures == []
    assert checked.exact and checked.request_exact and checked.usage_equal


@pytest.mark.parametrize(
    "changes",
    [
        {"body": BODY[:-1]},
        {"body": BODY + b"\n"},
        {"status": 201},
        {"sent": b"{} "},
        {"sent": None},
        {"row": None},
        {"row": row(in_uncached=21)},
        {"row": row(cache_read=0)},
        {"row": row(usage_source="estimated")},
        {"row": row(bytes_out=0)},
        {"problem": "the client got no whole answer"},
    ],
)
def test_every_deviation_is_a_failure(changes: dict[str, Any]) -> None:
    assert check(played(**changes)).failures != []


def test_a_row_with_usage_that_the_reply_does_not_state_is_a_failure() -> None:
    silent = replace(WHOLE, body=b'{"choices":[]}')
    checked = check(played(recorded=silent, body=silent.body, row=row(bytes_out=14)))

    assert checked.failures == ["the row's usage is reported, but the reply states none"]


def test_the_usage_chunk_is_expected_hidden_only_when_nobody_asked() -> None:
    assert expected(STREAM).body == STREAM.body
    hidden = expected(replace(STREAM, asked_usage=False)).body
    assert hidden == b'data: {"choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def test_events_split_at_every_kind_of_blank_line_and_lose_nothing() -> None:
    body = b"\xef\xbb\xbfdata: 1\r\rdata:2\r\n\r\n: c\n\nevent: e\ndata: 3\ndata: 4\n\ndata: 5"
    found = events(body)

    assert [event.data for event in found] == [b"1", b"2", b"", b"3\n4", b"5"]
    assert [event.name for event in found] == [b"", b"", b"", b"e", b""]
    assert b"".join(event.raw for event in found) == body


def test_cuts_lose_nothing_and_reach_the_inside_of_characters_and_line_ends() -> None:
    body = "data: 你\r\n\r\n".encode() * 50
    pieces = cut(body, "seed")

    assert b"".join(pieces) == body
    assert all(pieces)
    assert pieces == cut(body, "seed")
    assert any(piece[0] & 0xC0 == 0x80 for piece in pieces)
    assert any(piece.startswith(b"\n") for piece in pieces)


def test_a_stream_without_its_terminal_event_is_not_complete() -> None:
    assert is_complete("chat", events(STREAM.body))
    assert not is_complete("chat", events(b'data: {"choices":[{"delta":{}}]}\n\n'))
    assert not is_complete("messages", events(b'event: ping\ndata: {"type":"ping"}\n\n'))


@pytest.mark.parametrize(
    ("name", "raw", "counts"),
    [
        (
            "chat",
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 12}},
            {"in_uncached": 0, "cache_read": 12},
        ),
        (
            "messages",
            {"input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 1},
            {"in_uncached": 5, "cache_write_5m": 7, "out_total": 1},
        ),
        (
            "gemini",
            {"promptTokenCount": 8, "thoughtsTokenCount": 4, "totalTokenCount": 12},
            {"in_uncached": 8, "out_total": 4, "reasoning": 4, "total_reported": 12},
        ),
    ],
)
def test_counts_are_read_by_the_rules_of_the_normal_form(
    name: str, raw: dict[str, Any], counts: dict[str, int]
) -> None:
    assert COUNTS[name](raw) == counts
