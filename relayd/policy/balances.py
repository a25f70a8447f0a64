"""What accounts have and what was spent: whole pico-dollars, in memory, exact.

The balance of an account is what it was granted, less what it spent, less what requests in flight
have reserved. The store derives the same numbers from its rows; here they are kept beside, so that
admission can look without waiting, and they change in the same step as the row is handed over.

A cap needs what was spent in a day or a month. Requests count to the day on which they began, so a
late one may still count to yesterday: the newest days and months are kept, older ones are dropped.
Nothing here refuses or limits anything: that is `admission`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from relayd.accounts import Caps

KEPT = 3  # days, and months: today's, and those that requests in flight may still count to

NO_BOUND = 2**63

ByDay = Mapping[int, int]


class Sums(NamedTuple):
    """What the store says at the start, by id; days are numbers such as 20261121.

    Arguments:
        granted: of accounts that ever had a credit.
        spent: by accounts, ever.
        keys: spent by keys, ever.
        account_days, key_days: spent by day, from the first of this month at the latest.
    """

    granted: Mapping[int, int] = {}
    spent: Mapping[int, int] = {}
    keys: Mapping[int, int] = {}
    account_days: Mapping[int, ByDay] = {}
    key_days: Mapping[int, ByDay] = {}


class Exceeded(NamedTuple):
    """A cap that has no room: which window, what it allows, and what is spent and reserved."""

    window: str
    cap: int
    used: int


class Spending:
    """What one account or key spent, and has reserved. Owned by `Balances`."""

    __slots__ = ("_days", "_months", "ever", "reserved")

    def __init__(self, ever: int = 0, days: ByDay | None = None) -> None:
        self.ever = ever
        self.reserved = 0
        self._days: dict[int, int] = {}
        self._months: dict[int, int] = {}
        for day, amount in (days or {}).items():
            self._count(day, amount)

    def __repr__(self) -> str:
        return f"Spending({self.ever} ever, {self.reserved} reserved)"

    def on(self, day: int) -> int:
        """What was spent by requests that began on that day."""
        return self._days.get(day, 0)

    def in_month(self, day: int) -> int:
        """What was spent in the month of that day."""
        return self._months.get(day // 100, 0)

    def add(self, amount: int, day: int) -> None:
        """Spend, on a day."""
        self.ever += amount
        self._count(day, amount)

    def exceeded(self, caps: Caps, amount: int, day: int) -> Exceeded | None:
        """The first cap that `amount` more would go over, with what is reserved."""
        reserved = self.reserved
        if caps.day is not None and self.on(day) + reserved + amount > caps.day:
            return Exceeded("day", caps.day, self.on(day) + reserved)
        if caps.month is not None and self.in_month(day) + reserved + amount > caps.month:
            return Exceeded("month", caps.month, self.in_month(day) + reserved)
        if caps.ever is not None and self.ever + reserved + amount > caps.ever:
            return Exceeded("ever", caps.ever, self.ever + reserved)
        return None

    def room(self, caps: Caps, day: int) -> int:
        """The most that no cap would be gone over by, beside what is reserved."""
        most = NO_BOUND
        if caps.day is not None:
            most = caps.day - self.on(day)
        if caps.month is not None:
            most = min(most, caps.month - self.in_month(day))
        if caps.ever is not None:
            most = min(most, caps.ever - self.ever)
        return most if most == NO_BOUND else most - self.reserved

    def _count(self, day: int, amount: int) -> None:
        month = day // 100
        if day in self._days and month in self._months:
            self._days[day] += amount
            self._months[month] += amount
        else:
            _begin(self._days, day, amount)
            _begin(self._months, month, amount)


def _begin(sums: dict[int, int], when: int, amount: int) -> None:
    sums[when] = sums.get(when, 0) + amount
    if len(sums) > KEPT:
        del sums[min(sums)]


class Balances:
    """The figures of all accounts and keys. Owns them, also over a reload.

    Arguments:
        sums: what the store says at the start, when all of the journal is in it.
    """

    __slots__ = ("_accounts", "_granted", "_keys")

    def __init__(self, sums: Sums | None = None) -> None:
        given = sums or Sums()
        self._granted = dict(given.granted)
        self._accounts = _spendings(given.spent, given.account_days)
        self._keys = _spendings(given.keys, given.key_days)

    def __repr__(self) -> str:
        spent = sum(one.ever for one in self._accounts.values())
        reserved = sum(one.reserved for one in self._accounts.values())
        return (
            f"Balances({len(self._granted)} accounts with credit:"
            f" {sum(self._granted.values())} granted; {spent} spent, {reserved} reserved by all)"
        )

    def set_granted(self, granted: Mapping[int, int]) -> None:
        """The sums of all credits, after some were added."""
        self._granted = dict(granted)

    def account(self, account_id: int) -> Spending:
        """What an account spent."""
        found = self._accounts.get(account_id)
        if found is None:
            found = self._accounts[account_id] = Spending()
        return found

    def key(self, key_id: int) -> Spending:
        """What a key spent."""
        found = self._keys.get(key_id)
        if found is None:
            found = self._keys[key_id] = Spending()
        return found

    def granted(self, account_id: int) -> int | None:
        """The sum of an account's credits; None when it never had one."""
        return self._granted.get(account_id)

    def spent(self, account_id: int) -> int:
        found = self._accounts.get(account_id)
        return found.ever if found is not None else 0

    def balance(self, account_id: int) -> int:
        """Granted less spent: what the ledger's rows come to."""
        return self._granted.get(account_id, 0) - self.spent(account_id)

    def available(self, account_id: int) -> int:
        """The balance, less what requests in flight have reserved."""
        found = self._accounts.get(account_id)
        used = found.ever + found.reserved if found is not None else 0
        return self._granted.get(account_id, 0) - used


def _spendings(ever: Mapping[int, int], days: Mapping[int, ByDay]) -> dict[int, Spending]:
    return {id: Spending(ever.get(id, 0), days.get(id)) for id in ever.keys() | days.keys()}
