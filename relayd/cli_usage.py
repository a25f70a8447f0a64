"""The usage report: what was asked for, by whom, and how it went.

One command with two faces: grouped sums (`--by`), or the latest requests one by one (`--rows`).
Times are UTC throughout, as in the report's days.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import click

from relayd import cli_tables as tables
from relayd.cli_store import Place, store_options, with_store
from relayd.model import Entry, Key
from relayd.store.base import DIMENSIONS, UsageRow
from relayd.store.sqlite import SqliteStore

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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


_TIMES = "30m, 2h, 1d, 2w (ago), or 2026-11-01 or 2026-11-01T08:00 (UTC)"


@click.command("usage")
@click.option("--since", default="1d", show_default=True, callback=_moment, help=f"{_TIMES}.")
@click.option("--until", callback=_moment, help="The same; the default is now.")
@click.option(
    "--by",
    multiple=True,
    callback=_dimensions,
    help=f"{', '.join(DIMENSIONS)}; repeat it, or list several with commas.  [default: model]",
)
@click.option(
    "--rows", type=click.IntRange(min=1), help="Instead: the latest N requests, one by one."
)
@store_options
def usage_command(place: Place, as_json: bool, **asked: Any) -> None:
    """Report what was used: requests, tokens and times, by model, key, account, ..."""
    since, until, by, rows = asked["since"], asked["until"], asked["by"], asked["rows"]
    if until is not None and until <= since:
        raise click.UsageError("--until must be later than --since")
    if rows is None:
        _report(place, as_json, (since, until), by or ("model",))
    elif by or until is not None:
        raise click.UsageError("--rows goes with neither --by nor --until")
    else:
        _latest(place, as_json, since, rows)


def _report(
    place: Place, as_json: bool, between: tuple[float, float | None], by: tuple[str, ...]
) -> None:
    async def both(store: SqliteStore) -> tuple[list[UsageRow], UsageRow]:
        return await store.usage(*between, by), (await store.usage(*between, ()))[0]

    rows, total = with_store(place, both)
    since, until = between
    if as_json:
        tables.print_json(
            {
                "since": tables.iso(since),
                "until": None if until is None else tables.iso(until),
                "by": by,
                "rows": [tables.usage_json(by, row) for row in rows],
                "total": tables.usage_json((), total),
            }
        )
    elif rows:
        tables.print_usage(by, rows, total)
    else:
        _say_nothing(between)


def _latest(place: Place, as_json: bool, since: float, limit: int) -> None:
    async def both(store: SqliteStore) -> tuple[list[Entry], list[Key]]:
        return await store.recent(limit, since), await store.keys()

    entries, keys = with_store(place, both)
    names = {key.id: key.name for key in keys}
    if as_json:
        tables.print_json([tables.entry_json(e, names.get(e.key_id or 0, "")) for e in entries])
    elif entries:
        tables.print_entries(entries, names)
    else:
        _say_nothing((since, None))


def _say_nothing(between: tuple[float, float | None]) -> None:
    since, until = between
    end = "" if until is None else f" until {tables.moment(until)}"
    click.echo(f"No requests since {tables.moment(since)}{end} (UTC).", err=True)


def parse_moment(text: str, now: float) -> float:
    """The Unix time that `1d`, `2h`, `30m` (ago) or a date with or without a time stands for.

    Without a zone, UTC is meant, as in the report's days. Raises ValueError.
    """
    ago = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if ago:
        return max(0.0, now - int(ago[1]) * _SECONDS[ago[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time: write {_TIMES}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
