"""Sliding counts against a plain list of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.windows import Window

SLOTS = 4
steps = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), max_size=40)


@given(steps, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_total_is_what_came_in_the_newest_slots(
    given: list[tuple[float, int]], width: float
) -> None:
    window, log, now = Window(width, SLOTS), [], 100.0
    for pause, n in given:
        now += pause
        window.add(n, now)
        log.append((int(now / width), n))
        expected = sum(n for slot, n in log if slot > int(now / width) - SLOTS)
        assert window.total(now) == window.counted == expected


def test_a_clock_that_runs_backwards_counts_into_the_newest_slot() -> None:
    window = Window(1.0, SLOTS)
    window.add(1, 50.0)
    window.add(1, 3.0)
    assert window.total(2.0) == 2
    assert window.total(53.9) == 2
    assert window.total(54.0) == 0


def test_an_amendment_goes_to_its_slot_and_leaves_with_it() -> None:
    window = Window(1.0, SLOTS)
    window.add(5, 10.5)
    window.add(1, 12.0)
    window.amend(-3, 10.9, 12.0)
    assert window.total(12.0) == 3
    assert window.total(14.0) == 1


@pytest.mark.parametrize(("then", "total"), [(8.9, 6), (9.0, 7), (12.9, 7), (13.0, 6)])
def test_only_what_is_inside_can_be_amended(then: float, total: int) -> None:
    window = Window(1.0, SLOTS)
    window.add(6, 12.0)
    window.amend(1, then, 12.0)
    assert window.total(12.0) == total


def test_no_amendment_makes_a_slot_negative() -> None:
    window = Window(1.0, SLOTS)
    window.add(2, 10.0)
    window.add(2, 11.0)
    window.amend(-100, 10.0, 11.0)
    assert window.total(11.0) == 2


@given(steps, st.data())
def test_it_knows_when_how_much_will_have_left(
    given: list[tuple[float, int]], data: st.DataObject
) -> None:
    window, now = Window(1.0, SLOTS), 100.0
    for pause, n in given:
        now += pause
        window.add(n, now)
    total = window.total(now)
    n = data.draw(st.integers(1, total)) if total else 0
    moment = window.leaves(n)
    if n:
        assert moment > now
        assert total - window.total(moment - 0.001) < n
    assert total - window.total(max(now, moment)) >= n


def test_it_can_forget_everything() -> None:
    window = Window(0.5, SLOTS)
    window.add(3, 7.0)
    assert repr(window) == "Window(3 in 4 slots of 0.5 s)"
    window.clear()
    assert window.total(7.0) == 0
