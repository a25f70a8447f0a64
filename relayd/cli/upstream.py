"""The commands that look after upstreams, by way of the running daemon.

`list` shows one line for each upstream key. What is wrong with it stands at the end of its line
where that fits, and below it where the terminal is narrower; models that are worse off than their
key come below it. In a pipe every line is as long as it needs to be, without colour.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import click

from relayd.cli import tables
from relayd.cli.daemon import Find, call, daemon_options
from relayd.cli.store import Failed

UPSTREAMS = "/admin/api/upstreams"
PROBE_PATIENCE = 120.0  # seconds: a probe waits for a provider
REFUSED = "Refused keys stay out until `relayd upstream probe` finds them well."
LEAST_TEXT = 30  # columns for which it is worth to align text
NARROWEST = 60  # columns that text is still wrapped to
COLOURS = {
    "up": "green",
    "well": "green",
    "cooling": "yellow",
    "full": "yellow",
    **dict.fromkeys(("open", "half open", "refused", "disabled", "failed"), "red"),
}

Row = Mapping[str, Any]


@click.group("upstream")
def upstream_group() -> None:
    """See how the upstreams are doing; disable, enable and probe them."""


@upstream_group.command("list")
@daemon_options
def upstream_list(find: Find, as_json: bool) -> None:
    """List all upstream keys: their state, share, traffic and times."""
    document = call(find(), "GET", UPSTREAMS)
    rows = _rows(document, "upstreams")
    if as_json:
        tables.print_json(document)
    elif rows:
        _print(overview(rows, _screen()))
        if any(row["state"] == "refused" for row in rows):
            click.echo(REFUSED, err=True)
    else:
        click.echo("No upstreams: add one to the configuration, then reload.", err=True)


@upstream_group.command("enable")
@click.argument("name", metavar="NAME[/KEY]")
@daemon_options
def upstream_enable(find: Find, name: str, as_json: bool) -> None:
    """Use an upstream or one of its keys again, and forget what was held against it."""
    _switch(find, name, "enable", as_json)


@upstream_group.command("disable")
@click.argument("name", metavar="NAME[/KEY]")
@daemon_options
def upstream_disable(find: Find, name: str, as_json: bool) -> None:
    """Send nothing more to an upstream or one of its keys, until `enable` or a restart."""
    _switch(find, name, "disable", as_json)


@upstream_group.command("probe")
@click.argument("name", metavar="[NAME[/KEY]]", required=False)
@daemon_options
def upstream_probe(find: Find, name: str | None, as_json: bool) -> None:
    """Ask upstreams a cheap question now, all of them without a NAME; exit 1 if one is not well."""
    document = call(find(), "POST", _path(name, "probe"), PROBE_PATIENCE)
    rows = _rows(document, "results")
    if as_json:
        tables.print_json(document)
    elif rows:
        _print(probed(rows, _screen()))
    else:
        click.echo("No upstreams: there is nothing to probe.", err=True)
    if not all(row["ok"] for row in rows):
        sys.exit(1)


def _switch(find: Find, name: str, verb: str, as_json: bool) -> None:
    document = call(find(), "POST", _path(name, verb))
    if as_json:
        tables.print_json(document)
        return
    for row in _rows(document, "upstreams"):
        click.echo(sentence(row))


def _path(name: str | None, verb: str) -> str:
    if name is None:
        return f"{UPSTREAMS}/{verb}"
    return f"{UPSTREAMS}/{quote(name, safe='')}/{verb}"


def _rows(document: Any, field: str) -> list[Row]:
    rows = document.get(field)
    if not isinstance(rows, list):
        raise Failed(f"the answer holds no {field}: is it a relayd of another version?")
    return rows


# --- the overview ---------------------------------------------------------------------------------


class Column(NamedTuple):
    """One column: its heading, a shorter one for narrow terminals, and whether it holds numbers."""

    title: str
    short: str
    number: bool = False


_COLUMNS = (
    Column("upstream", "upstream"),
    Column("state", "state"),
    Column("tier", "tier", True),
    Column("weight", "weight", True),
    Column("in flight", "busy", True),
    Column("success", "success", True),
    Column("first byte", "first", True),
    Column("p95", "p95", True),
)
_TROUBLE = (Column("again", "again"), Column("why", "why"))


def overview(rows: Sequence[Row], width: int | None) -> Iterator[str]:
    """The lines of `upstream list`, states in colour.

    Arguments:
        rows: as the API sends them.
        width: of the terminal; None is a pipe, where each line takes what it needs.
    """
    doors, troubles = [_cells(row) for row in rows], [_trouble(row) for row in rows]
    columns, cells = [*_COLUMNS], doors
    if any(map(any, troubles)):
        wide = [door + trouble for door, trouble in zip(doors, troubles, strict=True)]
        if width is None or sum(_widths([*columns, *_TROUBLE], wide)) <= width - 2 * len(wide[0]):
            columns, cells = [*columns, *_TROUBLE], wide
    if width is not None and sum(_widths(columns, cells)) > width - 2 * len(columns):
        columns = [column._replace(title=column.short) for column in columns]
    widths = _widths(columns, cells)
    margin = "" if width is None else " "
    yield from _heading(columns, widths, margin)
    for row, line, (again, why) in zip(rows, cells, troubles, strict=True):
        yield margin + _joined(columns, line, widths)
        if why and len(columns) == len(_COLUMNS):
            yield from _wrapped(f"{margin}  {_again(again, len(again))}", why, width)
        yield from _models(row["models"], margin, width)
    if margin:
        yield ""


def _models(models: Sequence[Row], margin: str, width: int | None) -> Iterator[str]:
    """One line for each model in trouble, below its key and with columns of their own."""
    cells = [(_clean(model["model"]), _word(model["state"]), *_trouble(model)) for model in models]
    longest = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, state, again, why in cells:
        head = f"{margin}    {name:<{longest[0]}}  {_painted(state, longest[1])}  "
        yield from _wrapped(head + _again(again, longest[2]), why, width)


def sentence(row: Row) -> str:
    """How one key stands now: `openai/2 is cooling, again in 12s (429: ...).`"""
    again, why = _trouble(row)
    more = f", again {again}" if again else ""
    reason = f" ({why})" if why and row["state"] != "disabled" else ""
    return f"{_name(row)} is {_word(row['state'])}{more}{reason}."


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _name(row),
        _word(row["state"]),
        str(row["tier"]),
        tables.count(row["weight"]),
        tables.count(row["in_flight"]),
        percent(row["success_ratio"]),
        tables.span(row["first_byte"]),
        tables.span(row["first_byte_p95"]),
    )


def _trouble(row: Row) -> tuple[str, str]:
    """When it is tried again and why it is not now, "" for what is not known."""
    return wait(row["until"]), _clean(row["why"])


def _name(row: Row) -> str:
    return _clean(f"{row['upstream']}/{row['key']}")


def _word(state: str) -> str:
    return _clean(state.replace("_", " "))


def _clean(text: str) -> str:
    return tables.printable(text) if text else ""


def _again(again: str, width: int) -> str:
    """`again in 12s  `, filled up so that what follows is aligned; "" where no line has one."""
    if not width:
        return ""
    return f"{f'again {again}' if again else '':<{len('again ') + width}}  "


def percent(ratio: float | None) -> str:
    """`99.9%`, never rounded up to 100%; "-" when nothing was asked."""
    if ratio is None:
        return "-"
    return "100%" if ratio >= 1 else f"{math.floor(ratio * 1000) / 10:.1f}%"


def wait(seconds: float | None) -> str:
    """`in 12s`, `in 1m 05s`, `in 2h 10m`; `now` when it is due; "" for not by itself."""
    if seconds is None:
        return ""
    whole = math.ceil(seconds)
    if whole <= 0:
        return "now"
    if whole < 60:
        return f"in {whole}s"
    minutes, rest = divmod(whole, 60)
    hours, part = divmod(minutes, 60)
    return f"in {hours}h {part:02d}m" if hours else f"in {minutes}m {rest:02d}s"


# --- what a probe found ---------------------------------------------------------------------------


def probed(rows: Sequence[Row], width: int | None) -> Iterator[str]:
    """The lines of `upstream probe`: no heading, as its columns say what they are."""
    cells = [(_name(r), "well" if r["ok"] else "failed", tables.span(r["seconds"])) for r in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row, (name, result, seconds) in zip(rows, cells, strict=True):
        head = f"{name:<{widths[0]}}  {_painted(result, widths[1])}  {seconds:>{widths[2]}}  "
        yield from _wrapped(head, _clean(row["why"]), width)


# --- drawing --------------------------------------------------------------------------------------


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    titles = [column.title for column in columns]
    return [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]


def _joined(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = [
        _painted(cell, width)
        if column.title == "state"
        else (cell.rjust(width) if column.number else cell.ljust(width))
        for column, cell, width in zip(columns, cells, widths, strict=True)
    ]
    return "  ".join(shown).rstrip()


def _painted(word: str, width: int) -> str:
    return click.style(word, fg=COLOURS.get(word)) + " " * (width - len(word))


def _heading(columns: Sequence[Column], widths: Sequence[int], margin: str) -> Iterator[str]:
    titles = _joined(columns, [column.title for column in columns], widths)
    if not margin:
        yield click.unstyle(titles)
        return
    yield ""
    yield margin + click.style(click.unstyle(titles), bold=True)
    yield "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (sum(widths) + 2 * len(widths) - 1)


def _wrapped(head: str, text: str, width: int | None) -> Iterator[str]:
    """The text behind its head; where it does not fit, further lines below its start, or a little
    to the right of the head's where that is far out. Words stay whole."""
    taken = len(click.unstyle(head))
    if width is None or not text or taken + len(text) <= width:
        yield (head + text).rstrip()
        return
    room = max(width, NARROWEST)
    start = len(head) - len(head.lstrip())
    indent = taken if taken <= room - LEAST_TEXT else start + 4
    first, *more = textwrap.wrap(
        text,
        room,
        initial_indent=" " * taken,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield (head + first[taken:]).rstrip()
    yield from more


def _screen() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print(lines: Iterator[str]) -> None:
    plain = "NO_COLOR" in os.environ
    for line in lines:
        click.echo(click.unstyle(line) if plain else line)
