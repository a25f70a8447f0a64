"""Usage of pictures, audio and rankings in the normal form."""

from __future__ import annotations

import pytest

from relayd.model import Usage
from relayd.wire.consumed import milliseconds, usage_of


def test_names_of_other_hosts_are_understood() -> None:
    assert usage_of({"prompt_tokens": 3, "completion_tokens": 4}) == Usage(
        in_uncached=3, out_total=4
    )
    assert usage_of(None) is None


@pytest.mark.parametrize("name", ["input_token_details", "input_tokens_details"])
def test_what_was_read_again_is_counted_apart(name: str) -> None:
    raw = {"input_tokens": 9, "output_tokens": 4, name: {"cached_tokens": 2, "audio_tokens": 3}}
    assert usage_of(raw) == Usage(in_uncached=7, cache_read=2, in_audio=3, out_total=4)


def test_a_length_alone_is_usage() -> None:
    assert usage_of({"type": "duration", "seconds": 1.5}) == Usage(audio_ms=1500)


def test_a_total_alone_is_what_went_in() -> None:
    assert usage_of({"total_tokens": 9}) == Usage(in_uncached=9, total_reported=9)


@pytest.mark.parametrize(
    ("seconds", "length"), [(1.0001, 1001), (0, 0), (-1, None), (True, None), ("1", None)]
)
def test_a_length_is_rounded_up(seconds: object, length: int | None) -> None:
    assert milliseconds(seconds) == length


@pytest.mark.parametrize("seconds", [1e9, float("inf"), float("nan")])
def test_an_absurd_length_is_none(seconds: float) -> None:
    assert milliseconds(seconds) is None
