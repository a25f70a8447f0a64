"""What may still be taken this minute, against a plain log."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.buckets import MinuteWindow, TokenBucket

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


# --- the filling bucket ---------------------------------------------------------------------------

BURSTS = st.floats(0.5, 120.0)


@given(calls, st.integers(12, 600), BURSTS, st.floats(0, 1e6))
def test_a_minute_holds_no_more_than_the_rate_and_the_burst(
    given: list[tuple[float, int, int]], rate: int, burst: float, now: float
) -> None:
    bucket, log, holds = TokenBucket(rate, burst), [(now, 0)], max(rate * burst / 60, 1)
    for pause, part, _ in given:
        now += pause / 4
        n = max(1, int(holds * part / 13))
        while n <= holds and bucket.fits(n, now):
            bucket.take(n, now)
            log.append((now, n))
    assert most_in_a_minute(log) <= rate + holds + 1e-3


@given(calls, st.integers(1, 600), BURSTS, st.integers(1, 1000), st.floats(0, 1e5))
def test_a_bucket_s_wait_is_exact(
    given: list[tuple[float, int, int]], rate: int, burst: float, wanted: int, now: float
) -> None:
    bucket = TokenBucket(rate, burst)
    for pause, n, _ in given:
        now += pause
        bucket.take(n, now)
    wait = bucket.wait(wanted, now)
    assert bucket.fits(wanted, now + wait)
    if wait > 0.001:
        assert not bucket.fits(wanted, now + wait - 0.001)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("latency", [0.05, 0.5, 2.0])
def test_the_true_total_is_the_rate_s_once_settled(seed: int, latency: float) -> None:
    """Sixty seconds of clients who take whatever they get, by estimates that are wrong by up to
    three times, both ways: with what was left in the bucket, they used what the minute gave."""
    rng, rate, burst = random.Random(seed), 1_000_000, 10.0
    bucket, now, used = TokenBucket(rate, burst), 1000.0, 0
    flying: list[tuple[float, int]] = []
    while now < 1060.0:
        for ends, delta in [one for one in flying if one[0] <= now]:
            bucket.adjust(delta, now)
            flying.remove((ends, delta))
        for _ in range(40):
            truth = rng.randint(300, 3000)
            estimate = int(truth * rng.choice((1 / 3, 0.5, 1, 2, 3)))
            if bucket.fits(estimate, now):
                bucket.take(estimate, now)
                flying.append((now + latency, truth - estimate))
                used += truth
        now += 0.05
    for _, delta in flying:
        bucket.adjust(delta, now)
    given = rate * (now - 1000.0) / 60 + rate * burst / 60
    left = (burst - bucket.wait(10**9, now)) * rate / 60
    assert used + left == pytest.approx(given, rel=0.001)
    # Those too small by their estimates are too many only while they are in flight.
    assert used <= given * (1.02 if latency < 1.0 else 1.05)


def test_what_is_larger_than_the_bucket_passes_when_it_is_full() -> None:
    bucket = TokenBucket(60, 10.0)
    assert bucket.fits(500, 0.0)
    bucket.take(500, 0.0)
    assert not bucket.fits(500, 499.0)
    assert bucket.wait(500, 499.0) == pytest.approx(1.0)
    assert bucket.fits(500, 500.0)


def test_a_bucket_stands_for_headers() -> None:
    bucket = TokenBucket(60, 60.0)
    assert bucket.standing(5.0) == (60, 60, 0.0)
    bucket.take(15, 5.0)
    assert bucket.standing(5.0) == (60, 45, 15.0)
    assert bucket.standing(10.0) == (60, 50, 10.0)
    bucket.adjust(100, 10.0)
    assert bucket.standing(10.0) == (60, 0, 110.0)


def test_a_large_burst_shows_no_more_than_a_minute_s() -> None:
    assert TokenBucket(60, 600.0).standing(0.0).remaining == 60


def test_a_small_burst_lets_one_through() -> None:
    bucket = TokenBucket(1, 0.001)
    assert bucket.fits(1, 0.0)
    bucket.take(1, 0.0)
    assert bucket.wait(1, 0.0) == 60.0


def test_what_is_given_back_to_a_full_bucket_is_lost() -> None:
    bucket = TokenBucket(60, 10.0)
    bucket.take(10, 0.0)
    bucket.adjust(-5, 100.0)
    bucket.adjust(-5, 100.0)
    bucket.take(10, 100.0)
    assert not bucket.fits(1, 100.0)


def test_no_rate_counts_as_one_a_minute() -> None:
    assert repr(TokenBucket(0)) == "TokenBucket(1/min, full at -inf)"
