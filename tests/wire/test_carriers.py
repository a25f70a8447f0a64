"""Carriers of tool calls: kept for their account, for a while, within bounds."""

from __future__ import annotations

import pytest

from relayd.wire.carriers import LARGEST_ONE, Carriers
from relayd.wire.parts import Carrier


def carrier(payload: str = "sig") -> Carrier:
    return Carrier("gemini-signature", payload, "scope")


def test_what_was_kept_is_found_by_account_and_call() -> None:
    carriers = Carriers()
    carriers.keep(1, "call_a", carrier(), 0.0)

    assert carriers.find(1, "call_a", 10.0) == carrier()
    assert carriers.find(1, "call_b", 10.0) is None
    assert carriers.find(2, "call_a", 10.0) is None


def test_account_and_call_are_not_run_together() -> None:
    carriers = Carriers()
    carriers.keep(1, "1 a", carrier(), 0.0)

    assert carriers.find(11, "a", 0.0) is None
    assert carriers.find(1, "1 a", 0.0) is not None


def test_a_later_carrier_of_a_call_replaces_the_earlier_one() -> None:
    carriers = Carriers()
    carriers.keep(1, "c", carrier("one"), 0.0)
    carriers.keep(1, "c", carrier("two"), 0.0)

    assert (len(carriers), carriers.find(1, "c", 0.0)) == (1, carrier("two"))
    assert repr(carriers) == "<Carriers 1 of 100000, 3 characters>"


def test_what_nobody_asks_for_is_forgotten_in_time() -> None:
    carriers = Carriers(ttl=10.0)
    carriers.keep(1, "c", carrier(), 0.0)

    assert carriers.find(1, "c", 9.0) is not None
    assert carriers.find(1, "c", 18.0) is not None, "asking kept it on"
    assert carriers.find(1, "c", 28.0) is None
    assert repr(carriers) == "<Carriers 0 of 100000, 0 characters>"


def test_the_dead_leave_when_others_come() -> None:
    carriers = Carriers(ttl=10.0)
    for name in "abc":
        carriers.keep(1, name, carrier(), 0.0)
    carriers.keep(1, "d", carrier(), 5.0)

    carriers.keep(1, "e", carrier(), 12.0)
    assert len(carriers) == 3
    carriers.keep(1, "f", carrier(), 12.0)
    assert len(carriers) == 3
    assert carriers.find(1, "d", 12.0) is not None


def test_all_the_dead_leave_before_the_living() -> None:
    carriers = Carriers(ttl=10.0)
    carriers.keep(1, "a", carrier(), 0.0)
    carriers.keep(1, "b", carrier(), 100.0)

    assert len(carriers) == 1


def test_entries_are_bounded_and_the_longest_unused_leaves_first() -> None:
    carriers = Carriers(most=2)
    for name in "ab":
        carriers.keep(1, name, carrier(), 0.0)
    carriers.find(1, "a", 1.0)
    carriers.keep(1, "c", carrier(), 2.0)

    assert [carriers.find(1, name, 2.0) is not None for name in "abc"] == [True, False, True]


def test_characters_are_bounded_together_and_each() -> None:
    carriers = Carriers(largest=8)
    for name in "abc":
        carriers.keep(1, name, carrier("xxxx"), 0.0)
    assert [carriers.find(1, name, 0.0) is not None for name in "abc"] == [False, True, True]

    carriers = Carriers()
    carriers.keep(1, "c", carrier("x" * (LARGEST_ONE + 1)), 0.0)
    assert len(carriers) == 0
    carriers.keep(1, "c", carrier("x" * LARGEST_ONE), 0.0)
    assert len(carriers) == 1


@pytest.mark.parametrize("call_id", ["", "x" * 10**6, "\ud800"])
def test_any_call_id_will_do_but_none(call_id: str) -> None:
    carriers = Carriers()
    carriers.keep(1, call_id, carrier(), 0.0)

    assert (carriers.find(1, call_id, 0.0) is not None) == bool(call_id)
