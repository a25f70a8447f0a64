"""What the commands print: tables for people, the same facts as JSON for scripts.

Rich is imported inside the function that draws, so that the daemon, which shares the command
line's entry, never loads it. Cells are measured first and the table is drawn as wide as they need:
an id or a name that is cut or wrapped cannot be copied. Names come from clients (a model's name is
whatever was asked for), so nothing in a cell is taken as markup and control characters never reach
the terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
import orjson

from relayd.model import Account, Entry, Key
from relayd.store.base import UsageRow


class Column(NamedTuple):
    """One column: its heading, and whether it holds numbers (set to the right)."""

    title: str
    number: bool = False


def print_json(value: object) -> None:
    """One indented JSON document."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    totals: Sequence[str] | None = None,
) -> None:
    """A table with lines on a terminal, aligned plain text in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    # Two spaces between columns either way: the lined style brings one of its own.
    style, gap = (box.SIMPLE_HEAD, 1) if terminal else (None, 2)
    table = Table(box=style, pad_edge=False, padding=(0, gap, 0, 0))
    for column in columns:
        side = "right" if column.number else "left"
        table.add_column(column.title, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if totals is not None:
        table.add_section()
        table.add_row(*map(Text, totals), style="bold")
    wide = Console(width=100_000).measure(table).maximum
    width = max(wide, shutil.get_terminal_size().columns)
    console = Console(width=width, force_terminal=terminal, highlight=False)
    with console.capture() as drawn:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def printable(text: str) -> str:
    """The text with control characters shown as a replacement sign; "-" for none at all."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text) or "-"


def moment(seconds: float) -> str:
    """A Unix time for people, in UTC: `2026-11-21 09:15:02`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso(seconds: float) -> str:
    """A Unix time for scripts: `2026-11-21T09:15:02.123+00:00`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def count(number: int | None) -> str:
    """`1,234,567`, or "-" for unknown."""
    return "-" if number is None else f"{number:,}"


def span(seconds: float | None) -> str:
    """A duration as one would say it: `83 ms`, `1.24 s`, `12.4 s`, `3 m 05 s`, `2 h 10 m`."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return (
            f"{seconds * 1000:.0f} ms"
            if seconds >= 0.00995 or not seconds
            else f"{seconds * 1000:.1f} ms"
        )
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


# keys and accounts


def print_keys(keys: Sequence[Key]) -> None:
    """One line per key."""
    columns = [
        Column("id", True),
        *map(Column, ("name", "account", "key", "created (UTC)", "state")),
    ]
    print_table(
        columns,
        [
            (str(k.id), k.name, k.account.name, f"{k.prefix}...", moment(k.created_at), state(k))
            for k in keys
        ],
    )


def state(key: Key) -> str:
    """Whether the key works, and if not, why."""
    if key.disabled:
        return "disabled"
    return "account disabled" if key.account.disabled else "enabled"


def key_json(key: Key) -> dict[str, object]:
    """A key without its digest."""
    return {
        "id": key.id,
        "name": key.name,
        "account": key.account.name,
        "prefix": key.prefix,
        "created_at": iso(key.created_at),
        "disabled": key.disabled,
        "account_disabled": key.account.disabled,
    }


def print_accounts(accounts: Sequence[Account], keys: Mapping[int, int]) -> None:
    """One line per account; `keys` counts them by account id."""
    columns = [Column("id", True), Column("name"), Column("keys", True), Column("state")]
    print_table(
        columns,
        [
            (str(a.id), a.name, count(keys.get(a.id, 0)), "disabled" if a.disabled else "enabled")
            for a in accounts
        ],
    )


# the usage report


def prompt_tokens(row: UsageRow) -> int | None:
    """All tokens that went in, cached or not."""
    parts = (row.in_uncached, row.cache_read, row.cache_write, row.tool_prompt)
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


class Measure(NamedTuple):
    """One number of the report; an optional column goes when it is empty in every row."""

    title: str
    cell: Callable[[UsageRow], str]
    optional: bool = False


_MEASURES = (
    Measure("requests", lambda r: count(r.requests)),
    Measure("failed", lambda r: count(r.failed)),
    Measure("estimated", lambda r: count(r.estimated or None), optional=True),
    Measure("input", lambda r: count(prompt_tokens(r))),
    Measure("cached", lambda r: count(r.cache_read), optional=True),
    Measure("cache write", lambda r: count(r.cache_write), optional=True),
    Measure("output", lambda r: count(r.out_total)),
    Measure("reasoning", lambda r: count(r.reasoning), optional=True),
    Measure("first byte", lambda r: span(r.first_byte)),
    Measure("duration", lambda r: span(r.duration)),
)


def print_usage(by: Sequence[str], rows: Sequence[UsageRow], total: UsageRow) -> None:
    """The report, with a line of totals (times are averages) when there are several rows."""
    measures = [m for m in _MEASURES if not m.optional or m.cell(total) != "-"]
    columns = [*map(Column, by), *(Column(m.title, True) for m in measures)]
    lines = [(*row.group, *(m.cell(row) for m in measures)) for row in rows]
    last = ("total", *[""] * (len(by) - 1), *(m.cell(total) for m in measures))
    print_table(columns, lines, last if len(rows) > 1 else None)


def usage_json(by: Sequence[str], row: UsageRow) -> dict[str, object]:
    """One row with its group's values under their dimensions' names."""
    measures: dict[str, Any] = asdict(row)
    del measures["group"]
    return {**dict(zip(by, row.group, strict=True)), **measures}


def print_entries(entries: Sequence[Entry], key_names: Mapping[int, str]) -> None:
    """One line per request."""
    titles = ("started (UTC)", "request id", "key", "model", "upstream", "format", "outcome")
    numbers = ("status", "input", "output", "first byte", "duration")
    columns = [*map(Column, titles), *(Column(title, True) for title in numbers)]
    print_table(columns, [_entry_cells(e, key_names.get(e.key_id or 0, "")) for e in entries])


def _entry_cells(e: Entry, key: str) -> tuple[str, ...]:
    known = e.usage.in_uncached is not None or e.usage.cache_read is not None
    prompt = e.usage.total - (e.usage.out_total or 0) if known else None
    names = (moment(e.started_at), e.request_id, key, e.model_asked, e.upstream, e.format_in)
    tokens = (count(prompt), count(e.usage.out_total))
    return *names, e.outcome, str(e.status), *tokens, span(e.first_byte), span(e.duration)


def entry_json(entry: Entry, key: str) -> dict[str, object]:
    """Every column of one row, with the key's name."""
    return {**asdict(entry), "started_at": iso(entry.started_at), "key": key or None}
