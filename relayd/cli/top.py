"""`relayd status` and `relayd top`: how a running daemon does, at a glance.

Both read `/metrics`, as Prometheus does: what they show is what dashboards show, and the daemon
keeps nothing for them. `status` says what was counted since the start; `top` draws, every few
seconds, what happened since the last look.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from relayd.cli import tables
from relayd.cli.daemon import Find, daemon_options, page

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_MODELS = 12
FAILED = ("upstream_error", "broken_stream", "no_upstream", "relay_error")
COLOURS = {"up": "green", "full": "yellow", "cooling": "yellow"}

Labels = Mapping[str, str]


class Look:
    """One look at the metrics.

    Arguments:
        text: the page.
        moment: when it was read, in seconds.
    """

    def __init__(self, text: str, moment: float) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        self.moment = moment
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def __repr__(self) -> str:
        return f"<Look at {len(self._samples)} series>"

    def of(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """The samples of a series that carry these labels."""
        samples = self._samples.get(name, [])
        return [(had, value) for had, value in samples if labels.items() <= had.items()]

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(value for _, value in self.of(name, **labels))

    def values(self, name: str, label: str) -> list[str]:
        """What a label is anywhere in a series."""
        return list(dict.fromkeys(labels[label] for labels, _ in self.of(name)))

    def label(self, name: str, label: str) -> str:
        """What a label is in the one sample of a series."""
        return next((labels.get(label, "") for labels, _ in self.of(name)), "")


class Between(NamedTuple):
    """What happened between two looks; before the first there was nothing."""

    before: Look | None
    after: Look

    @property
    def seconds(self) -> float:
        """How long that was: without a look before, since the daemon started."""
        if self.before is not None:
            return max(self.after.moment - self.before.moment, 1e-9)
        return max(self.after.moment - self.after.total("process_start_time_seconds"), 1e-9)

    def grown(self, name: str, **labels: str) -> float:
        """How much a counter grew; one that is smaller than before began anew."""
        now = self.after.total(name, **labels)
        then = self.before.total(name, **labels) if self.before is not None else 0.0
        return now - then if now >= then else now

    def rate(self, name: str, **labels: str) -> float:
        """The same, a second."""
        return self.grown(name, **labels) / self.seconds

    def quantile(self, share: float, name: str) -> float | None:
        """Of a histogram over all labels, to the upper bound of its bucket; None without any."""
        bounds = sorted({float(le) for le in self.after.values(f"{name}_bucket", "le")})
        counts = {
            bound: sum(
                self.grown(f"{name}_bucket", le=le)
                for le in self.after.values(f"{name}_bucket", "le")
                if float(le) == bound
            )
            for bound in bounds
        }
        total = counts.get(math.inf, 0.0)
        return next((b for b in bounds if total and counts[b] >= share * total), None)


@click.command("status")
@daemon_options
def status(find: Find, as_json: bool) -> None:
    """Say how the running daemon does, in figures since its start."""
    since = Between(None, Look(page(find(), "/metrics"), time.time()))
    if as_json:
        tables.print_json(figures(since))
    else:
        _console().print(screen(since))


@click.command("top")
@click.option("--every", default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--times", type=int, help="Stop after so many looks.")
@daemon_options
def top(find: Find, every: float, times: int | None, as_json: bool) -> None:
    """Watch the running daemon: what happened since the last look. Ctrl-C ends it."""
    from rich.live import Live

    office = find()
    before = Look(page(office, "/metrics"), time.time())
    with Live(console=_console(), screen=not as_json and times is None) as live:
        while times is None or times > 0:
            time.sleep(max(every, 0.1))
            now = Look(page(office, "/metrics"), time.time())
            seen, before = Between(before, now), now
            if as_json:
                tables.print_json(figures(seen))
            else:
                live.update(screen(seen), refresh=True)
            times = None if times is None else times - 1


def figures(seen: Between) -> dict[str, Any]:
    """The figures of the first lines, for programs."""
    after = seen.after
    requests = seen.grown("relayd_requests_total")
    failed = sum(seen.grown("relayd_requests_total", outcome=outcome) for outcome in FAILED)
    up = after.of("relayd_upstream_key_up")
    return {
        "version": after.label("relayd_build_info", "version"),
        "uptime": round(time.time() - after.total("process_start_time_seconds")),
        "in_flight": int(after.total("relayd_in_flight_requests")),
        "waiting": int(after.total("relayd_waiting_requests")),
        "requests": int(requests),
        "requests_per_second": round(requests / seen.seconds, 3),
        "failed": int(failed),
        "tokens_per_second": round(
            sum(seen.rate("relayd_tokens_total", kind=kind) for kind in ("input", "output")), 1
        ),
        "dollars_per_hour": round(3600 * seen.rate("relayd_cost_dollars_total"), 4),
        "first_byte_p50": seen.quantile(0.5, "relayd_time_to_first_byte_seconds"),
        "first_byte_p95": seen.quantile(0.95, "relayd_time_to_first_byte_seconds"),
        "overhead_p95": seen.quantile(0.95, "relayd_overhead_seconds"),
        "keys_up": int(sum(value for _, value in up)),
        "keys": len(up),
        "memory": int(after.total("process_resident_memory_bytes")),
        "clients": int(after.total("relayd_client_connections")),
        "ledger_lag": after.total("relayd_ledger_lag_seconds"),
        "ledger_full": bool(after.total("relayd_ledger_full")),
    }


def screen(seen: Between) -> RenderableType:
    """All of it, drawn."""
    from rich.console import Group

    return Group(_head(seen), _keys(seen), _models(seen))


def _head(seen: Between) -> RenderableType:
    from rich.text import Text

    said = figures(seen)
    over = "since the start" if seen.before is None else f"over {seen.seconds:.0f} s"
    lines = [
        f"relayd {said['version']}  up {_span(said['uptime'])}  "
        f"{said['memory'] / 2**20:.0f} MiB  {said['clients']} clients",
        f"{said['in_flight']} in flight, {said['waiting']} waiting   "
        f"{said['requests']} requests {over} ({said['requests_per_second']:g}/s), "
        f"{said['failed']} failed",
        f"{said['tokens_per_second']:g} tokens/s   ${said['dollars_per_hour']:g} an hour   "
        f"first byte {_time(said['first_byte_p50'])}, p95 {_time(said['first_byte_p95'])}   "
        f"own part p95 {_time(said['overhead_p95'])}",
    ]
    text = Text("\n".join(lines))
    if said["ledger_full"]:
        text.append("\nrequests are refused: usage rows cannot be kept", style="bold red")
    elif said["ledger_lag"] > 5:
        text.append(f"\nthe usage log is {said['ledger_lag']:.0f} s behind", style="yellow")
    return text


def _keys(seen: Between) -> Table:
    from rich.text import Text

    table = _table("upstream", "state", "in flight", "req/s", "ok", "again in")
    states = seen.after.of("relayd_upstream_key_state")
    for labels, value in states:
        if not value:
            continue
        key = {"upstream": labels["upstream"], "key": labels["key"]}
        attempts = "relayd_upstream_attempts_total"
        asked = seen.grown(attempts, **key)
        good = seen.grown(attempts, **key, result="ok")
        cooldown = seen.after.total("relayd_upstream_key_cooldown_seconds", **key)
        state = labels["state"]
        table.add_row(
            f"{key['upstream']}/{key['key']}",
            Text(state.replace("_", " "), style=COLOURS.get(state, "red")),
            f"{seen.after.total('relayd_upstream_key_in_flight', **key):.0f}",
            f"{asked / seen.seconds:.2f}",
            f"{good / asked:.0%}" if asked else "-",
            _span(cooldown) if cooldown else "-",
        )
    return table


def _models(seen: Between) -> Table:
    table = _table("model", "req/s", "failed", "in tok/s", "out tok/s", "$/h")
    requests, tokens = "relayd_requests_total", "relayd_tokens_total"
    names = seen.after.values(requests, "model")
    ranked = sorted(names, key=lambda name: -seen.grown(requests, model=name))
    for name in ranked[:MOST_MODELS]:
        failed = sum(seen.grown(requests, model=name, outcome=outcome) for outcome in FAILED)
        table.add_row(
            name or "(none that is known)",
            f"{seen.rate(requests, model=name):.2f}",
            f"{failed:.0f}",
            f"{_sum(seen, tokens, name, ('input', 'cache_read', 'cache_write')):.0f}",
            f"{_sum(seen, tokens, name, ('output',)):.0f}",
            f"{3600 * seen.rate('relayd_cost_dollars_total', model=name):.2f}",
        )
    return table


def _sum(seen: Between, series: str, model: str, kinds: Iterable[str]) -> float:
    return sum(seen.rate(series, model=model, kind=kind) for kind in kinds)


def _table(*titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        words = title in ("upstream", "state", "model")
        table.add_column(title, justify="left" if words else "right", no_wrap=True)
    return table


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _span(seconds: float) -> str:
    """`3 days, 1:02:03`, `0:00:12`; never is a dash."""
    return str(timedelta(seconds=round(seconds))) if math.isfinite(seconds) else "never"


def _time(seconds: float | None) -> str:
    """At most so long, as the buckets say."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "more than 10 min"
    return f"<={seconds * 1000:g} ms" if seconds < 1 else f"<={seconds:g} s"
