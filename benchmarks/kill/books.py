"""What must be true after every death, and what is found that is not.

The rows are read with plain SQLite, the journal's lines are taken apart by hand: what is checked is
not asked how it is. Nothing here changes anything.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import orjson

from benchmarks.kill.load import Told
from benchmarks.kill.site import GRANTED, PER_INPUT, PER_OUTPUT, Site


class Row(NamedTuple):
    """What the usage table says of a request."""

    outcome: str
    source: str
    cost: int
    tokens_in: int
    tokens_out: int

    @property
    def price(self) -> int:
        """What its tokens cost, reckoned here."""
        return self.tokens_in * PER_INPUT + self.tokens_out * PER_OUTPUT


QUERY = (
    "SELECT request_id, outcome, usage_source, cost,"
    " coalesce(in_uncached, 0) + coalesce(cache_read, 0), coalesce(out_total, 0) FROM usage"
)


def rows_of(database: Path) -> dict[str, list[Row]]:
    """All rows, by request id."""
    found: dict[str, list[Row]] = {}
    db = sqlite3.connect(database, timeout=20)
    try:
        for request_id, *cells in db.execute(QUERY):
            found.setdefault(request_id, []).append(Row(*cells))
    finally:
        db.close()
    return found


def journal_ids(folder: Path) -> set[str]:
    """The requests that the journal's whole lines speak of, openings and closings."""
    found = set()
    for path in folder.glob("*.log"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            checksum, _, text = line.partition(b" ")
            if checksum == b"%08x" % zlib.crc32(text):
                found.add(orjson.loads(text)[1][0])
    return found


def last_written(folder: Path) -> Path | None:
    """The file that got the journal's last line."""
    written = [path for path in folder.glob("*.log") if path.read_bytes()[:1] != b"\0"]
    return max(written, default=None)


def faults(site: Site, told: Iterable[Told], noted: set[str]) -> list[str]:
    """What is wrong, one line each.

    Arguments:
        told: what the clients know.
        noted: the requests that a journal spoke of when the relay was dead.
    """
    rows = rows_of(site.database)
    found = [f"{name} has {len(of)} rows" for name, of in rows.items() if len(of) != 1]
    found += [f"{name} was in the journal and has no row" for name in noted if name not in rows]
    for one in told:
        found += _faults_of(one, rows)
    return found


def faults_of_sums(site: Site) -> list[str]:
    """What is wrong with the balance, and what `ledger verify` finds: the command line's view."""
    rows, found = rows_of(site.database), []
    spent = sum(row.cost for of in rows.values() for row in of)
    if GRANTED - spent != site.balance():
        found.append(f"rows cost {spent}, but the balance fell by {GRANTED - site.balance()}")
    if not spent:
        found.append("nothing was billed at all: what was tested?")
    verified = site.command("ledger", "verify")
    if verified.returncode:
        found.append(f"ledger verify: {verified.stdout} {verified.stderr}")
    return found


def _faults_of(told: Told, rows: dict[str, list[Row]]) -> list[str]:
    name = told.request_id
    if not name:
        return []
    if name not in rows:
        # One that was refused for want of a journal was never let in: it need not have a row.
        return [] if told.status == 503 else [f"{name} was answered {told.status}: no row"]
    row = rows[name][0]
    if not told.complete or told.status != 200:
        return []
    found = []
    if row.outcome != "ok" or row.source != "reported":
        found.append(f"{name} was answered whole, its row says {row}")
    if row.cost != row.price:
        found.append(f"{name} cost {row.cost}, its tokens cost {row.price}")
    if told.tokens not in (None, (row.tokens_in, row.tokens_out)):
        found.append(f"{name} reported {told.tokens} tokens, its row says {row}")
    return found
