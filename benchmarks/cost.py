"""`python -m benchmarks.cost`: what the ledger costs a request, in microseconds of the loop's time.

The whole is everything that a paid request does beside being relayed: its key is found, its price
and an estimate of its prompt; it is admitted, its opening line written; its usage priced and
settled, its closing line written, its row handed to the writer; and, a batch at a time, the journal
hears that the store has the rows. That is timed as one, and then the parts again by themselves. The
rows are made beforehand, because the relay had them before it had a ledger. The journal writes real
files. What other threads do (bringing lines to the platter, the database) is not the loop's time,
and is left out; `make sustain` has all of it.

A figure is the median of many batches: a neighbour on the same core makes some of them slower. The
best batch is beside it. Exits with 1 when the goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from relayd.accounts import Account, Caps, Group, Key, Limits
from relayd.daemon.process import tame_collector
from relayd.ledger.journal import Journal, journal_directory
from relayd.ledger.lines import Opening
from relayd.ledger.writer import LedgerWriter
from relayd.model import Entry, Usage
from relayd.money import DOLLAR
from relayd.policy.admission import Admission, Grant
from relayd.policy.balances import Balances, Sums
from relayd.policy.calendar import Calendar
from relayd.policy.estimate import Estimates
from relayd.policy.keys import Directory
from relayd.policy.prices import Price, PriceBook, Rates, charged
from relayd.policy.reservation import Ask

GOAL = 40.0  # microseconds
BATCH = 1000
SHORT = 20  # batches of a quick look
LONG = 200
KEYS = 200
MODELS = 20
BODY = 2000  # bytes of a prompt
STARTED = 1_790_000_000.0  # Unix seconds; nothing depends on it
MICRO = 1e6


class Cost(NamedTuple):
    """Of one request, in microseconds."""

    what: str
    median: float
    best: float


class Bank:
    """All that a paid request meets, with limits of every kind set and none of them reached. Owns
    the clock that the policy sees, the journal's files, and the requests that are open.

    Arguments:
        folder: for the journal.
    """

    def __init__(self, folder: Path) -> None:
        self._secrets = [f"sk-relayd-{number:043d}" for number in range(KEYS)]
        self.directory = Directory(
            [_key(n, secret) for n, secret in enumerate(self._secrets)], GROUPS
        )
        self.prices = PriceBook([(f"model-{number}*", PRICE) for number in range(MODELS)])
        self.estimates = Estimates()
        self.calendar = Calendar("Europe/Berlin")
        granted = {number: 1_000_000 * DOLLAR for number in range(KEYS)}
        self.admission = Admission(Balances(Sums(granted=granted)), self.calendar)
        self.journal = Journal(journal_directory(folder / "cost.db"))
        self.writer = LedgerWriter(_Taken(), self.journal, batch=BATCH)
        self._now = 1000.0
        self._number = 0
        self.grants: list[Grant] = []
        self.entries: list[Entry] = []

    def __repr__(self) -> str:
        return f"<Bank {self.admission!r} {self.journal!r}>"

    # --- the parts, a batch of each -------------------------------------------------------------

    def prepare(self) -> None:
        """Make the rows of the next batch: as far as the relay itself fills them in."""
        self.entries = [_entry(self._number + n, STARTED + self._now) for n in range(BATCH)]

    def admit(self) -> None:
        """Find the key, the price and the estimate, and let the request in."""
        self.grants = [self._admit() for _ in range(BATCH)]

    def open(self) -> None:
        """Write the opening lines of all that were admitted."""
        for grant, entry in zip(self.grants, self.entries, strict=True):
            self.writer.open(_opening(grant, entry))

    def settle(self) -> None:
        """Price and settle all that are open."""
        for grant, entry in zip(self.grants, self.entries, strict=True):
            self._settle(grant, entry)

    def close(self) -> None:
        """Write the closing lines, and hand the rows over."""
        for entry in self.entries:
            self.writer.add(entry)

    def whole(self) -> None:
        """All of it, one request after the other."""
        for entry in self.entries:
            grant = self._admit()
            self.writer.open(_opening(grant, entry))
            self._settle(grant, entry)
            self.writer.add(entry)

    async def stored(self) -> None:
        """The store has the rows."""
        await self.writer.flush()

    def tidy(self) -> None:
        """What another thread does for the journal."""
        self.journal.tidy(sync=False)

    # --- one request ----------------------------------------------------------------------------

    def _admit(self) -> Grant:
        self._number = number = self._number + 1
        self._now += 0.001
        model = f"model-{number % MODELS}"
        moment = STARTED + self._now
        caller = self.directory.find(
            self._secrets[number % KEYS], moment=moment, address="203.0.113.7"
        )
        price, tokens = self.prices.find(model), self.estimates.tokens(model, BODY)
        ask = Ask(caller, model, price, tokens, BODY, 1024)
        return self.admission.admit(ask, self._now, moment)

    def _settle(self, grant: Grant, entry: Entry) -> None:
        usage, price, caller = entry.usage, grant.price, grant.caller
        assert price is not None
        entry.key_id, entry.account_id, entry.day = caller.key.id, caller.account.id, grant.day
        cost = charged(price.cost(usage), caller.group.multiplier)
        entry.cost, entry.uncharged = self.admission.settle(grant, cost, usage.total, self._now)
        self.estimates.learn(grant.ask.model, BODY, 450)


class _Taken:
    """A store that takes every row."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Take them."""


GROUPS = (
    Group(
        "default",
        limits=Limits(rpm=10**7, tpm=10**10, concurrency=10**6),
        caps=Caps(day=10**6 * DOLLAR, month=10**6 * DOLLAR),
        multiplier=1_250_000,
    ),
)
PRICE = Price(Rates.of({"input": 2_500_000, "output": 10_000_000, "cache_read": 250_000}))


def _key(number: int, secret: str) -> Key:
    account = Account(number, f"account-{number}")
    limits = Limits(rpm=10**7, tpm=10**10, concurrency=10**6)
    caps = Caps(month=10**6 * DOLLAR, ever=10**6 * DOLLAR)
    digest = sha256(secret.encode()).digest()
    name = f"key-{number}"
    return Key(number, name, account, digest, secret[:14], STARTED, limits=limits, caps=caps)


def _entry(number: int, started: float) -> Entry:
    usage = Usage(in_uncached=300, cache_read=150, out_total=420, reasoning=100, total_reported=870)
    return Entry(
        f"req_{number:032x}",
        started,
        operation="generate",
        model_asked="model-1-small",
        model_used="model-1-small",
        upstream="provider",
        upstream_key="1",
        format_in="chat",
        format_out="chat",
        status=200,
        outcome="ok",
        upstream_request_id="req_0123456789abcdef",
        usage=usage,
        usage_source="reported",
        bytes_in=BODY,
        bytes_out=4000,
        first_byte=0.4,
        duration=2.5,
        attempts=1,
    )


def _opening(grant: Grant, entry: Entry) -> Opening:
    return Opening(
        entry.request_id,
        entry.started_at,
        grant.day,
        grant.caller.key.id,
        grant.caller.account.id,
        entry.operation,
        entry.model_asked,
        entry.stream,
        entry.format_in,
        grant.ask.tokens_in,
        grant.opening_cost,
    )


def measure(bank: Bank, batches: int) -> list[Cost]:
    """The whole, then its parts, in microseconds a request."""
    times: dict[str, list[float]] = {}

    def timed(what: str, batch: Callable[[], None]) -> None:
        started = time.process_time()
        batch()
        times.setdefault(what, []).append((time.process_time() - started) * MICRO / BATCH)

    tame_collector()  # as in the daemon
    with asyncio.Runner() as runner:

        def stored() -> None:
            runner.run(bank.stored())

        for _ in range(batches):
            bank.prepare()
            timed("together", bank.whole)
            timed("the store has them", stored)
            bank.tidy()
        whole = [sum(pair) for pair in zip(*times.values(), strict=True)]
        times = {"admission, journal, settlement together": whole}
        for _ in range(batches):
            bank.prepare()
            timed("  admit (key, price, estimate, limits, money)", bank.admit)
            timed("  opening line", bank.open)
            timed("  settle (price, limits, money, estimate)", bank.settle)
            timed("  closing line and row", bank.close)
            timed("  the store has the row", stored)
            bank.tidy()
    return [Cost(what, statistics.median(each), min(each)) for what, each in times.items()]


def show(costs: Sequence[Cost], console: Console) -> None:
    """Print the table, and whether the goal is met."""
    table = Table("per request", "median us", "best us", box=None, pad_edge=False)
    for cost in costs:
        table.add_row(cost.what, f"{cost.median:.1f}", f"{cost.best:.1f}")
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    met = "met" if costs[0].median <= GOAL else "MISSED"
    console.print(f"\ngoal: at most {GOAL:g} us: {met}", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.cost", description="the ledger's cost")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, rough figures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relayd-cost-") as folder:
        bank = Bank(Path(folder))
        costs = measure(bank, SHORT if options.quick else LONG)
        bank.journal.close(sync=False)
    show(costs, Console())
    return 0 if costs[0].median <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
