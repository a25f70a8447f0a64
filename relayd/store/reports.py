"""How a usage report is asked for: from which sums, grouped by what, shown how.

A report to the second sums rows. A longer one is counted in whole days, from the smallest sums that
know its groups: those of all keys together, those of every key alone, or those of both, where whole
months save most of the days. All of them look alike (`rollup`), so the query around them is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relayd.store.days import month_of
from relayd.store.questions import DIMENSIONS, UsageRow
from relayd.store.rollup import (
    COUNTS,
    DAILY,
    DAILY_ALL,
    DAILY_KEYS,
    MEASURES,
    MONEY,
    MONTHLY,
    SUMS,
    TOKENS,
    UNITS,
    Table,
    rows_as_sums,
    whole,
)
from relayd.store.where import Where

# dimension -> the column that is grouped by. A request without a key is in group "".
_COLUMN = {
    "model": "model",
    "key": "key_id",
    "account": "account_id",
    "upstream": "upstream",
    "format": "format_in",
    "outcome": "outcome",
    "day": "day",
    "status": "status",
}
# How a group is shown, where that is not the column itself; asked once per line of the report.
_SHOWN = {
    "key": "coalesce((SELECT name FROM keys WHERE id = g.key_id), '')",
    "account": "coalesce((SELECT name FROM accounts WHERE id = g.account_id), '')",
    "day": "printf('%04d-%02d-%02d', g.day / 10000, g.day / 100 % 100, g.day % 100)",
    "status": "CAST(g.status AS TEXT)",
}


@dataclass(frozen=True, slots=True)
class Query:
    """SQL and its parameters."""

    text: str
    parameters: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is about.

    Arguments:
        by: DIMENSIONS to group by.
        fits: column of the sums and the value that it must have.
        maybe_limit: at most so many lines, the first ones; None is all.
    """

    by: tuple[str, ...]
    fits: tuple[tuple[str, object], ...] = ()
    maybe_limit: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What is grouped by. Raises ValueError for an unknown dimension."""
        unknown = [name for name in self.by if name not in _COLUMN]
        if unknown:
            raise ValueError(f"cannot group by {unknown[0]!r}; there are {', '.join(DIMENSIONS)}")
        return tuple(_COLUMN[name] for name in self.by)

    def known_to(self, table: Table) -> bool:
        """Whether these sums can tell it."""
        return {*self.columns, *dict(self.fits)} <= {*table.key}


def exact(wanted: Wanted, since: float, until: float | None) -> Query:
    """The report over the rows started in [since, until)."""
    where = Where()
    where.add("started_at >= ?", since)
    where.add("started_at < ?", until)
    return _report(wanted, [Query(rows_as_sums(str(where)), tuple(where.values))])


def in_days(wanted: Wanted, first: int, last: int) -> Query:
    """The report over whole days, both included."""
    short = "day" in wanted.by or month_of(first) == month_of(last)
    for table in (DAILY_ALL, DAILY_KEYS, *((DAILY,) if short else ())):
        if wanted.known_to(table):
            return _report(wanted, [_between(wanted, table, first, last)])
    # The month of the last day counts whole only if nothing came after that day, which nobody
    # here knows: it is taken day by day, like that of the first one.
    months = _between(wanted, MONTHLY, month_of(first) + 1, month_of(last) - 1)
    head = _between(wanted, DAILY, first, month_of(first) * 100 + 99)
    tail = _between(wanted, DAILY, month_of(last) * 100, last)
    return _report(wanted, [head, months, tail])


def _between(wanted: Wanted, table: Table, first: int, last: int) -> Query:
    time = table.key[0]
    needed = dict.fromkeys((*wanted.columns, *dict(wanted.fits), *MEASURES))
    return Query(
        f"SELECT {', '.join(needed)} FROM {table.name} WHERE {time} BETWEEN ? AND ?",
        (first, last),
    )


def _report(wanted: Wanted, sources: Sequence[Query]) -> Query:
    columns, fits = wanted.columns, wanted.fits
    union = " UNION ALL ".join(source.text for source in sources)
    where = f" WHERE {' AND '.join(f'{name} IS ?' for name, _ in fits)}" if fits else ""
    grouping = f" GROUP BY {', '.join(columns)}" if columns else ""
    grouped = (
        f"SELECT {''.join(f'{n}, ' for n in columns)}{_MEASURES} FROM ({union}){where}{grouping}"
    )
    shown = "".join(f"{_SHOWN.get(name, f'g.{_COLUMN[name]}')}, " for name in wanted.by)
    places = ", ".join(str(place) for place in range(1, len(columns) + 1))
    day_first = "g.day, " if "day" in wanted.by else ""
    order = f" ORDER BY {day_first}g.requests DESC, {places}" if columns else ""
    parameters = (*(p for source in sources for p in source.parameters), *(v for _, v in fits))
    limit = -1 if wanted.maybe_limit is None else wanted.maybe_limit
    text = f"SELECT {shown}{_SHOWN_MEASURES} FROM ({grouped}) g{order} LIMIT ?"
    return Query(text, (*parameters, limit))


# Exact: what is summed is bounded, or in two columns (`rollup`). NULL when no count is known.
_MEASURES = ", ".join(
    (
        *(f"sum({name}) AS {name}" for name in COUNTS),
        *(f"coalesce(sum({name}), 0) AS {name}" for name in SUMS),
    )
)
_SHOWN_MEASURES = ", ".join(
    (
        *("requests", "failed", "estimated", *TOKENS, "bytes_in", "bytes_out"),
        "first_byte_us / 1e6 / nullif(first_bytes, 0)",
        "duration_us / 1e6 / nullif(requests, 0)",
        *(*MONEY, *UNITS),
    )
)


def usage_row(row: Sequence[Any], dimensions: int) -> UsageRow:
    """One line of the report from one row of its query."""
    *found, cost_micro, cost_rest, uncharged_micro, uncharged_rest = row[dimensions : -len(UNITS)]
    money = whole(cost_micro, cost_rest), whole(uncharged_micro, uncharged_rest)
    cells: list[Any] = [tuple(row[:dimensions]), *found, *money, *row[-len(UNITS) :]]
    return UsageRow(*cells)
