"""Usage of chat replies as the hosts spell it, and errors in OpenAI's words."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import Usage
from relayd.wire.chat import reply


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {
                    "cached_tokens": 60,
                    "cache_write_tokens": 10,
                    "audio_tokens": 3,
                    "image_tokens": 4,
                    "video_tokens": 5,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 8,
                    "audio_tokens": 1,
                    "image_tokens": 2,
                },
                "server_tool_use_details": {"web_search_requests": 1},
            },
            Usage(
                in_uncached=30,
                cache_read=60,
                cache_write_other=10,
                out_total=20,
                reasoning=8,
                in_audio=3,
                in_image=4,
                in_video=5,
                out_audio=1,
                out_image=2,
                total_reported=120,
                server_tools={"web_search": 1},
            ),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(in_uncached=9)),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(in_uncached=5, cache_read=4)),
        ({"prompt_tokens": 9, "num_cached_tokens": 0}, Usage(in_uncached=9, cache_read=0)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 2}, Usage(in_uncached=7, cache_read=2)),
        ({"prompt_tokens": 4, "cached_tokens": 9}, Usage(in_uncached=0, cache_read=9)),
        ({"total_tokens": 3}, Usage(total_reported=3)),
        # Some hosts count reasoning apart: the total tells.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 6},
            },
            Usage(in_uncached=10, out_total=10, reasoning=6, total_reported=20),
        ),
        (
            {"completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 6}},
            Usage(out_total=4, reasoning=6),
        ),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_usage_is_read_as_each_host_spells_it(raw: object, usage: Usage | None) -> None:
    assert reply.usage_of(raw) == usage


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id":"c","usage":{"prompt_tokens":1}}', (Usage(in_uncached=1), None, True, "c")),
        (
            b'{"id":"c","x_groq":{"usage":{"prompt_tokens":1}}}',
            (Usage(in_uncached=1), None, True, "c"),
        ),
        (b'{"error":{"message":"no"}}', (None, "no", True, "")),
        (b'{"error":"no"}', (None, "no", True, "")),
        (b'{"id":"c"}', (None, None, True, "c")),
        (b"<html>502</html>", (None, None, False, "")),
    ],
)
def test_a_whole_reply_says_what_it_is(body: bytes, expected: tuple[Any, ...]) -> None:
    assert tuple(reply.reply_usage(body, "generate")) == expected


def test_an_embedding_may_report_the_total_alone() -> None:
    facts = reply.reply_usage(b'{"usage":{"total_tokens":7}}', "embed")
    assert facts.usage == Usage(in_uncached=7, total_reported=7)


def test_usage_is_found_in_the_tail_of_a_reply_too_large_to_hold() -> None:
    assert reply.tail_usage(b'0.1]}],"usage":{"total_tokens":7}}') == Usage(
        in_uncached=7, total_reported=7
    )
    tail = b'xx"}}],"usage":{"prompt_tokens":2,"completion_tokens":3}}'
    assert reply.tail_usage(tail) == Usage(in_uncached=2, out_total=3)
    assert reply.tail_usage(b"xx") is None
