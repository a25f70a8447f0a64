"""Usage in the admin API: the report over many requests, and the rows of single ones.

Both are bounded, in lines and in time: the loop that makes them carries every stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from relayd.model import Entry
from relayd.money import shown
from relayd.store.questions import UsageFilter, UsageRow
from relayd.web.admin_desk import Ask, Desk, Document, limit_of, page

T = TypeVar("T")

LINES = 1000  # of a report
DAY = 86_400.0
FILTERS = tuple(field.name for field in fields(UsageFilter))
MONEY = ("cost", "uncharged")
ENTRY = tuple(field.name for field in fields(Entry))
SUMS = tuple(field.name for field in fields(UsageRow))
AT_ONCE = 100  # lines that are made before others of the loop have their turn


async def reported(desk: Desk, ask: Ask) -> Document:
    """Sums by the dimensions asked for; of the last 24 hours if nothing else is said."""
    bureau, query = desk.bureau, ask.query
    since, until = query.get("since"), query.get("until")
    if since is None:
        since = max(0.0, (bureau.wall() if until is None else until) - DAY)
    by = tuple(query.get("by", ()))
    limit = query.get("limit", LINES)
    report = bureau.store.usage(since, until, by, _filters(query), limit=limit + 1)
    rows = await bureau.soon(report)
    return {
        "since": since,
        "until": until,
        "days": await bureau.store.usage_days(since, until),
        "by": by,
        "data": await in_turns(rows[:limit], lambda row: _row_json(row, by)),
        "cut": len(rows) > limit,
    }


async def rows(desk: Desk, ask: Ask) -> Document:
    """A page of single requests, newest first."""
    query, limit = ask.query, limit_of(ask)
    bureau = desk.bureau
    search = bureau.store.rows(
        _filters(query),
        limit + 1,
        query.get("after"),
        since=query.get("since", 0.0),
        until=query.get("until"),
    )
    return page(await in_turns(await bureau.soon(search), as_json), limit, "request_id")


def as_json(entry: Entry) -> Document:
    """Its fields; of the usage those that are known."""
    document = {name: getattr(entry, name) for name in ENTRY}
    usage = asdict(entry.usage)
    document["usage"] = {name: n for name, n in usage.items() if n is not None and n != {}}
    return {**document, **{name: shown(document[name]) for name in MONEY}}


async def in_turns(rows: Sequence[T], shown_as: Callable[[T], Document]) -> list[Document]:
    """All of them as documents. Streams in flight do not stand still meanwhile."""
    made: list[Document] = []
    for first in range(0, len(rows), AT_ONCE):
        made += map(shown_as, rows[first : first + AT_ONCE])
        await asyncio.sleep(0)
    return made


def _filters(query: dict[str, Any]) -> UsageFilter:
    return UsageFilter(**{name: query.get(name) for name in FILTERS})


def _row_json(row: UsageRow, by: tuple[str, ...]) -> Document:
    document = {name: getattr(row, name) for name in SUMS}
    group = dict(zip(by, row.group, strict=True))
    return {**document, "group": group, **{name: shown(document[name]) for name in MONEY}}
