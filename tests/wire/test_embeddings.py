"""Usage of embeddings: input only, sometimes the total alone."""

from __future__ import annotations

import pytest

from relayd.wire.embeddings import usage_of


@pytest.mark.parametrize(
    ("raw", "prompt", "total"),
    [
        ({"prompt_tokens": 4, "total_tokens": 4}, 4, 4),
        ({"total_tokens": 7}, 7, 7),
        ({"prompt_tokens": 4}, 4, None),
    ],
)
def test_the_prompt_is_what_was_embedded(raw: object, prompt: int, total: int | None) -> None:
    usage = usage_of(raw)
    assert usage is not None
    assert (usage.in_uncached, usage.total_reported, usage.out_total) == (prompt, total, None)


@pytest.mark.parametrize("raw", [None, {}, [], {"prompt_tokens": None}])
def test_no_count_is_no_usage(raw: object) -> None:
    assert usage_of(raw) is None
