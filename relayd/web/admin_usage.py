"""Usage in the admin API: the report over many requests, and the rows of single ones."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from relayd.model import Entry
from relayd.money import shown
from relayd.store.base import UsageFilter, UsageRow
from relayd.web.admin_desk import Ask, Desk, Document, page

LIMIT = 50
DAY = 86_400.0
FILTERS = tuple(field.name for field in fields(UsageFilter))
MONEY = ("cost", "uncharged")


async def reported(desk: Desk, ask: Ask) -> Document:
    """Sums by the dimensions asked for; of the last 24 hours if nothing else is said."""
    bureau, query = desk.bureau, ask.query
    since, until = query.get("since"), query.get("until")
    if since is None:
        since = max(0.0, (bureau.wall() if until is None else until) - DAY)
    by = tuple(query.get("by", ()))
    rows = await bureau.store.usage(since, until, by, _filters(query))
    return {
        "since": since,
        "until": until,
        "days": await bureau.store.usage_days(since, until),
        "by": by,
        "data": [_row_json(row, by) for row in rows],
    }


async def rows(desk: Desk, ask: Ask) -> Document:
    """A page of single requests, newest first."""
    query, limit = ask.query, ask.query.get("limit", LIMIT)
    entries = await desk.bureau.store.rows(
        _filters(query),
        limit + 1,
        query.get("after"),
        since=query.get("since", 0.0),
        until=query.get("until"),
    )
    return page([as_json(entry) for entry in entries], limit, "request_id")


def as_json(entry: Entry) -> Document:
    """Its fields; of the usage those that are known."""
    document = asdict(entry)
    usage = document["usage"]
    document["usage"] = {name: n for name, n in usage.items() if n is not None and n != {}}
    return {**document, **{name: shown(document[name]) for name in MONEY}}


def _filters(query: dict[str, Any]) -> UsageFilter:
    return UsageFilter(**{name: query.get(name) for name in FILTERS})


def _row_json(row: UsageRow, by: tuple[str, ...]) -> Document:
    document = asdict(row)
    group = dict(zip(by, row.group, strict=True))
    return {**document, "group": group, **{name: shown(document[name]) for name in MONEY}}
