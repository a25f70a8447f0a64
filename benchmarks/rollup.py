"""How long reports over a year take: `make rollup`.

A database is made whose sums stand for 50 million requests of 365 days: 20 accounts with 10 keys
each, every key using 20 models every day, which is more groups than most have. The rows themselves
would fill 20 GB and play no part: reports over more than two days read the sums alone. Then every
kind of report is asked for, as `relayd usage --since 365d --by ...` asks it, and timed; the goal is
one second for each.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relayd.store.questions import UsageFilter
from relayd.store.rollup import COUNTS, DAILY, SUMS, TABLES
from relayd.store.sqlite import SqliteStore

ACCOUNTS, KEYS, MODELS, DAYS = 20, 200, 20, 365
REQUESTS = 50_000_000
END = datetime(2026, 11, 21, tzinfo=UTC)
GOAL = 1.0  # seconds

ALL = UsageFilter()
REPORTS: tuple[tuple[tuple[str, ...], UsageFilter], ...] = (
    ((), ALL),
    (("model",), ALL),
    (("key",), ALL),
    (("account",), ALL),
    (("upstream",), ALL),
    (("outcome", "status"), ALL),
    (("day",), ALL),
    (("day", "model"), ALL),
    (("account", "model"), ALL),
    (("key", "model"), ALL),
    (("day",), UsageFilter(account="account-7")),
    (("day", "model"), UsageFilter(key="key-77")),
    (("day", "account"), ALL),
    (("day", "key"), ALL),
)


def sums(day: int, day_number: int) -> Iterator[tuple[object, ...]]:
    """The daily sums of one day, in the order of the primary key."""
    each, rest = divmod(REQUESTS // DAYS, KEYS * MODELS)
    for key in range(KEYS):
        for model in range(MODELS):
            number = (key * MODELS + model + day_number) % (KEYS * MODELS)
            requests = each + (number < rest)
            failed = number % 50 == 0  # one of this group's requests
            for outcome, status, count in (
                ("ok", 200, requests - failed),
                ("upstream_error", 502, failed),
            ):
                if count:
                    groups = (key * ACCOUNTS // KEYS + 1, key + 1, f"vendor/model-{model}")
                    where = (f"upstream-{model % 6}", "chat", outcome, status)
                    yield day, *groups, *where, *measures(count, model, outcome == "ok")


def measures(requests: int, model: int, served: bool) -> tuple[object, ...]:
    """What so many requests add, in the order of COUNTS and SUMS; some models report less."""
    tokens = {
        "in_uncached": 1500 * requests,
        "cache_read": 4000 * requests if model % 3 else None,
        "cache_write": 300 * requests if model % 3 else None,
        "out_total": 400 * requests,
        "reasoning": 150 * requests if model % 2 else None,
    }
    others = {
        "requests": requests,
        "failed": 0 if served else requests,
        "bytes_in": 9000 * requests,
        "bytes_out": 30_000 * requests,
        "first_byte_us": 800_000 * requests,
        "first_bytes": requests,
        "duration_us": 9_000_000 * requests,
        "cost_micro": 7654 * requests if served else 0,
        "cost_rest": 321_000 * requests if served else 0,
    }
    counted = tokens if served else {}
    return (*(counted.get(name) for name in COUNTS), *(others.get(name, 0) for name in SUMS))


async def prepare(path: Path) -> int:
    """Make the database and return how many requests its sums stand for."""
    await (await SqliteStore.open(path)).close()
    await asyncio.to_thread(fill, path)
    store = await SqliteStore.open(path)
    (total,) = await store.usage(0.0, None, ())
    await store.close()
    return total.requests


def fill(path: Path) -> None:
    """Write names and sums; the other sums are made of the daily ones as `ledger verify` does."""
    db = sqlite3.connect(path)
    names = [(f"account-{number + 1}",) for number in range(ACCOUNTS)]
    db.executemany("INSERT INTO accounts (name) VALUES (?)", names)
    db.executemany(
        "INSERT INTO keys (name, account_id, digest, prefix, created_at) VALUES (?, ?, ?, '', 0)",
        [(f"key-{n + 1}", n * ACCOUNTS // KEYS + 1, n.to_bytes(32, "big")) for n in range(KEYS)],
    )
    marks = ", ".join("?" * len((*DAILY.key, *DAILY.values)))
    into = f"{DAILY.name} ({DAILY.columns}) VALUES ({marks})"
    for number in range(DAYS):
        date = END - timedelta(days=DAYS - 1 - number)
        day = int(date.strftime("%Y%m%d"))
        db.executemany(f"INSERT INTO {into}", sums(day, number))
    for table in TABLES[1:]:
        db.execute(f"INSERT INTO {table.name} ({table.columns}) {table.made_of(DAILY.name)}")
    # There are no rows: the sums stand alone, as after a pruning.
    db.execute("UPDATE usage_pruned SET before_day = 99991231")
    db.commit()
    db.close()


async def timed(store: SqliteStore, by: tuple[str, ...], only: UsageFilter) -> tuple[float, int]:
    """Seconds of the better of two, and the lines of the report."""
    best, lines = float("inf"), 0
    for _ in range(2):
        started = time.perf_counter()
        lines = len(await store.usage((END - timedelta(days=DAYS - 1)).timestamp(), None, by, only))
        best = min(best, time.perf_counter() - started)
    return best, lines


async def measure(path: Path) -> bool:
    """Print a line for each report; true when all that have a goal meet it."""
    requests = await prepare(path)
    print(f"sums of {requests:,} requests, {DAYS} days, {KEYS} keys, {MODELS} models")
    store = await SqliteStore.open(path)
    met = True
    for by, only in REPORTS:
        seconds, lines = await timed(store, by, only)
        met = met and seconds < GOAL
        only_text = f" (of {only.key or only.account})" if only != ALL else ""
        name = ", ".join(by) or "total"
        print(f"  {name + only_text:<28} {seconds * 1000:7.0f} ms  {lines:6} lines")
    await store.close()
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a report takes longer than the goal."""
    parser = argparse.ArgumentParser(prog="make rollup", description="Time reports over a year.")
    parser.add_argument("--keep", metavar="PATH", type=Path, help="leave the database there")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relayd-rollup-") as folder:
        path = asked.keep or Path(folder) / "relayd.db"
        met = asyncio.run(measure(path))
    print(f"goal: each below {GOAL:.0f} s: {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
