"""The usage table as SQL and back: which column is which field, and how a report is asked for.

Writing is the hot part (10,000 rows a second are a goal), and three measured facts shape it:
- Python's sqlite3 gives up the interpreter lock for every statement it steps. Beside a busy event
  loop each step then waits up to 5 ms to get it back: `executemany` falls to 600 rows a second. So
  rows go in by statements of many rows, in few sizes, so that the statements stay compiled.
- Binding None costs ten times as much as binding an int (it goes through the adapter protocol), so
  unknown is bound as -1 and made NULL in SQL. Counts are never negative; ids and seconds neither.
- A row offered twice is harmless: the request id decides (`ON CONFLICT DO NOTHING`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson

from relayd.model import Entry, Usage
from relayd.store.base import DIMENSIONS, SERVED, UsageRow

Cell = str | int | float
CellsOf = Callable[[Entry], list[Cell]]

_PLAIN = (
    "request_id", "started_at", "operation", "model_asked", "model_used", "upstream",
    "upstream_key", "attempts", "format_in", "format_out", "status", "outcome", "error_code",
    "upstream_request_id", "usage_source",
    "bytes_in", "bytes_out", "duration",
)  # fmt: skip
_MAYBE = ("first_byte", "key_id", "account_id")  # None when it does not apply
_COUNTS = tuple(f.name for f in fields(Usage) if f.name != "server_tools")
COLUMNS = (*_PLAIN, "stream", *_MAYBE, *_COUNTS, "server_tools")

_plain = attrgetter(*_PLAIN)
_counts = attrgetter(*_COUNTS)
_LARGEST = 2**63 - 1

# Powers of four: a batch of any size takes at most three statements of each.
STATEMENT_SIZES = (256, 64, 16, 4, 1)


def _insert(rows: int) -> str:
    marks = ["?"] * (len(_PLAIN) + 1)
    marks += ["nullif(?,-1)"] * (len(_MAYBE) + len(_COUNTS))
    row = f"({','.join(marks)},nullif(?,''))"
    return (
        f"INSERT INTO usage ({','.join(COLUMNS)}) VALUES {','.join([row] * rows)}"  # noqa: S608
        " ON CONFLICT(request_id) DO NOTHING"
    )


_INSERTS = {size: _insert(size) for size in STATEMENT_SIZES}


def inserts(entries: Sequence[Entry], row_of: CellsOf) -> Iterator[tuple[str, list[Cell]]]:
    """The statements that write these rows, each with its parameters, made one at a time.

    The caller awaits between them, so the loop is never held for more than 256 rows' worth.
    """
    done = 0
    for size in STATEMENT_SIZES:
        while len(entries) - done >= size:
            cells: list[Cell] = []
            for entry in entries[done : done + size]:
                cells += row_of(entry)
            yield _INSERTS[size], cells
            done += size


def cells_of(entry: Entry) -> list[Cell]:
    """One row in the order of COLUMNS."""
    usage, first_byte = entry.usage, entry.first_byte
    key_id, account_id = entry.key_id, entry.account_id
    return [
        *_plain(entry),
        1 if entry.stream else 0,
        -1 if first_byte is None else first_byte,
        -1 if key_id is None else key_id,
        -1 if account_id is None else account_id,
        *[-1 if n is None else n for n in _counts(usage)],
        orjson.dumps(usage.server_tools).decode() if usage.server_tools else "",
    ]


def storable_cells_of(entry: Entry) -> list[Cell]:
    """The same, with what SQLite cannot take made harmless.

    A provider may report 10**30 tokens, a client may name half a surrogate pair: one such row must
    not keep the rows behind it out of the log for ever. A number beyond 64 bits is as good as
    unknown.
    """
    return [_storable(cell) for cell in cells_of(entry)]


def _storable(cell: Cell) -> Cell:
    if isinstance(cell, float):
        return cell
    if isinstance(cell, int):
        return int(cell) if abs(cell) <= _LARGEST else -1
    return str(cell).encode("utf-8", "replace").decode("utf-8")


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry that a row (in the order of COLUMNS) was made from."""
    cells = dict(zip(COLUMNS, row, strict=True))
    tools = cells.pop("server_tools")
    usage = Usage(
        **{name: cells.pop(name) for name in _COUNTS},
        server_tools=orjson.loads(tools) if tools else {},
    )
    cells["stream"] = bool(cells["stream"])
    return Entry(usage=usage, **cells)


RECENT = (
    f"SELECT {','.join(COLUMNS)} FROM usage"  # noqa: S608
    " WHERE started_at >= ? ORDER BY started_at DESC, request_id DESC LIMIT ?"
)

# dimension -> (what is grouped by, what is shown). A request without a key is in group "".
_GROUPS = {
    "model": "u.model_asked",
    "key": "coalesce((SELECT name FROM keys WHERE id = u.key_id), '')",
    "account": "coalesce((SELECT name FROM accounts WHERE id = u.account_id), '')",
    "upstream": "u.upstream",
    "format": "u.format_in",
    "outcome": "u.outcome",
    "day": "date(u.started_at, 'unixepoch')",
    "status": "CAST(u.status AS TEXT)",
}


def _sum(expression: str) -> str:
    # sum() raises on overflow, total() is a float that cannot; NULL when nothing is known.
    return f"CASE WHEN count({expression}) THEN CAST(total({expression}) AS INTEGER) END"


_WRITES = tuple(name for name in _COUNTS if name.startswith("cache_write"))
_WRITTEN = (
    f"CASE WHEN coalesce({','.join(_WRITES)}) IS NOT NULL"
    f" THEN {'+'.join(f'coalesce({name},0)' for name in _WRITES)} END"
)
_MEASURES = ", ".join(
    (
        "count(*)",
        f"coalesce(sum(u.outcome <> '{SERVED}'), 0)",
        "coalesce(sum(u.usage_source IN ('estimated', 'partial')), 0)",
        _sum("u.in_uncached"),
        _sum("u.cache_read"),
        _sum(_WRITTEN),
        _sum("u.tool_prompt"),
        _sum("u.out_total"),
        _sum("u.reasoning"),
        "CAST(total(u.bytes_in) AS INTEGER)",
        "CAST(total(u.bytes_out) AS INTEGER)",
        "avg(u.first_byte)",
        "avg(u.duration)",
    )
)


def report(since: float, until: float | None, by: tuple[str, ...]) -> tuple[str, list[float]]:
    """The query of a usage report and its parameters. Raises ValueError for an unknown one."""
    unknown = [name for name in by if name not in _GROUPS]
    if unknown:
        raise ValueError(f"cannot group by {unknown[0]!r}; there are {', '.join(DIMENSIONS)}")
    where, limits = "u.started_at >= ?", [since]
    if until is not None:
        where, limits = where + " AND u.started_at < ?", [since, until]
    select = "".join(f"{_GROUPS[name]}, " for name in by)
    places = ", ".join(str(place) for place in range(1, len(by) + 1))
    time_first = f"{by.index('day') + 1}, " if "day" in by else ""
    grouping = f" GROUP BY {places} ORDER BY {time_first}count(*) DESC, {places}" if by else ""
    return f"SELECT {select}{_MEASURES} FROM usage u WHERE {where}{grouping}", limits  # noqa: S608


def usage_row(row: Sequence[Any], dimensions: int) -> UsageRow:
    """One line of the report from one row of its query."""
    return UsageRow(tuple(row[:dimensions]), *row[dimensions:])
