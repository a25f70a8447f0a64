"""The operator hears of each reason, not of each failure."""

from __future__ import annotations

import logging

import pytest

from relayd.faults import MOST_REASONS, QUIET, FaultLog


def test_a_reason_is_told_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog()
    with caplog.at_level(logging.WARNING, "relayd"):
        told = [faults.note("up", "upstream_500", now) for now in (0.0, 1.0, 2.0, QUIET, QUIET + 1)]
    assert told == [True, False, False, True, False]
    assert caplog.messages == [
        "upstream up fails: upstream_500",
        "upstream up fails: upstream_500 (2 more since it was told last)",
    ]


def test_reasons_and_upstreams_are_told_apart() -> None:
    faults = FaultLog()
    assert faults.note("a", "x", 0.0)
    assert faults.note("b", "x", 0.0)
    assert faults.note("a", "y", 0.0)


def test_its_memory_is_bounded() -> None:
    faults = FaultLog()
    for number in range(MOST_REASONS + 5):
        faults.note("up", f"reason {number}", 0.0)
    assert len(faults._told) <= MOST_REASONS
