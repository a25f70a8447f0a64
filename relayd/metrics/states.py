"""What is looked at when somebody scrapes: keys, connections, the ledger, accounts, the process.

Nothing here is counted as it happens; each part of the relay is asked how it stands. The parts are
passed in as functions, so that this knows none of them.
"""

from __future__ import annotations

import heapq
import math
import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from relayd.metrics.series import OTHER, Labels, simple
from relayd.money import DOLLAR
from relayd.policy.reports import STATES, DoorReport

MOST_ACCOUNTS: Final = 50
MODEL_STATES: Final = ("cooling", "half_open", "open", "refused")


class Connections(NamedTuple):
    """Those to one upstream: now, and since the start."""

    upstream: str
    idle: int
    busy: int
    opened: int
    reused: int


class LedgerState(NamedTuple):
    """How the ledger does: rows and lines that wait, seconds, bytes, failures since the start."""

    waiting_rows: int = 0
    lag: float = 0.0
    full: bool = False
    journal_bytes: int = 0
    unwritten_lines: int = 0
    errors: int = 0


class AccountState(NamedTuple):
    """What an account ever paid, and its balance, in pico-dollars; the balance is None where it
    needs none."""

    id: int
    name: str
    paid: int
    balance: int | None


class Reloads:
    """What became of reloads. `read_at`: Unix seconds, when the configuration in use was read."""

    __slots__ = ("failed", "last_failed", "read_at", "succeeded")

    def __init__(self, read_at: float = 0.0) -> None:
        self.succeeded = self.failed = 0
        self.last_failed = False
        self.read_at = read_at

    def __repr__(self) -> str:
        return f"<Reloads {self.succeeded} succeeded, {self.failed} failed>"

    def note(self, now: float, *, ok: bool) -> None:
        """One more reload has ended."""
        self.last_failed = not ok
        if ok:
            self.succeeded += 1
            self.read_at = now
        else:
            self.failed += 1


class Kept(NamedTuple):
    """Captures since the start."""

    kept: int = 0
    lost: int = 0


class Sources(NamedTuple):
    """Where to look. Each function is called once a scrape, and must not wait."""

    version: str = ""
    in_flight: Callable[[], int] = int
    waiting: Callable[[], int] = int
    clients: Callable[[], int] = int
    doors: Callable[[], Iterable[DoorReport]] = tuple
    connections: Callable[[], Iterable[Connections]] = tuple
    ledger: Callable[[], LedgerState] = LedgerState
    accounts: Callable[[], Iterable[AccountState]] = tuple
    reloads: Callable[[], Reloads] = Reloads
    lines_lost: Callable[[], int] = int
    spooled: Callable[[], int] = int
    sessions: Callable[[], int] = int
    captures: Callable[[], Kept] = Kept
    spans_dropped: Callable[[], int] = int


class Accounts:
    """Which accounts have a series of their own: the MOST_ACCOUNTS that paid most.

    A series says what its account ever paid, so that it only grows. Who has none yet and has paid a
    tenth more than the one that paid least of those who do takes its place. `other` is what the
    rest paid while they had no name: it adds up increases, and so it only grows too, whoever comes
    and goes; would it fall, Prometheus would take it for one that began anew. It remembers a number
    for each account.
    """

    __slots__ = ("_named", "_others", "_paid")

    def __init__(self) -> None:
        self._named: set[int] = set()
        self._others = 0
        self._paid: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Accounts {len(self._named)} named of {len(self._paid)}>"

    def split(self, all_of_them: Iterable[AccountState]) -> tuple[list[AccountState], int]:
        """Those with a name, who paid most first, and what all others paid, in pico-dollars."""
        accounts = {one.id: one for one in all_of_them}
        named = self._named = {
            id for id in self._named if id in accounts and accounts[id].name != OTHER
        }
        nameless = [one for id, one in accounts.items() if id not in named and one.name != OTHER]
        richest = heapq.nlargest(MOST_ACCOUNTS, nameless, key=_rank)
        room = MOST_ACCOUNTS - len(named)
        named.update(one.id for one in richest[:room])
        paid = self._paid
        for id, one in accounts.items():
            if id not in named:
                self._others += max(one.paid - paid.get(id, 0), 0)
        self._paid = {id: one.paid for id, one in accounts.items()}
        self._exchange(richest[room:], accounts)
        return sorted((accounts[id] for id in named), key=_rank, reverse=True), self._others

    def _exchange(self, nameless: list[AccountState], accounts: dict[int, AccountState]) -> None:
        """Give names to who has overtaken; of the nameless who paid most comes first."""
        poorest = sorted((accounts[id] for id in self._named), key=_rank)
        for one, least in zip(nameless, poorest, strict=False):
            if 10 * one.paid <= 11 * least.paid:
                break
            self._named.remove(least.id)
            self._named.add(one.id)


def _rank(one: AccountState) -> tuple[int, int]:
    """The more it paid the greater; of those that paid the same, the older account."""
    return one.paid, -one.id


def collect(sources: Sources, accounts: Accounts) -> Iterator[str]:
    """The text of all states."""
    yield simple("relayd_in_flight_requests", [((), sources.in_flight())])
    yield simple("relayd_waiting_requests", [((), sources.waiting())])
    yield simple("relayd_client_connections", [((), sources.clients())])
    yield simple("relayd_spooled_bytes", [((), sources.spooled())])
    yield simple("relayd_realtime_open_sessions", [((), sources.sessions())])
    yield from _doors(list(sources.doors()))
    yield from _connections(list(sources.connections()))
    yield from _ledger(sources.ledger())
    yield from _accounts(*accounts.split(sources.accounts()))
    yield from _configuration(sources.reloads())
    yield simple("relayd_log_lines_lost_total", [((), sources.lines_lost())])
    yield simple(
        "relayd_captures_total",
        (((result,), number) for result, number in sources.captures()._asdict().items()),
    )
    yield simple("relayd_spans_dropped_total", [((), sources.spans_dropped())])
    runs = (sources.version, platform.python_version())
    yield simple("relayd_build_info", [(runs, 1)])


def _doors(doors: list[DoorReport]) -> Iterator[str]:
    names: list[Labels] = [(door.upstream, door.key) for door in doors]
    both = list(zip(names, doors, strict=True))
    yield simple(
        "relayd_upstream_key_up", ((name, door.state in ("up", "full")) for name, door in both)
    )
    yield simple(
        "relayd_upstream_key_state",
        (((*name, state), door.state == state) for name, door in both for state in STATES),
    )
    yield simple(
        "relayd_upstream_key_cooldown_seconds", ((name, _until(door)) for name, door in both)
    )
    yield simple(
        "relayd_upstream_key_troubled_models",
        (
            ((*name, state), sum(shut == state for _, shut, _, _ in door.models))
            for name, door in both
            for state in MODEL_STATES
        ),
    )
    yield simple("relayd_upstream_key_in_flight", ((name, door.in_flight) for name, door in both))


def _until(door: DoorReport) -> float:
    if door.state in ("up", "full"):
        return 0.0
    return math.inf if door.until is None else max(door.until, 0.0)


def _connections(pools: list[Connections]) -> Iterator[str]:
    yield simple(
        "relayd_upstream_connections",
        (
            ((pool.upstream, state), number)
            for pool in pools
            for state, number in (("idle", pool.idle), ("busy", pool.busy))
        ),
    )
    opened = (((pool.upstream,), pool.opened) for pool in pools)
    reused = (((pool.upstream,), pool.reused) for pool in pools)
    yield simple("relayd_upstream_connections_opened_total", opened)
    yield simple("relayd_upstream_connections_reused_total", reused)


def _ledger(state: LedgerState) -> Iterator[str]:
    yield simple("relayd_ledger_waiting_rows", [((), state.waiting_rows)])
    yield simple("relayd_ledger_lag_seconds", [((), state.lag)])
    yield simple("relayd_ledger_full", [((), state.full)])
    yield simple("relayd_journal_bytes", [((), state.journal_bytes)])
    yield simple("relayd_journal_unwritten_lines", [((), state.unwritten_lines)])
    yield simple("relayd_store_errors_total", [((), state.errors)])


def _accounts(shown: list[AccountState], others: int) -> Iterator[str]:
    paid: list[tuple[Labels, float]] = [((one.name,), one.paid / DOLLAR) for one in shown]
    paid.append(((OTHER,), others / DOLLAR))
    yield simple("relayd_account_cost_dollars_total", paid)
    yield simple(
        "relayd_account_balance_dollars",
        (((one.name,), one.balance / DOLLAR) for one in shown if one.balance is not None),
    )


def _configuration(reloads: Reloads) -> Iterator[str]:
    results = [(("success",), reloads.succeeded), (("failure",), reloads.failed)]
    yield simple("relayd_config_reloads_total", results)
    yield simple("relayd_config_last_reload_successful", [((), not reloads.last_failed)])
    yield simple("relayd_config_last_reload_success_timestamp_seconds", [((), reloads.read_at)])
