"""Usage of Responses replies, and errors in OpenAI's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.responses import reply


@pytest.mark.parametrize(
    ("response", "usage"),
    [
        (
            {
                "usage": {
                    "input_tokens": 100,
                    "input_tokens_details": {
                        "cached_tokens": 60,
                        "cache_write_tokens": 20,
                        "cache_write_tokens_details": {"ttl_30m_tokens": 12, "ttl_12h_tokens": 5},
                    },
                    "output_tokens": 9,
                    "output_tokens_details": {"reasoning_tokens": 4},
                    "total_tokens": 109,
                },
                "tool_usage": {"web_search": {"num_requests": 2}, "image_gen": {"x": 1}},
            },
            Usage(
                in_uncached=20,
                cache_read=60,
                cache_write_30m=12,
                cache_write_12h=5,
                cache_write_other=3,
                out_total=9,
                reasoning=4,
                total_reported=109,
                server_tools={"web_search": 2},
            ),
        ),
        # Writes known by their time to live alone are no uncached input either.
        (
            {
                "usage": {
                    "input_tokens": 20,
                    "input_tokens_details": {"cache_write_tokens_details": {"ttl_30m_tokens": 12}},
                },
            },
            Usage(in_uncached=8, cache_write_30m=12),
        ),
        (
            {
                "usage": {
                    "input_tokens": 20,
                    "input_tokens_details": {
                        "cache_write_tokens": 5,
                        "cache_write_tokens_details": {"ttl_12h_tokens": 12},
                    },
                },
            },
            Usage(in_uncached=8, cache_write_12h=12, cache_write_other=0),
        ),
        ({"usage": {"input_tokens": 3}}, Usage(in_uncached=3)),
        ({"usage": None}, None),
        ({"usage": {}}, None),
        ({}, None),
    ],
)
def test_usage_is_split_by_what_it_costs(response: dict[str, Any], usage: Usage | None) -> None:
    assert reply.usage_of(response) == usage


def test_a_whole_reply_says_what_it_is() -> None:
    facts = reply.reply_usage(b'{"id":"r","error":null,"usage":{"input_tokens":3}}', "generate")
    assert facts == (Usage(in_uncached=3), None, True, "r")
    failed = reply.reply_usage(b'{"id":"r","error":{"message":"no"}}', "generate")
    assert failed.error == "no"
    assert not reply.reply_usage(b"<", "generate").is_json


def test_counting_tokens_consumes_none() -> None:
    assert reply.reply_usage(b'{"usage":{"input_tokens":3}}', "count_tokens").usage is None


def test_usage_is_found_in_the_tail_of_a_reply_too_large_to_hold() -> None:
    assert reply.tail_usage(b'..","usage":{"input_tokens":3},"user":null}') == Usage(in_uncached=3)


@pytest.mark.parametrize("error", [None, {"code": "server_error", "message": "it failed"}])
def test_a_response_that_is_asked_for_is_an_answer_even_where_it_failed(error: object) -> None:
    value = {"id": "resp_1", "object": "response", "error": error, "usage": {"output_tokens": 1}}
    facts = reply.reply_usage(orjson.dumps(value), "follow_up")
    assert facts.error is None
    assert facts.usage is not None and facts.usage.out_total == 1
    refused = reply.reply_usage(b'{"error": {"message": "no"}}', "follow_up")
    assert refused.error == "no"
