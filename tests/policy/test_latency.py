"""How fast a target answers."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.latency import ENOUGH, MOST, PeakEwma, Quantiles

seconds = st.floats(0.001, 3600.0)


def test_of_an_unknown_target_nothing_is_known() -> None:
    assert PeakEwma().value(5.0) == 0.0
    assert Quantiles().quantile(0.5) is None


def test_a_peak_counts_at_once_and_leaves_slowly() -> None:
    speed = PeakEwma(half_life=10.0)
    speed.observe(0.1, 0.0)
    speed.observe(4.1, 0.0)
    assert speed.value(0.0) == 4.1
    speed.observe(0.1, 10.0)
    assert speed.value(10.0) == pytest.approx(2.1)
    speed.observe(0.1, 20.0)
    assert speed.value(20.0) == pytest.approx(1.1)
    assert repr(speed) == "PeakEwma(1.100 s at 20.0)"


def test_who_is_avoided_for_being_slow_looks_faster_with_time() -> None:
    speed = PeakEwma(half_life=10.0)
    speed.observe(8.0, 100.0)
    assert [speed.value(100.0 + 10 * n) for n in range(4)] == [8.0, 4.0, 2.0, 1.0]
    assert speed.value(1e9) == 0.0


@given(st.lists(st.tuples(st.floats(0, 60), seconds), min_size=1, max_size=30))
def test_it_lies_between_the_last_answer_and_the_slowest(given: list[tuple[float, float]]) -> None:
    speed, now, slowest = PeakEwma(), 0.0, 0.0
    for pause, took in given:
        now += pause
        speed.observe(took, now)
        slowest = max(slowest, took)
        assert took * 0.999 <= speed.value(now) <= slowest * 1.001
        assert speed.value(now + 1) < speed.value(now)


@given(
    st.lists(seconds, min_size=ENOUGH, max_size=100), st.sampled_from([0.0, 0.1, 0.5, 0.95, 1.0])
)
def test_a_quantile_is_at_most_a_fifth_above_the_true_one(given: list[float], q: float) -> None:
    speed = Quantiles()
    for took in given:
        speed.observe(took)
    true = sorted(given)[max(1, ceil(q * len(given))) - 1]
    found = speed.quantile(q)
    assert found is not None
    assert true <= found <= true * 1.2 * 1.000001


def test_too_few_observations_say_nothing() -> None:
    speed = Quantiles()
    for _ in range(ENOUGH - 1):
        speed.observe(1.0)
    assert speed.quantile(0.5) is None
    assert repr(speed) == "Quantiles(19 observations)"
    speed.observe(1.0)
    assert speed.quantile(0.5) == pytest.approx(1.0207, abs=0.0001)
    assert repr(speed) == "Quantiles(p50=1.021 s, p95=1.021 s)"


@pytest.mark.parametrize(("took", "found"), [(0.0, 0.001), (1e9, 3600.0)])
def test_what_is_out_of_bounds_counts_as_the_bound(took: float, found: float) -> None:
    speed = Quantiles()
    for _ in range(ENOUGH):
        speed.observe(took)
    assert speed.quantile(0.5) == found


def test_old_answers_fade() -> None:
    speed = Quantiles()
    for _ in range(MOST):
        speed.observe(10.0)
    for _ in range(MOST):
        speed.observe(0.1)
        assert speed._total <= MOST
        assert speed._total == sum(speed._counts)
    found = speed.quantile(0.6)
    assert found is not None and found < 0.13
