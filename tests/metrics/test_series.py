"""Histograms and counters, and the text that they become, as Prometheus' own library reads it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.metrics.series import BETWEEN, LONG, SHORT, Counts, Spread, histogram, simple
from tests.support.exposition import Samples

HISTOGRAM = "relayd_overhead_seconds"


@pytest.mark.parametrize("bounds", [LONG, BETWEEN, SHORT])
def test_a_bound_belongs_to_the_bucket_that_it_ends(bounds: tuple[float, ...]) -> None:
    spread = Spread(bounds)
    for bound in bounds:
        spread.observe(bound)
    spread.observe(bounds[-1] * 2)
    seen = Samples(histogram(HISTOGRAM, {("chat",): spread}))
    buckets = [
        seen.value(f"{HISTOGRAM}_bucket", format="chat", le=le)
        for le in (*(str(float(bound)) for bound in bounds), "+Inf")
    ]
    assert buckets == list(range(1, len(bounds) + 2))
    assert seen.value(f"{HISTOGRAM}_count", format="chat") == len(bounds) + 1
    assert repr(spread) == f"<Spread of {len(bounds) + 1}>"


def test_what_never_happened_is_not_shown() -> None:
    used = Spread(SHORT)
    used.observe(0.001)
    seen = Samples(histogram(HISTOGRAM, {("chat",): used, ("gemini",): Spread(SHORT)}))
    assert seen.total(f"{HISTOGRAM}_count", format="gemini") == 0
    assert seen.total(f"{HISTOGRAM}_count") == 1


def test_a_histogram_without_labels_has_its_bounds_alone() -> None:
    used = Spread(SHORT)
    used.observe(2.0)
    seen = Samples(histogram("relayd_event_loop_lag_seconds", {(): used}))
    assert seen.value("relayd_event_loop_lag_seconds_bucket", le="1.0") == 0
    assert seen.value("relayd_event_loop_lag_seconds_bucket", le="+Inf") == 1
    assert seen.value("relayd_event_loop_lag_seconds_sum") == 2.0


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_stands_in_a_label_is_read_back(text: str) -> None:
    [family] = Samples(simple("relayd_retries_total", [((text,), 1)])).families
    assert [sample.labels for sample in family.samples] == [{"reason": text}]


@pytest.mark.parametrize("number", [0, 1, True, 2**53, 0.1, 1e-12, 1e300, math.inf, -math.inf])
def test_numbers_are_read_back_as_they_are(number: float) -> None:
    assert Samples(simple("relayd_waiting_requests", [((), number)])).value(
        "relayd_waiting_requests"
    ) == float(number)


def test_counts_add_up() -> None:
    counts = Counts()
    counts.add(("a",))
    counts.add(("a",), 2)
    assert dict(counts.items()) == {("a",): 3}
    assert repr(counts) == "<Counts of 1 series>"
