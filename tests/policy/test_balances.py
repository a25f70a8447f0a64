"""What accounts have and what was spent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.accounts import NO_CAPS, Caps
from relayd.policy.balances import NO_BOUND, Balances, Exceeded, Spending, Sums

TODAY = 20261121
LOADED = Sums(
    granted={1: 100},
    spent={1: 30, 2: 5},
    keys={7: 30},
    account_days={1: {20261101: 10, TODAY: 15}},
    key_days={7: {TODAY: 15}},
)


def test_it_starts_with_what_the_store_says() -> None:
    balances = Balances(LOADED)
    assert (balances.granted(1), balances.spent(1), balances.balance(1)) == (100, 30, 70)
    assert (balances.granted(2), balances.spent(2), balances.balance(2)) == (None, 5, -5)
    account, key = balances.account(1), balances.key(7)
    assert (account.ever, account.on(TODAY), account.in_month(TODAY)) == (30, 15, 25)
    assert (key.ever, key.on(TODAY), key.in_month(TODAY)) == (30, 15, 15)


def test_who_is_not_known_has_nothing_and_spent_nothing() -> None:
    balances = Balances()
    assert (balances.granted(3), balances.spent(3)) == (None, 0)
    assert (balances.balance(3), balances.available(3)) == (0, 0)
    assert balances.account(3) is balances.account(3)
    assert balances.key(3) is balances.key(3)


def test_a_credit_that_is_added_counts_at_once() -> None:
    balances = Balances(LOADED)
    balances.set_granted({1: 200})
    assert balances.balance(1) == 170


def test_what_is_reserved_is_not_available() -> None:
    balances = Balances(LOADED)
    balances.account(1).reserved += 50
    assert (balances.balance(1), balances.available(1)) == (70, 20)


def test_a_cap_counts_what_is_spent_in_its_window_and_all_that_is_reserved() -> None:
    spending = Spending(500, {20261031: 100, 20261120: 40, TODAY: 10})
    spending.reserved = 5
    assert spending.exceeded(Caps(day=20), 5, TODAY) is None
    assert spending.exceeded(Caps(day=20), 6, TODAY) == Exceeded("day", 20, 15)
    assert spending.exceeded(Caps(month=60), 6, TODAY) == Exceeded("month", 60, 55)
    assert spending.exceeded(Caps(ever=510), 6, TODAY) == Exceeded("ever", 510, 505)
    assert spending.exceeded(NO_CAPS, 10**18, TODAY) is None


def test_the_room_is_that_of_the_tightest_cap() -> None:
    spending = Spending(500, {TODAY: 10})
    assert spending.room(Caps(day=20, month=15, ever=1000), TODAY) == 5
    assert spending.room(Caps(day=5), TODAY) == -5
    assert spending.room(NO_CAPS, TODAY) == NO_BOUND


def test_a_late_request_counts_to_the_day_on_which_it_began() -> None:
    spending = Spending()
    spending.add(1, 20261201)
    spending.add(2, 20261130)
    assert (spending.on(20261130), spending.on(20261201)) == (2, 1)
    assert (spending.in_month(20261130), spending.in_month(20261201)) == (2, 1)
    assert spending.ever == 3


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 100)), max_size=200))
def test_days_and_months_stay_few_and_the_newest_are_right(spent: list[tuple[int, int]]) -> None:
    spending, days = Spending(), [d for d in range(20260101, 20261301) if 1 <= d % 100 <= 28]
    for number, amount in sorted(spent):
        day = days[number % len(days)]
        if day >= max((d for d in spending._days), default=0):
            spending.add(amount, day)
            assert spending.on(day) <= spending.in_month(day) <= spending.ever
    assert len(spending._days) <= 3
    assert len(spending._months) <= 3


def test_they_show_what_they_hold() -> None:
    balances = Balances(LOADED)
    balances.account(1).reserved += 50
    assert repr(balances) == (
        "Balances(1 accounts with credit: 100 granted; 35 spent, 50 reserved by all)"
    )
    assert repr(balances.account(1)) == "Spending(30 ever, 50 reserved)"
