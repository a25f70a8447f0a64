"""Headers about limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.model import FormatName
from relayd.wire.limits import duration, headers, replaced
from relayd.wire.waits import retry_after

REQUESTS, TOKENS = (60, 0, 0.5), (1000, 250, 45.0)
MOMENT = 1_795_262_400.25


@pytest.mark.parametrize("format", ["chat", "responses", "gemini"])
def test_openai_s_names_serve_three_formats(format: FormatName) -> None:
    assert headers(format, REQUESTS, TOKENS, MOMENT) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"500ms"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-ratelimit-remaining-tokens", b"250"),
        (b"x-ratelimit-reset-tokens", b"45s"),
    ]


def test_anthropic_s_clients_read_moments() -> None:
    assert headers("messages", REQUESTS, TOKENS, MOMENT) == [
        (b"anthropic-ratelimit-requests-limit", b"60"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"anthropic-ratelimit-requests-reset", b"2026-11-21T12:00:01Z"),
        (b"anthropic-ratelimit-tokens-limit", b"1000"),
        (b"anthropic-ratelimit-tokens-remaining", b"250"),
        (b"anthropic-ratelimit-tokens-reset", b"2026-11-21T12:00:46Z"),
    ]


@pytest.mark.parametrize("reset", [1e12, float("inf")])
def test_a_reset_beyond_all_calendars_is_told_as_a_year(reset: float) -> None:
    """It was a ValueError, and that a 500."""
    assert headers("messages", None, (1, 0, reset), 1_795_262_400.0)[-1] == (
        b"anthropic-ratelimit-tokens-reset",
        b"2027-11-21T12:00:00Z",
    )
    assert headers("chat", None, (1, 0, reset), MOMENT)[-1][1] == b"8760h0m0s"


def test_a_limit_that_does_not_exist_is_not_told() -> None:
    assert headers("chat", None, None, MOMENT) == []
    assert len(headers("messages", None, TOKENS, MOMENT)) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, b"0ms"),
        (0.0195, b"20ms"),
        (1.0, b"1s"),
        (8.64, b"8.64s"),
        (60.0, b"1m0s"),
        (360.0, b"6m0s"),
        (62.5, b"1m2.5s"),
        (3600.0, b"1h0m0s"),
        (-1.0, b"0ms"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 86_000))
def test_our_own_reader_reads_them_and_nobody_is_early(seconds: float) -> None:
    wait = retry_after([(b"retry-after", duration(seconds))])
    assert wait is not None
    assert seconds - 1e-6 <= wait <= seconds + 0.0011


def test_ours_stand_instead_of_the_upstream_s() -> None:
    theirs = [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"anthropic-ratelimit-input-tokens-limit", b"5"),
        (b"x-request-id", b"r"),
    ]
    ours = headers("chat", REQUESTS, None, MOMENT)
    assert replaced(theirs, ours) == [(b"x-request-id", b"r"), *ours]
    assert replaced(theirs, []) == theirs
