"""Usage of Messages replies, and errors in Anthropic's words."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import (
    BadCall,
    BadStatus,
    NoAnswer,
    NoUpstream,
    Refused,
    RelayError,
    UpstreamError,
)
from relayd.model import Usage
from relayd.wire.messages import reply


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 9,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 2,
                    "ephemeral_1h_input_tokens": 3,
                },
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 5},
                "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
            },
            Usage(
                in_uncached=10,
                cache_read=4,
                cache_write_5m=6,  # what the split leaves over is of the default time to live
                cache_write_1h=3,
                out_total=7,
                reasoning=5,
                server_tools={"web_search": 1},
            ),
        ),
        (
            {"input_tokens": 1, "cache_creation_input_tokens": 5},
            Usage(in_uncached=1, cache_write_5m=5),
        ),
        (
            {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 2}},
            Usage(in_uncached=1, cache_write_5m=2),
        ),
        ({"output_tokens": 3, "cache_read_input_tokens": None}, Usage(out_total=3)),
        ({"input_tokens": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_cached_tokens_are_beside_the_input(raw: object, usage: Usage | None) -> None:
    assert reply.usage_of(raw) == usage


def test_all_passes_of_a_reply_are_paid() -> None:
    """The top level covers the last pass; a compaction before it costs, too."""
    raw = {
        "input_tokens": 220,
        "output_tokens": 8,
        "iterations": [
            {"input_tokens": 55196, "output_tokens": 125, "cache_read_input_tokens": 3},
            {"input_tokens": 220, "output_tokens": 8},
            "unknown",
        ],
    }
    assert reply.usage_of(raw) == Usage(in_uncached=55416, out_total=133, cache_read=3)


def test_a_whole_reply_says_what_it_is() -> None:
    facts = reply.reply_usage(b'{"id":"m","usage":{"input_tokens":3}}', "generate")
    assert facts == (Usage(in_uncached=3), None, True, "m")
    failed = reply.reply_usage(b'{"type":"error","error":{"message":"no"}}', "generate")
    assert failed.error == "no"
    assert not reply.reply_usage(b"<", "generate").is_json


def test_counting_tokens_consumes_none() -> None:
    facts = reply.reply_usage(b'{"input_tokens":3}', "count_tokens")
    assert (facts.usage, facts.is_json) == (None, True)


def test_usage_is_found_in_the_tail_of_a_reply_too_large_to_hold() -> None:
    assert reply.tail_usage(b'..","usage":{"input_tokens":3}}') == Usage(in_uncached=3)


@pytest.mark.parametrize(
    ("exc", "status", "kind"),
    [
        (BadCall("m"), 400, "invalid_request_error"),
        (Refused("m"), 401, "authentication_error"),
        (Refused("m", status=402), 402, "billing_error"),
        (Refused("m", status=403), 403, "permission_error"),
        (Refused("m", status=404), 404, "not_found_error"),
        (BadCall("m", status=413), 413, "request_too_large"),
        (Refused("m", status=429), 429, "rate_limit_error"),
        (RelayError("m"), 500, "api_error"),
        (UpstreamError("m"), 502, "api_error"),
        (NoUpstream("m"), 529, "overloaded_error"),
        (NoAnswer("m"), 504, "timeout_error"),
        (BadStatus("m", upstream_status=529), 529, "overloaded_error"),
        (BadStatus("m", upstream_status=500), 502, "api_error"),
    ],
)
def test_an_error_has_its_type_and_the_request_id(exc: RelayError, status: int, kind: str) -> None:
    worded = reply.error(exc, "req_1")
    assert worded.status == status
    expected = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1"}
    assert orjson.loads(worded.body) == expected
