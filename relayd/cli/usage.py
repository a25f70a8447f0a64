"""The usage report: what was asked for, by whom, how it went, and what it cost.

One command with two faces: grouped sums (`--by`), or the latest requests one by one (`--rows`).
Times are UTC throughout; the days are those that requests count to, in the configured zone. A
report over more than two days reads the daily sums, and says so: it covers those days whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import click

from relayd.cli import tables
from relayd.cli.store import Place, store_options, with_store
from relayd.cli.tables import Column, count, span
from relayd.cli.values import TIMES, parse_moment
from relayd.model import Entry
from relayd.money import shown
from relayd.store.questions import DIMENSIONS, UsageFilter, UsageRow
from relayd.store.sqlite import SqliteStore

Days = tuple[int, int] | None


class Between(NamedTuple):
    """The time that a report is about."""

    since: float
    until: float | None


def _moment(_context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_moment(text, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from error


def _dimensions(
    _context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        if name not in DIMENSIONS:
            known = ", ".join(DIMENSIONS)
            raise click.BadParameter(f"{name!r} is none of {known}", param=option)
    return tuple(dict.fromkeys(names))


@click.command("usage")
@click.option(
    "--since", default="1d", show_default=True, callback=_moment, metavar="TIME", help=f"{TIMES}."
)
@click.option("--until", callback=_moment, metavar="TIME", help="The same; the default is now.")
@click.option(
    "--by",
    multiple=True,
    metavar="A,B",
    callback=_dimensions,
    help=f"{', '.join(DIMENSIONS)}; repeat it, or list several with commas.  [default: model]",
)
@click.option("--key", metavar="KEY", help="Only requests with this key: its name, id or prefix.")
@click.option("--account", metavar="ACCOUNT", help="Only requests that this account paid for.")
@click.option("--model", metavar="NAME", help="Only requests for this model, as clients name it.")
@click.option("--upstream", metavar="NAME", help="Only requests that this upstream had.")
@click.option(
    "--outcome", metavar="NAME", help="Only requests that ended so: ok, client_gone, refused, ..."
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instead: the latest N requests, one by one.",
)
@store_options
def usage_command(place: Place, as_json: bool, **asked: Any) -> None:
    """Report what was used, and its cost, by model, key, account, day.

    Example: relayd usage --since 30d --by day,key --account alice"""
    between, by = Between(asked["since"], asked["until"]), asked["by"]
    if between.until is not None and between.until <= between.since:
        raise click.UsageError("--until must be later than --since")
    names = ("key", "account", "model", "upstream", "outcome")
    filters = UsageFilter(**{name: asked[name] for name in names})
    if asked["rows"] is None:
        _report(place, as_json, between, by or ("model",), filters)
    elif by:
        raise click.UsageError("--rows does not go with --by")
    else:
        _latest(place, as_json, between, filters, asked["rows"])


def _report(
    place: Place, as_json: bool, between: Between, by: tuple[str, ...], filters: UsageFilter
) -> None:
    async def ask(store: SqliteStore) -> tuple[list[UsageRow], UsageRow, Days]:
        rows = await store.usage(*between, by, filters)
        (total,) = await store.usage(*between, (), filters)
        return rows, total, await store.usage_days(*between)

    rows, total, days = with_store(place, ask)
    if as_json:
        tables.print_json(_report_json(between, by, days, (rows, total)))
    elif rows:
        _print_usage(by, rows, total)
        if days:
            said = " to ".join(dict.fromkeys(map(_day, days)))
            click.echo(f"Counted in whole days: {said}.", err=True)
    else:
        _say_nothing(between)


def _latest(
    place: Place, as_json: bool, between: Between, filters: UsageFilter, limit: int
) -> None:
    since, until = between

    async def both(store: SqliteStore) -> tuple[list[Entry], dict[int, str]]:
        names = {key.id: key.name for key in await store.keys()}
        return await store.rows(filters, limit, since=since, until=until), names

    entries, names = with_store(place, both)
    if as_json:
        tables.print_json([_entry_json(e, names.get(e.key_id or 0, "")) for e in entries])
    elif entries:
        cells = [_entry_cells(e, names.get(e.key_id or 0, "")) for e in entries]
        tables.print_table(_ENTRY_COLUMNS, cells)
    else:
        _say_nothing(between)


def _say_nothing(between: Between) -> None:
    since, until = between
    end = "" if until is None else f" until {tables.moment(until)}"
    click.echo(f"No requests since {tables.moment(since)}{end} (UTC).", err=True)


# --- the report -----------------------------------------------------------------------------------


class Measure(NamedTuple):
    """One number of the report; an optional column goes when the total has none of it."""

    title: str
    cell: Callable[[UsageRow], str]
    optional: bool = False
    spare: int = 0


_MEASURES = (
    Measure("requests", lambda r: count(r.requests)),
    Measure("failed", lambda r: count(r.failed), spare=1),
    Measure("estimated", lambda r: count(r.estimated or None), optional=True, spare=5),
    Measure("input", lambda r: count(prompt_tokens(r))),
    Measure("cached", lambda r: count(r.cache_read), optional=True, spare=2),
    Measure("cache write", lambda r: count(r.cache_write), optional=True, spare=6),
    Measure("output", lambda r: count(r.out_total)),
    Measure("reasoning", lambda r: count(r.reasoning), optional=True, spare=4),
    Measure("pictures", lambda r: count(r.images), optional=True, spare=4),
    Measure("audio", lambda r: _heard(r.audio_ms), optional=True, spare=4),
    Measure("characters", lambda r: count(r.characters), optional=True, spare=4),
    Measure("searches", lambda r: count(r.searches), optional=True, spare=4),
    Measure("cost ($)", lambda r: _cost(r.cost), optional=True),
    Measure("uncharged ($)", lambda r: _cost(r.uncharged), optional=True, spare=3),
    Measure("first byte", lambda r: span(r.first_byte), spare=7),
    Measure("duration", lambda r: span(r.duration), spare=8),
)


def prompt_tokens(row: UsageRow) -> int | None:
    """All tokens that went in, cached or not."""
    parts = (row.in_uncached, row.cache_read, row.cache_write, row.tool_prompt)
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _heard(milliseconds: int | None) -> str:
    return span(None if milliseconds is None else milliseconds / 1000)


def _cost(amount: int) -> str:
    return tables.money(amount) if amount else "-"


def _print_usage(by: Sequence[str], rows: Sequence[UsageRow], total: UsageRow) -> None:
    """With a line of totals (times are averages) when there are several rows."""
    measures = [m for m in _MEASURES if not m.optional or m.cell(total) != "-"]
    columns = [Column(name) for name in by]
    columns += [Column(m.title, True, m.spare) for m in measures]
    dates = [_day if name == "day" else str for name in by]
    lines = [
        (
            *(shown_as(value) for shown_as, value in zip(dates, row.group, strict=True)),
            *(m.cell(row) for m in measures),
        )
        for row in rows
    ]
    last = ("total", *[""] * (len(by) - 1), *(m.cell(total) for m in measures))
    tables.print_table(columns, lines, last if len(rows) > 1 else None)


def _day(day: int | str) -> str:
    """`2026-11-21` of 20261121."""
    text = str(day)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _report_json(
    between: Between,
    by: tuple[str, ...],
    days: Days,
    found: tuple[Sequence[UsageRow], UsageRow],
) -> dict[str, object]:
    rows, total = found
    return {
        "since": tables.iso(between.since),
        "until": None if between.until is None else tables.iso(between.until),
        "whole_days": None if days is None else [_day(day) for day in days],
        "by": by,
        "rows": [_usage_json(by, row) for row in rows],
        "total": _usage_json((), total),
    }


def _usage_json(by: Sequence[str], row: UsageRow) -> dict[str, object]:
    """One row with its group's values under their dimensions' names; amounts are exact decimal
    strings of dollars."""
    measures: dict[str, Any] = asdict(row)
    values = [
        _day(v) if name == "day" else v for name, v in zip(by, measures.pop("group"), strict=True)
    ]
    money = {"cost": shown(row.cost), "uncharged": shown(row.uncharged)}
    return {**dict(zip(by, values, strict=True)), **measures, **money}


# --- single requests ------------------------------------------------------------------------------

_ENTRY_COLUMNS = (
    Column("started (UTC)"),
    Column("request id", spare=5),
    Column("key", spare=2),
    Column("model"),
    Column("upstream", spare=4),
    Column("format", spare=7),
    Column("outcome", spare=1),
    Column("status", True, spare=6),
    Column("input", True, spare=1),
    Column("output", True, spare=1),
    Column("cost ($)", True, optional=True),
    Column("first byte", True, spare=9),
    Column("duration", True, spare=8),
)


def _entry_cells(e: Entry, key: str) -> tuple[str, ...]:
    known = e.usage.in_uncached is not None or e.usage.cache_read is not None
    prompt = e.usage.total - (e.usage.out_total or 0) if known else None
    names = (tables.moment(e.started_at), e.request_id, key, e.model_asked, e.upstream, e.format_in)
    tokens = (count(prompt), count(e.usage.out_total))
    cost = tables.money(e.cost) if e.cost else ""
    times = (span(e.first_byte), span(e.duration))
    return *names, e.outcome, str(e.status), *tokens, cost, *times


def _entry_json(entry: Entry, key: str) -> Mapping[str, object]:
    """Every column of one row, with the key's name."""
    money = {"cost": shown(entry.cost), "uncharged": shown(entry.uncharged)}
    day = _day(entry.day) if entry.day else None
    started = tables.iso(entry.started_at)
    return {**asdict(entry), "started_at": started, "day": day, "key": key or None, **money}
