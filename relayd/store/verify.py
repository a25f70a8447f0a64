"""`ledger verify`: every sum is computed anew from what it is the sum of, and compared.

From the bottom up: rows to daily sums, daily sums to all the others, credits to what they must be.
Rows of pruned days are gone, so for those days the daily sums are the ground. One statement does
one comparison, and EXCEPT does the comparing: it takes two unknowns for equal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite

from relayd.money import MOST
from relayd.store.database import fetch
from relayd.store.rollup import DAILY, TABLES, Table, rows_as_sums

MOST_LINES = 100  # of differences of one kind: more say nothing new


# Days that still have their rows.
_KEPT = "day >= (SELECT before_day FROM usage_pruned)"

# What must find nothing, and what it means when it does; the first column says which.
RULES = (
    (
        "credit {} belongs to account {}, which there is not",
        "SELECT id, account_id FROM credits WHERE account_id NOT IN (SELECT id FROM accounts)",
    ),
    (
        "the credits of account {} come to {}, beyond what an account can have",
        f"SELECT account_id, total(amount) FROM credits GROUP BY account_id"
        f" HAVING abs(total(amount)) > {MOST}",
    ),
    (
        "{} credits are missing: the latest has number {}",
        "SELECT max(id) - count(*), max(id) FROM credits HAVING max(id) > count(*)",
    ),
    (
        "{} lines of the audit are missing: the latest has number {}",
        "SELECT max(id) - count(*), max(id) FROM audit HAVING max(id) > count(*)",
    ),
    (
        "request {} cost {}, less than nothing",
        "SELECT request_id, cost FROM usage WHERE cost < 0",
    ),
)


async def differences(db: aiosqlite.Connection) -> list[str]:
    """One sentence for each thing that is not as it must be; nothing is changed."""
    found = await _compare(db, DAILY, f"({rows_as_sums(_KEPT)})", _KEPT)
    for table in TABLES[1:]:
        found += await _compare(db, table, DAILY.name)
    for sentence, query in RULES:
        rows = await fetch(db, f"{query} LIMIT {MOST_LINES + 1}")
        found += [sentence.format(*row) for row in rows[:MOST_LINES]]
        if len(rows) > MOST_LINES:
            found.append(f"and more like the last {MOST_LINES}")
    return found


async def _compare(
    db: aiosqlite.Connection, table: Table, source: str, where: str = "true"
) -> list[str]:
    """What is wrong with those lines of the table that fit, being made of `source`."""
    key, width = ", ".join(table.key), len(table.key)
    kept = f"SELECT {table.columns} FROM {table.name} WHERE {where}"
    query = (  # names of ours
        f"WITH expected ({table.columns}) AS MATERIALIZED ({table.made_of(source)})"
        f" SELECT 0 AS side, * FROM (SELECT * FROM expected EXCEPT {kept})"
        f" UNION ALL SELECT 1, * FROM ({kept} EXCEPT SELECT * FROM expected)"
        # A key has two lines at most: the first so many keys have all of theirs.
        f" ORDER BY {key}, side LIMIT {2 * MOST_LINES + 1}"
    )
    try:
        rows = await fetch(db, query)
    except sqlite3.OperationalError as error:
        if "overflow" not in str(error):
            raise
        return [f"{table.name} cannot be right: what it sums does not fit into 64 bits"]
    sides: dict[Any, dict[int, Sequence[Any]]] = {}
    for side, *row in rows:
        sides.setdefault(tuple(row[:width]), {})[side] = row[width:]
    found = [_sentence(table, named, sides[named]) for named in list(sides)[:MOST_LINES]]
    if len(sides) > MOST_LINES:
        found.append(f"{table.name} has more differences than these {MOST_LINES}")
    return found


def _sentence(table: Table, key: Sequence[Any], sides: dict[int, Sequence[Any]]) -> str:
    named = ", ".join(f"{n} {v!r}" for n, v in zip(table.key, key, strict=True))
    if 1 not in sides:
        return f"{table.name} lacks {named}"
    if 0 not in sides:
        return f"{table.name} has {named}, which nothing stands for"
    pairs = zip(table.values, sides[1], sides[0], strict=True)
    wrong = ", ".join(f"{n} is {was}, not {must}" for n, was, must in pairs if was != must)
    return f"{table.name} at {named}: {wrong}"
