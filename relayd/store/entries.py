"""The usage table as SQL and back: which column is which field, and how rows are asked for.

Writing is the hot part (10,000 rows a second are a goal), and three measured facts shape it:
- Python's sqlite3 gives up the interpreter lock for every statement it steps. Beside a busy event
  loop each step then waits up to 5 ms to get it back: `executemany` falls to 600 rows a second. So
  rows go in by statements of many rows, in few sizes, so that the statements stay compiled.
- Binding None costs ten times as much as binding an int (it goes through the adapter protocol), so
  unknown is bound as -1 and made NULL in SQL. Counts are never negative; ids and seconds neither.
- A row offered twice is harmless: the request id decides (`ON CONFLICT DO NOTHING`).

The statements fill a batch; what makes rows of the log and sums of it is said in `batches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

import orjson

from relayd.model import Entry, Usage
from relayd.store.days import utc_day

Cell = str | int | float
CellsOf = Callable[[Entry], list[Cell]]

_PLAIN = (
    "request_id", "started_at", "operation", "model_asked", "model_used", "upstream",
    "upstream_key", "attempts", "format_in", "format_out", "status", "outcome", "error_code",
    "upstream_request_id", "usage_source",
    "bytes_in", "bytes_out", "duration", "cost", "uncharged",
)  # fmt: skip
_MAYBE = ("first_byte", "key_id", "account_id")  # None when it does not apply
_COUNTS = tuple(f.name for f in fields(Usage) if f.name != "server_tools")
BATCH = "usage_batch"  # the table that the statements fill
COLUMNS = (*_PLAIN, "stream", "day", *_MAYBE, *_COUNTS, "server_tools")

_REALS = ("started_at", "duration", "first_byte")
_WHOLES = {"attempts", "status", "bytes_in", "bytes_out", "cost", "uncharged", "stream", "day"}
_WHOLES |= {"key_id", "account_id", *_COUNTS}


def batch_columns() -> str:
    """The columns of a batch as they are in the log, so that a value is the same in both."""
    kinds = ["REAL" if n in _REALS else "INTEGER" if n in _WHOLES else "TEXT" for n in COLUMNS]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, kinds, strict=True))
    return f"{columns}, PRIMARY KEY (request_id)"


_plain = attrgetter(*_PLAIN)
_counts = attrgetter(*_COUNTS)
_LARGEST = 2**63 - 1

# Powers of four: a batch of any size takes at most three statements of each.
STATEMENT_SIZES = (256, 64, 16, 4, 1)


def _insert(rows: int) -> str:
    marks = ["?"] * (len(_PLAIN) + 2)
    marks += ["nullif(?,-1)"] * (len(_MAYBE) + len(_COUNTS))
    row = f"({','.join(marks)},nullif(?,''))"
    return (
        f"INSERT INTO {BATCH} ({','.join(COLUMNS)}) VALUES {','.join([row] * rows)}"
        " ON CONFLICT(request_id) DO NOTHING"
    )


_INSERTS = {size: _insert(size) for size in STATEMENT_SIZES}


def inserts(entries: Sequence[Entry], row_of: CellsOf) -> Iterator[tuple[str, list[Cell]]]:
    """The statements that put these rows into a batch, each with its parameters, one at a time.

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
        entry.day or utc_day(entry.started_at),
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
    money = {name: min(max(getattr(entry, name), 0), _LARGEST) for name in ("cost", "uncharged")}
    return [_storable(cell) for cell in cells_of(replace(entry, **money))]


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


def newest_first(where: str) -> str:
    """The query for the latest rows that fit; its last parameter is how many."""
    order = "ORDER BY u.started_at DESC, u.request_id DESC LIMIT ?"
    return f"SELECT {','.join(COLUMNS)} FROM usage u WHERE {where} {order}"
