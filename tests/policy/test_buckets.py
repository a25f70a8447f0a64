"""What may still be taken this minute, against a plain log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.buckets import MinuteWindow

calls = st.lists(
    st.tuples(st.floats(0, 25), st.integers(1, 12), st.integers(-11, 0)), min_size=1, max_size=50
)


def most_in_a_minute(log: list[tuple[float, int]]) -> int:
    """The largest sum of any sixty seconds: one of them begins with an event."""
    return max(sum(n for at, n in log if begin <= at < begin + 60.0) for begin, _ in log)


@given(calls, st.integers(12, 40), st.floats(0, 1e6))
def test_no_sixty_seconds_hold_more_than_the_limit(
    given: list[tuple[float, int, int]], limit: int, now: float
) -> None:
    window, log = MinuteWindow(limit), [(now, 0)]
    for pause, n, _ in given:
        now += pause
        if window.fits(n, now):
            window.take(n, now)
            log.append((now, n))
    assert most_in_a_minute(log) <= limit


@given(calls, st.integers(12, 40))
def test_the_truth_counts_from_when_it_was_taken(
    given: list[tuple[float, int, int]], limit: int
) -> None:
    window, log, now = MinuteWindow(limit), [(500.0, 0)], 500.0
    for pause, n, delta in given:
        now += pause
        if window.fits(n, now):
            window.take(n, now)
            truth = max(0, n + delta)
            now += pause
            window.adjust(truth - n, now - pause, now)
            log.append((now - pause, truth))
        assert window.used(now) == sum(n for at, n in log if int(at) >= int(now) - 60)
    assert most_in_a_minute(log) <= limit


@given(calls, st.integers(1, 40), st.integers(1, 60), st.floats(0, 1e5))
def test_the_wait_is_long_enough_and_not_a_second_longer(
    given: list[tuple[float, int, int]], limit: int, wanted: int, now: float
) -> None:
    window = MinuteWindow(limit)
    for pause, n, _ in given:
        now += pause
        window.take(n, now)
    wait = window.wait(wanted, now)
    assert 0.0 <= wait <= 61.0
    if wait:
        assert not window.fits(wanted, now + wait - 0.001)
    assert window.fits(wanted, now + wait)


@pytest.mark.parametrize("now", [0.3, 0.7000000000000001, 1234.1])
def test_who_comes_back_after_the_wait_finds_its_place(now: float) -> None:
    window = MinuteWindow(1)
    window.take(1, now)
    assert window.fits(1, now + window.wait(1, now))


def test_rounding_makes_no_wait_too_short() -> None:
    for i in range(2000):
        now = i * 0.0137
        window = MinuteWindow(1)
        window.take(1, now)
        assert window.fits(1, now + window.wait(1, now))


def test_what_is_larger_than_the_limit_fits_when_nothing_is_inside() -> None:
    window = MinuteWindow(100)
    assert window.fits(500, 10.0)
    assert window.wait(500, 10.0) == 0.0
    window.take(1, 10.0)
    assert not window.fits(500, 10.0)
    assert window.wait(500, 10.0) == 61.0
    window.take(500, 71.0)
    assert not window.fits(1, 71.0)


def test_a_truth_larger_than_the_estimate_takes_more() -> None:
    window = MinuteWindow(100)
    window.take(60, 10.0)
    window.adjust(70, 10.0, 20.0)
    assert window.used(20.0) == 130
    assert window.wait(1, 20.0) == 51.0


def test_a_truth_that_comes_too_late_changes_nothing() -> None:
    window = MinuteWindow(100)
    window.take(60, 10.0)
    window.take(10, 71.0)
    window.adjust(-60, 10.0, 71.0)
    assert window.used(71.0) == 10


def test_it_shows_what_is_taken() -> None:
    window = MinuteWindow(100)
    window.take(60, 10.0)
    assert repr(window) == "MinuteWindow(60/100)"
