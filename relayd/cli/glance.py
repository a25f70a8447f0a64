"""How a running daemon does, drawn for a terminal: a few lines of figures, what is wrong, a table
of upstream keys and one of models.

Names come from a page that anybody may have written, so no cell is markup and no control character
reaches the terminal. Where it is too narrow, the columns that are wanted least go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from relayd.cli.looks import FAILED, Between, KeyLook, figures, keys
from relayd.cli.tables import printable, span

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MOST_MODELS: Final = 12
MOST_KEYS: Final = 20
GAP: Final = 2
COLOURS: Final = {"up": "green", "full": "yellow", "cooling": "yellow", "half_open": "yellow"}
WELL: Final = ("up", "full")


class Column(NamedTuple):
    """A column of a table: its title, whether it is set to the right, and how soon it goes for want
    of room (0: never)."""

    title: str
    number: bool = True
    spare: int = 0


KEYS: Final = (
    Column("upstream", number=False),
    Column("state", number=False),
    Column("again in", spare=2),
    Column("models in trouble", number=False, spare=5),
    Column("in flight", spare=3),
    Column("req/s"),
    Column("ok", spare=1),
)
MODELS: Final = (
    Column("model", number=False),
    Column("req/s"),
    Column("failed"),
    Column("in tok/s", spare=2),
    Column("out tok/s", spare=1),
    Column("$/h", spare=3),
)

Row = Sequence["str | Text"]


def screen(seen: Between, width: int = 80, silence: str = "") -> RenderableType:
    """All of it.

    Arguments:
        width: columns that there are.
        silence: why the daemon has not answered since; "" where it has.
    """
    from rich.console import Group

    said = figures(seen)
    return Group(
        _head(seen, said),
        *_troubles(said, silence),
        _table(KEYS, _key_rows(seen), width),
        *([_table(MODELS, rows, width)] if (rows := _model_rows(seen)) else []),
    )


# --- the first lines ------------------------------------------------------------------------------


def _head(seen: Between, said: dict[str, Any]) -> Text:
    from rich.text import Text

    over = "since its start" if seen.before is None else f"in {span(seen.seconds)}"
    sessions = said["realtime_sessions"]
    lines = [
        f"relayd {printable(said['version'])}   up {_uptime(said['uptime'])}   "
        f"{said['memory'] / 2**20:.0f} MiB   {said['clients']} connections",
        f"requests  {said['requests_per_second']:.4g}/s ({said['requests']:,} {over}), "
        f"{said['failed']:,} failed, {said['limited']:,} over a limit",
        f"now       {said['in_flight']} in flight, {said['waiting']} waiting for a key"
        + (f", {sessions} realtime" if sessions else ""),
        f"tokens    in {said['input_per_second']:,.0f}/s, out {said['output_per_second']:,.0f}/s, "
        f"cached {said['cached_per_second']:,.0f}/s   ${said['dollars_per_hour']:,.2f} an hour",
        f"time      first byte {_time(said['first_byte_p50'])}, "
        f"p95 {_time(said['first_byte_p95'])}; own part p95 {_time(said['overhead_p95'])}",
    ]
    return Text("\n".join(lines), overflow="fold")


def _troubles(said: dict[str, Any], silence: str) -> Iterator[Text]:
    """What is wrong, a line each; nothing where all is well."""
    from rich.text import Text

    found = []
    if silence:
        found.append((printable(silence), "bold red"))
    if said["ledger_full"]:
        found.append(("requests are refused: usage rows cannot be kept", "bold red"))
    elif said["ledger_lag"] > 5:
        behind = f"{span(said['ledger_lag'])} behind, {said['ledger_rows']:,} rows wait"
        found.append((f"the usage log is {behind}", "yellow"))
    if said["keys"] and not said["keys_up"]:
        found.append(("no upstream key takes requests", "bold red"))
    if said["reload_failed"]:
        found.append(("the last reload was refused: the configuration before it is used", "yellow"))
    if (said["loop_lag_p99"] or 0.0) > 0.1:
        found.append((f"the event loop is late: p99 {_time(said['loop_lag_p99'])}", "yellow"))
    found += [(f"{number:,} {what}", "yellow") for what, number in said["lost"].items()]
    return (Text(f"! {text}", style=style) for text, style in found)


# --- the tables -----------------------------------------------------------------------------------


def _key_rows(seen: Between) -> list[Row]:
    from rich.text import Text

    found = keys(seen)
    if len(found) > MOST_KEYS:  # then those come first that are in trouble, or busy
        found.sort(key=lambda key: (key.state in WELL and not key.troubled, -key.attempts))
    rows: list[Row] = [_key_row(key, seen.seconds) for key in found[:MOST_KEYS]]
    if len(found) > MOST_KEYS:
        rest = found[MOST_KEYS:]
        up = sum(key.state in WELL for key in rest)
        rows.append([Text(f"{len(rest)} more, {up} of them up", style="dim"), *[""] * 6])
    return rows


def _key_row(key: KeyLook, seconds: float) -> Row:
    from rich.text import Text

    troubled = ", ".join(f"{n} {_word(state)}" for state, n in key.troubled.items())
    return [
        printable(key.name),
        Text(_word(key.state), style=COLOURS.get(key.state, "red")),
        _again(key),
        Text(troubled or "-", style="yellow" if troubled else ""),
        str(key.in_flight),
        f"{key.attempts / seconds:.2f}",
        "-" if key.ok is None else f"{key.ok:.0%}",
    ]


def _again(key: KeyLook) -> str:
    if key.state in WELL:
        return "-"
    return span(key.again_in) if math.isfinite(key.again_in) else "never"


def _model_rows(seen: Between) -> list[Row]:
    requests, tokens = "relayd_requests_total", "relayd_tokens_total"
    names = seen.after.values(requests, "model")
    ranked = sorted(names, key=lambda name: -seen.grown(requests, model=name))
    return [
        [
            printable(name) if name else "(none that is known)",
            f"{seen.rate(requests, model=name):.2f}",
            _failed(sum(seen.grown(requests, model=name, outcome=one) for one in FAILED)),
            f"{_sum(seen, tokens, name, ('input', 'cache_read', 'cache_write')):,.0f}",
            f"{_sum(seen, tokens, name, ('output',)):,.0f}",
            f"{3600 * seen.rate('relayd_cost_dollars_total', model=name):,.2f}",
        ]
        for name in ranked[:MOST_MODELS]
    ]


def _failed(number: float) -> Text:
    from rich.text import Text

    return Text(f"{number:,.0f}", style="yellow" if number else "")


def _sum(seen: Between, series: str, model: str, kinds: Iterable[str]) -> float:
    return sum(seen.rate(series, model=model, kind=kind) for kind in kinds)


def _table(columns: Sequence[Column], rows: Sequence[Row], width: int) -> RenderableType:
    """The columns that there is room for; a name that is longer still is cut."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = [
        max([cell_len(column.title), *(row[place].cell_len for row in cells)])
        for place, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[place] + GAP for place in kept) > width:
        most = max(kept, key=lambda place: columns[place].spare)
        if not columns[most].spare:
            break
        kept.remove(most)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for place in kept:
        side = "right" if columns[place].number else "left"
        table.add_column(
            columns[place].title,
            justify="right" if side == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if place == 0 else widths[place],
        )
    for row in cells:
        table.add_row(*(row[place] for place in kept))
    return table


# --- words ----------------------------------------------------------------------------------------


def _uptime(seconds: float) -> str:
    """`3 d 04 h`, or as a shorter span."""
    days, rest = divmod(round(seconds), 86400)
    return f"{days} d {rest // 3600:02d} h" if days else span(seconds)


def _word(state: str) -> str:
    return printable(state).replace("_", " ")


def _time(seconds: float | None) -> str:
    """At most so long, as the buckets say."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "more than 10 min"
    return f"<={seconds * 1000:g} ms" if seconds < 1 else f"<={seconds:g} s"
