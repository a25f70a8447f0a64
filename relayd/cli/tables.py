"""How the commands print: tables for people, JSON for scripts, and how a number, a time or an
amount is said.

Rich is imported inside the function that draws, so that the daemon, which shares the command
line's entry, never loads it. A cell is never cut: an id or a name that lacks its end cannot be
copied. Where a terminal is too narrow, columns that are wanted least go, and it is said; a column
that is a list may wrap between its parts. In a pipe everything stands in one line. Names come from
clients (a model's name is whatever was asked for), so nothing in a cell is taken as markup and
control characters never reach the terminal.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

import click
import orjson

from relayd.money import DOLLAR

NARROWEST_LIST = 14  # columns that a list is wrapped to before other columns go
GAP = 2  # between columns
BOUND = "\N{NO-BREAK SPACE}"  # inside one part of a list


class Column(NamedTuple):
    """One column of a table.

    Arguments:
        title: its heading.
        number: set to the right.
        spare: 0 for a column that always stays; the greatest goes first for want of room.
        wraps: a list, which may continue on a second line.
        optional: goes when every cell is empty.
    """

    title: str
    number: bool = False
    spare: int = 0
    wraps: bool = False
    optional: bool = False


Rows = Sequence[Sequence[str]]


def print_json(value: object) -> None:
    """One indented JSON document."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[Column], rows: Rows, totals: Sequence[str] | None = None) -> None:
    """A table with lines on a terminal, aligned plain text in a pipe."""
    room = screen()
    lines = [[printable(cell) if cell else "" for cell in row] for row in rows]
    used = [i for i, c in enumerate(columns) if not c.optional or any(row[i] for row in lines)]
    table = _Table([*columns], lines, [*totals] if totals else None).only(used)
    table, left_out = _fitted(table, room)
    click.echo(_drawn(table, room is not None))
    if left_out:
        click.echo(f"No room for: {', '.join(left_out)}. --json has everything.", err=True)


class _Table(NamedTuple):
    columns: list[Column]
    rows: list[list[str]]
    totals: list[str] | None

    def only(self, places: Sequence[int]) -> _Table:
        """The same with the columns in these places."""
        totals = self.totals and [self.totals[i] for i in places]
        rows = [[row[i] for i in places] for row in self.rows]
        return _Table([self.columns[i] for i in places], rows, totals)

    def width_of(self, place: int) -> int:
        """Columns of the screen that the widest cell takes, where parts of a list may stand below
        one another."""
        from rich.cells import cell_len

        cells = [self.columns[place].title, *(row[place] for row in self.lines)]
        return max(cell_len(line) for cell in cells for line in cell.split("\n"))

    @property
    def lines(self) -> list[list[str]]:
        return [*self.rows, *([self.totals] if self.totals else [])]

    @property
    def width(self) -> int:
        # A lined table has an empty column on each side.
        return sum(map(self.width_of, range(len(self.columns)))) + GAP * len(self.columns)


def _fitted(table: _Table, room: int | None) -> tuple[_Table, list[str]]:
    """The table as it fits, and the titles of the columns that had to go."""
    if room is None or table.width <= room:
        return table, []
    places = range(len(table.columns))
    kept = [place for place in places if not table.columns[place].spare]
    for place in sorted(set(places) - set(kept), key=lambda i: table.columns[i].spare):
        more = sorted([*kept, place])
        if _wrapped(table.only(more), room).width <= room:
            kept = more
    left_out = [table.columns[place].title for place in places if place not in kept]
    return _wrapped(table.only(kept), room), left_out


def _wrapped(table: _Table, room: int) -> _Table:
    """The table with its lists in several lines where that brings it into the room."""
    for place, column in enumerate(table.columns):
        if column.wraps and table.width > room:
            rest = room - (table.width - table.width_of(place))
            for row in table.rows:
                row[place] = "\n".join(wrapped(row[place], max(rest, NARROWEST_LIST)))
    return table


def _drawn(table: _Table, lined: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Two spaces between columns either way: the lined style brings one of its own.
    style, gap = (box.SIMPLE_HEAD, GAP - 1) if lined else (None, GAP)
    drawing = Table(box=style, pad_edge=False, padding=(0, gap, 0, 0))
    for column in table.columns:
        side: Literal["left", "right"] = "right" if column.number else "left"
        drawing.add_column(column.title, justify=side, no_wrap=True)
    for row in table.rows:
        drawing.add_row(*(Text(cell.replace(BOUND, " ") or "-") for cell in row))
    if table.totals is not None:
        drawing.add_section()
        drawing.add_row(*map(Text, table.totals), style="bold")
    console = Console(width=table.width + GAP, force_terminal=lined, highlight=False)
    with console.capture() as drawn:
        console.print(drawing)
    return "\n".join(line.rstrip() for line in drawn.get().splitlines())


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """What is known of one thing: one line for each fact, long ones wrapped on a terminal."""
    indent = max(len(name) for name, _ in facts) + GAP
    room = screen() or 10**6
    for name, text in facts:
        head = f"{name:<{indent}}"
        lines = wrapped(printable(text), max(room, 60) - indent)
        click.echo(head + f"\n{' ' * indent}".join(lines).replace(BOUND, " "))


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of this width. Words stay whole, and so do the parts of a list."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def screen() -> int | None:
    """The columns of the terminal; None in a pipe, where a line is as long as it needs to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def printable(text: str) -> str:
    """The text with control characters shown as a replacement sign; "-" for none at all."""
    return "".join(c if c.isprintable() or c == BOUND else "\ufffd" for c in text) or "-"


def moment(seconds: float) -> str:
    """A Unix time for people, in UTC: `2026-11-21 09:15:02`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def date(seconds: float) -> str:
    """Its day alone, in UTC: `2026-11-21`."""
    return moment(seconds)[:10]


def iso(seconds: float) -> str:
    """A Unix time for scripts: `2026-11-21T09:15:02.123+00:00`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def count(number: int | None) -> str:
    """`1,234,567`, or "-" for unknown."""
    return "-" if number is None else f"{number:,}"


def short_count(number: int) -> str:
    """`60`, `100k`, `2M`: as it was typed, most likely."""
    for unit, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{letter}"
    return str(number)


def money(amount: int) -> str:
    """Pico-dollars as dollars for a column: four decimals, or as many as it takes to see that it is
    something. To look at; what `shown` of relayd.money says is exact."""
    exact = Decimal(amount) / DOLLAR
    rounded = round(exact, 4)
    if rounded or not amount:
        return f"{rounded:,.4f}"
    return f"{round(exact, min(1 - exact.adjusted(), 12)):f}"


def dollars(amount: int) -> str:
    """The same in a sentence: `$14.0148`, `-$0.50`; two decimals where that is exact."""
    cents = amount % (DOLLAR // 100) == 0
    text = f"{abs(Decimal(amount) / DOLLAR):,.2f}" if cents else money(abs(amount))
    return f"-${text}" if amount < 0 else f"${text}"


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
