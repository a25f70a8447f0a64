"""Responses that upstreams keep for clients, by whom: written with the rows that tell of them.

A row of the log carries what its request did to such a response (`Entry.holding`). Both are stored
in one transaction, so that what is owed for a response and what was paid for it never disagree,
and both come back from the journal after a crash. Of several words about one response in a batch
the last counts; a batch costs two statements, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiosqlite
import orjson

from relayd.model import Entry, Holding
from relayd.store.database import Database

_COLUMNS = (
    "digest, account_id, upstream, upstream_key, site, model, name, at, owed, response_id,"
    " key_id, reserved, paid, least"
)
_CELLS = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(14))
_KEEP = (
    f"INSERT INTO holdings ({_COLUMNS}) SELECT {_CELLS} FROM json_each(?) WHERE true"
    " ON CONFLICT (digest) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
)
_LARGEST = 2**63 - 1
_DROP = "DELETE FROM holdings WHERE digest IN (SELECT value FROM json_each(?))"
_NEWEST = f"SELECT {_COLUMNS} FROM holdings WHERE at > ? ORDER BY at DESC LIMIT ?"
_OVER = "DELETE FROM holdings WHERE at <= ?"
_TOO_MANY = (
    "DELETE FROM holdings WHERE at < (SELECT at FROM holdings ORDER BY at DESC LIMIT 1 OFFSET ?)"
)


class HoldingTable(Database):
    """Who holds which response."""

    async def holdings(self, since: float, limit: int) -> list[Holding]:
        rows = await self._read(_NEWEST, since, limit)
        return [_holding(*row) for row in reversed(rows)]

    async def prune_holdings(self, before: float, most: int) -> int:
        async with self._transaction() as db:
            over = (await db.execute(_OVER, (before,))).rowcount
            return over + (await db.execute(_TOO_MANY, (max(most - 1, 0),))).rowcount


async def note(db: aiosqlite.Connection, entries: Sequence[Entry]) -> None:
    """Store what these rows tell of responses, in the transaction that stores the rows."""
    last = {entry.holding.digest: entry.holding for entry in entries if entry.holding is not None}
    if not last:
        return
    there = [_cells(holding) for holding in last.values() if holding.state != "gone"]
    gone = [holding.digest for holding in last.values() if holding.state == "gone"]
    for statement, values in ((_KEEP, there), (_DROP, gone)):
        if values:
            await db.execute(statement, (orjson.dumps(values).decode(),))


def _cells(holding: Holding) -> list[object]:
    cells: list[object] = list(holding)
    cells[8] = holding.state == "owed"
    return [_storable(cell) for cell in cells]


def _storable(cell: object) -> object:
    """Without lone surrogates and absurd amounts, which neither JSON nor the database takes: no
    row may keep those behind it out of the log."""
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode()
    return min(cell, _LARGEST) if isinstance(cell, int) else cell


def _holding(*cells: Any) -> Holding:
    return Holding._make((*cells[:8], "owed" if cells[8] else "settled", *cells[9:]))
