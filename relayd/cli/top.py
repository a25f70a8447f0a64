"""`relayd status` and `relayd top`: how a running daemon does, at a glance.

Both read `/metrics`, as Prometheus does: what they show is what dashboards show, and the daemon
keeps nothing for them. `status` says what was counted since the start; `top` draws, every few
seconds, what happened since the last look, and goes on when the daemon is away for a while.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from relayd.cli import tables
from relayd.cli.daemon import Find, Office, daemon_options, page
from relayd.cli.glance import screen
from relayd.cli.looks import Between, Look, NoMetrics, document
from relayd.cli.store import Failed

if TYPE_CHECKING:
    from rich.console import Console

SHORTEST = 0.1  # seconds between two looks


@click.command("status")
@daemon_options
def status(find: Find, as_json: bool) -> None:
    """Say how the running daemon does, in figures since its start."""
    since = Between(None, look(find()))
    if as_json:
        tables.print_json(document(since))
    else:
        console = _console()
        console.print(screen(since, console.width))


@click.command("top")
@click.option("--every", default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--times", type=int, help="Stop after so many looks.")
@daemon_options
def top(find: Find, every: float, times: int | None, as_json: bool) -> None:
    """Watch the running daemon: what happened since the last look. Ctrl-C ends it."""
    looks = watched(find, max(every, SHORTEST), times)
    with contextlib.suppress(KeyboardInterrupt):
        if as_json:
            for seen, silence in looks:
                tables.print_json({"error": silence} if silence else document(seen))
        else:
            _draw(looks, _console(), live=times is None)


def look(office: Office) -> Look:
    """Read the metrics once; Failed where they cannot be had."""
    text = page(office, "/metrics")
    try:
        return Look(text, time.time())
    except NoMetrics as exc:
        raise Failed(f"what answers at {office.control.url} is no relayd: {exc}") from None


def watched(find: Find, every: float, times: int | None) -> Iterator[tuple[Between, str]]:
    """What happened between two looks, again and again; and why there was no answer, where there
    was none: then what was seen last. A daemon that was started anew is found again. Raises Failed
    where there is not even a first answer."""
    before = look(find())
    if times is None:
        yield Between(None, before), ""
    seen = Between(None, before)
    while times is None or times > 0:
        time.sleep(every)
        silence = ""
        try:
            now = look(find())
        except Failed as exc:
            ago = tables.span(time.time() - before.moment)
            silence = f"no answer for {ago}: {exc.message}"
        else:
            seen, before = Between(before, now), now
        yield seen, silence
        times = None if times is None else times - 1


def _draw(looks: Iterator[tuple[Between, str]], console: Console, *, live: bool) -> None:
    """On a terminal one screen that changes; elsewhere one after the other."""
    from rich.live import Live

    if not (live and console.is_terminal):
        for seen, silence in looks:
            console.print(screen(seen, console.width, silence))
        return
    first, silence = next(looks)
    drawn = screen(first, console.width, silence)
    with Live(drawn, console=console, screen=True, auto_refresh=False) as drawing:
        for seen, silence in looks:
            drawing.update(screen(seen, console.width, silence), refresh=True)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
