"""The lag of the event loop."""

from __future__ import annotations

import pytest

from relayd.metrics.collector import Metrics
from relayd.metrics.states import Sources
from tests.support.exposition import Samples


def test_a_loop_that_is_held_up_is_late_and_one_that_is_early_is_in_time() -> None:
    metrics = Metrics(Sources())
    metrics.woke(10.0, 10.12)
    metrics.woke(11.0, 10.9999)
    seen = Samples(metrics.page())
    assert seen.value("relayd_event_loop_lag_seconds_count") == 2
    assert seen.value("relayd_event_loop_lag_seconds_sum") == pytest.approx(0.12)
    assert repr(metrics) == "<Metrics <RequestMetrics 0 kinds>>"


def test_the_process_tells_of_itself() -> None:
    seen = Samples(Metrics(Sources()).page())
    assert seen.value("process_resident_memory_bytes") and seen.value("process_open_fds")
