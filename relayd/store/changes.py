"""The audit table: one line for every change of an account, a key, a credit or a token.

A line is written in the transaction of its change, so there is never one without the other. It says
what was changed, from what to what, never a secret nor what a secret could be tested with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite
import orjson

from relayd.accounts import Change
from relayd.store.database import Database
from relayd.store.questions import EVERY_CHANGE, ChangeFilter
from relayd.store.where import Where

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what, and when."""

    actor: str
    action: str
    now: float


async def note(
    db: aiosqlite.Connection, act: Act, subject: str, before: Facts, after: Facts
) -> None:
    """Write the line of an act, with only those facts that differ."""
    old = {name: value for name, value in before.items() if after.get(name, _NONE) != value}
    new = {name: value for name, value in after.items() if before.get(name, _NONE) != value}
    await db.execute(
        "INSERT INTO audit (at, actor, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?)",
        (act.now, act.actor, act.action, subject, _text(old), _text(new)),
    )


class ChangeTable(Database):
    """The audit table, for reading: every other table writes to it."""

    async def audit(
        self,
        limit: int = 50,
        before: int | None = None,
        filters: ChangeFilter = EVERY_CHANGE,
    ) -> list[Change]:
        where = Where()
        where.add("id < ?", before)
        where.add("actor = ?", filters.actor)
        where.add("instr(action, ?) = 1", filters.action)
        whole_words = "instr(' ' || subject || ' ', ' ' || ? || ' ')"
        where.add(whole_words, filters.subject)
        where.add("at >= ?", filters.since)
        where.add("at < ?", filters.until)
        query = f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?"
        return [_change(row) for row in await self._search(query, *where.values, max(limit, 0))]


_COLUMNS = "id, at, actor, action, subject, before, after"
_NONE = object()


def _change(row: Sequence[Any]) -> Change:
    return Change(*row)


def _text(facts: Facts) -> str:
    return orjson.dumps(facts).decode()
