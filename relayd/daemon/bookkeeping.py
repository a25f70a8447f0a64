"""What a daemon keeps books with: the lock, the store, the journal, and all that is held in memory.

`open` brings them up in the one right order: become the only daemon of the database, open the
store, bring what a crash left in the journal into it, and only then read the sums that balances
start from. Closing happens in reverse, by the stack that was passed in: rows first, then the store,
the lock last. Three tasks run meanwhile: the writer's two, and `upkeep`, which sees what others
change in the store, keeps the estimates there and prunes old rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from relayd.accounts import AdminToken, Group
from relayd.ledger.journal import Journal, Sizes, journal_directory
from relayd.ledger.lock import lock
from relayd.ledger.replay import recover
from relayd.ledger.writer import LedgerWriter
from relayd.lines import say
from relayd.model import Holding
from relayd.policy.admission import Admission
from relayd.policy.balances import Balances, Sums
from relayd.policy.calendar import Calendar
from relayd.policy.estimate import Estimates
from relayd.policy.holdings import Holdings
from relayd.policy.keys import Directory
from relayd.policy.prices import PriceBook
from relayd.relay.till import Till
from relayd.routing import StateRules
from relayd.store.sqlite import SqliteStore

FLUSH_TIMEOUT = 30.0
SAVED_EVERY = 60.0  # seconds between two savings of the estimates
PRUNED_EVERY = 3600.0
DAY = 86400.0


class Keeping(NamedTuple):
    """How the ledger is kept; see the section `ledger` of the configuration."""

    interval: float = 0.2
    batch: int = 1000
    bound: int = 100_000
    fsync: float = 1.0
    journal: int = 2**30
    keep: float = 0.0


class Terms(NamedTuple):
    """What a reload may change: groups, prices, the calendar."""

    groups: Mapping[str, Group]
    prices: PriceBook
    calendar: Calendar
    default_output: int = 4096
    state: StateRules = StateRules()


class Bookkeeping:
    """The books of one daemon. Made by `open`.

    Attributes:
        store, ledger, till: for those who use them.
        holdings: which upstream key holds which response.
        directory: who may call, as of the last look at the store.
        tokens: the store's ways into the admin API, likewise.
        on_change: called after a look at the store that brought something new.
    """

    def __init__(
        self, store: SqliteStore, ledger: LedgerWriter, till: Till, terms: Terms, keeping: Keeping
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.till = till
        self.terms = terms
        self.holdings = Holdings(terms.state)
        self.directory = Directory([])
        self.tokens: list[AdminToken] = []
        self.on_change: Callable[[], None] = _nothing
        self._keep = keeping.keep
        self._version = -1
        self._looking = asyncio.Lock()
        self._problems: list[str] = []

    def __repr__(self) -> str:
        return f"<Bookkeeping {self.till!r} {self.ledger!r}>"

    @classmethod
    async def open(
        cls,
        database: Path,
        keeping: Keeping,
        terms: Terms,
        now: float,
        opened: contextlib.AsyncExitStack,
    ) -> Bookkeeping:
        """Open everything; what has to be closed is pushed on `opened`.

        Raises StoreError, or OSError (DatabaseInUse is one) when it cannot be.
        """
        opened.callback(lock(database).release)
        # The calendar is the one of the latest configuration; nobody asks before there is one.
        store = await SqliteStore.open(database, day_of=lambda moment: books.day(moment))
        opened.push_async_callback(store.close)
        folder = journal_directory(database)
        secure = store.secure if keeping.fsync else None
        await recover(folder, store, secure=secure)
        journal = Journal(folder, Sizes(bound=keeping.journal), secure=secure)
        ledger = LedgerWriter(
            store,
            journal,
            sync=keeping.fsync,
            interval=keeping.interval,
            batch=keeping.batch,
            bound=keeping.bound,
        )
        till = await _till(store, ledger, terms, now)
        books = cls(store, ledger, till, terms, keeping)
        opened.push_async_callback(books._close)
        books.holdings.on_debt = books._set_aside
        since, most = now - terms.state.ttl, terms.state.entries
        books.holdings.restore(await store.holdings(since, most))
        await books.refresh()
        return books

    async def _close(self) -> None:
        unwritten = await self.ledger.close(FLUSH_TIMEOUT)
        if unwritten:
            words = "usage rows are in the journal only; the next start stores them"
            say(logging.ERROR, words, rows=unwritten)
        await self._save_estimates()

    def _set_aside(self, debt: Holding, by: int) -> None:
        """What a response in the background may come to is reserved while it is owed."""
        balances = self.till.admission.balances
        balances.account(debt.account).reserved += by * debt.reserved
        balances.key(debt.key_id).reserved += by * debt.reserved

    def day(self, moment: float) -> int:
        """The calendar day of a moment, where this daemon is."""
        return self.terms.calendar.day(moment)

    # --- what others change ---------------------------------------------------------------------

    async def refresh(self) -> None:
        """See the store's accounts, keys, credits and tokens now."""
        await self._look()

    async def adopt(self, terms: Terms) -> None:
        """Go by another configuration. Raises what the store raises; then the old one stays."""
        await self._look(terms)

    async def _look(self, terms: Terms | None = None) -> None:
        async with self._looking:
            version = await self.store.keys_version()
            keys = await self.store.keys()
            granted = await self.store.granted()
            tokens = await self.store.admin_tokens()
            groups = (terms or self.terms).groups.values()
            # Thousands of keys take a while: in a thread, or no request would move meanwhile.
            directory = await asyncio.to_thread(Directory, keys, groups)
            # All is read; from here on nothing waits, so no request sees half of it.
            if terms is not None:
                self._go_by(terms)
            self.till.admission.balances.set_granted(granted)
            self.till.admission.retain({key.id for key in keys}, {key.account.id for key in keys})
            self.tokens = tokens
            self._adopt_directory(directory)
            self._version = version
            self.on_change()

    def _go_by(self, terms: Terms) -> None:
        self.terms = terms
        self.holdings.rules = terms.state
        self.till.prices, self.till.calendar = terms.prices, terms.calendar
        self.till.admission.reconfigure(terms.calendar, terms.default_output, terms.prices.refuses)

    def _adopt_directory(self, directory: Directory) -> None:
        self.directory = directory
        for problem in directory.problems:
            if problem not in self._problems:
                say(logging.WARNING, problem)
        self._problems = directory.problems

    # --- tasks ----------------------------------------------------------------------------------

    async def watch(self, every: Callable[[], float]) -> None:
        """See what the command line changes, within `every()` seconds. Runs until cancelled."""
        while True:
            await asyncio.sleep(every())
            try:
                if await self.store.keys_version() != self._version:
                    await self.refresh()
            except Exception:
                say(logging.ERROR, "cannot read the keys; the known ones stay valid", exc=True)

    async def upkeep(self, clock: Callable[[], float]) -> None:
        """Save the estimates and prune old rows, now and then. Runs until cancelled.

        Arguments:
            clock: Unix seconds.
        """
        since_pruning = PRUNED_EVERY
        while True:
            await asyncio.sleep(SAVED_EVERY)
            await self._save_estimates()
            since_pruning += SAVED_EVERY
            if since_pruning >= PRUNED_EVERY and (self._keep or len(self.holdings)):
                since_pruning = 0.0
                await self._prune(clock())

    async def _save_estimates(self) -> None:
        estimates = self.till.estimates
        if not estimates.dirty:
            return
        try:
            await self.store.save_estimates(estimates.snapshot())
        except Exception as error:
            estimates.dirty = True
            say(logging.WARNING, f"the estimates could not be saved: {error}")

    async def _prune(self, now: float) -> None:
        state = self.terms.state
        try:
            await self.store.prune_holdings(now - state.ttl, state.entries)
            if not self._keep:
                return
            # What the journal tells of stays: a crash would bring the row back, and bill it again.
            # A day is kept beside it, since zones do not agree on the day that a request began on.
            oldest = min(now - self._keep, self.ledger.told_since - DAY)
            pruned = await self.store.prune(self.till.calendar.day(oldest))
        except Exception as error:
            say(logging.WARNING, f"old usage rows could not be pruned: {error}")
        else:
            if pruned:
                say(logging.INFO, "usage rows are pruned; their sums stay", rows=pruned)


async def _till(store: SqliteStore, ledger: LedgerWriter, terms: Terms, now: float) -> Till:
    # From the first day of last month: a request in flight may count to it.
    month = terms.calendar.day(now - 31 * DAY) // 100 * 100
    sums = Sums(
        await store.granted(),
        await store.spent(),
        await store.key_spent_ever(),
        await store.account_spent_by_day(month),
        await store.key_spent(month),
    )
    admission = Admission(
        Balances(sums),
        terms.calendar,
        default_output=terms.default_output,
        refuse_unpriced=terms.prices.refuses,
    )
    estimates = Estimates()
    estimates.restore(await store.estimates())
    return Till(admission, estimates, ledger, terms.prices, terms.calendar)


def _nothing() -> None:
    """Nobody wants to know."""
