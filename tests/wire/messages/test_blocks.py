"""What is said of a reply around its blocks (wire-formats 7, 8.12, 10). The blocks themselves are
seen in tests/wire/messages/test_writer.py, streamed and whole."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from relayd.model import Usage
from relayd.wire.events import Finish, Reason, Start
from relayd.wire.messages.blocks import REASONS, ReplyBlocks, usage_document
from relayd.wire.messages.reply import usage_of
from tests.wire.ways import coming

BLOCKS = ReplyBlocks(coming("messages"))


def test_every_reason_has_a_word() -> None:
    assert set(REASONS) == set(get_args(Reason))
    assert repr(BLOCKS) == "<ReplyBlocks native=False>"


@pytest.mark.parametrize(
    ("finish", "refused", "told"),
    [
        (
            Finish("stop_sequence", stop="END"),
            False,
            {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        ),
        (Finish("stop"), True, {"stop_reason": "refusal", "stop_sequence": None}),
        (Finish("length"), True, {"stop_reason": "max_tokens", "stop_sequence": None}),
        (
            Finish("filter", explanation="because"),
            False,
            {
                "stop_reason": "refusal",
                "stop_sequence": None,
                "stop_details": {"type": "refusal", "category": None, "explanation": "because"},
            },
        ),
        (
            Finish("stop", explanation="no refusal"),
            False,
            {"stop_reason": "end_turn", "stop_sequence": None},
        ),
    ],
)
def test_an_end_says_why(finish: Finish, refused: bool, told: dict[str, Any]) -> None:
    assert BLOCKS.ended(finish, refused=refused) == told


@pytest.mark.parametrize(
    "usage",
    [
        Usage(in_uncached=3, out_total=2, cache_read=0),
        Usage(in_uncached=3, cache_read=4, cache_write_5m=1, cache_write_1h=2, out_total=2),
        Usage(in_uncached=3, cache_read=0, cache_write_5m=0, cache_write_1h=2, out_total=2),
        Usage(in_uncached=3, cache_read=0, out_total=9, reasoning=4),
        Usage(in_uncached=3, cache_read=0, out_total=9, server_tools={"web_search": 2}),
    ],
)
def test_usage_is_read_back_as_it_was(usage: Usage) -> None:
    found = usage_of(usage_document(usage))
    assert found is not None
    for name in ("in_uncached", "cache_read", "cache_write", "out_total", "reasoning"):
        assert (getattr(found, name) or 0) == (getattr(usage, name) or 0), name
    assert found.server_tools == usage.server_tools


def test_the_prompt_of_tools_and_every_write_count() -> None:
    document = usage_document(Usage(in_uncached=3, tool_prompt=4, cache_write_30m=5))
    assert document["input_tokens"] == 7
    assert document["cache_creation_input_tokens"] == 5


@pytest.mark.parametrize(
    ("tier", "told"), [("standard", {"service_tier": "standard"}), ("flex", {}), ("", {})]
)
def test_a_tier_that_the_format_knows_is_told(tier: str, told: dict[str, str]) -> None:
    document = BLOCKS.used(None, Start("", "", tier=tier), {})
    assert {k: v for k, v in document.items() if k == "service_tier"} == told
