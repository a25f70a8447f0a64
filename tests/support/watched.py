"""Metrics that a test fills, and looks at as the commands do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from relayd.cli.looks import Look
from relayd.metrics.collector import Metrics
from relayd.metrics.states import LedgerState, Reloads, Sources
from relayd.model import Entry, Usage
from relayd.money import pico
from relayd.policy.reports import DoorReport

SERVED = Entry(
    "req_1",
    0.0,
    operation="generate",
    format_in="chat",
    format_out="chat",
    upstream="up",
    status=200,
    outcome="ok",
    usage=Usage(in_uncached=10, cache_read=5, out_total=20),
    usage_source="reported",
    first_byte=0.2,
    duration=0.5,
    cost=pico("0.01"),
)
FAILED = replace(SERVED, status=502, outcome="upstream_error", usage_source="none", first_byte=None)
NO_TROUBLE = LedgerState()


def door(key: str, state: str, until: float | None = None, *troubled: str) -> DoorReport:
    models = tuple((f"model-{n}", why, 1.0, "") for n, why in enumerate(troubled))
    return DoorReport("up", key, 1, 1, state, "", until, 2, 0, 0, None, None, None, models)


DOORS = (door("1", "up", None, "open"), door("2", "cooling", 12.0), door("3", "refused"))


class Watched:
    """Metrics that are looked at.

    Arguments:
        ledger: how it does.
        doors: the upstream keys.
    """

    def __init__(
        self, ledger: LedgerState = NO_TROUBLE, doors: tuple[DoorReport, ...] = DOORS
    ) -> None:
        self.lines_lost = self.sessions = 0
        self.reloads = Reloads()
        sources = Sources(
            version="1.2.3",
            doors=lambda: doors,
            ledger=lambda: ledger,
            reloads=lambda: self.reloads,
            lines_lost=lambda: self.lines_lost,
            sessions=lambda: self.sessions,
        )
        self.metrics = Metrics(sources)

    def look(self, moment: float, ended: Iterable[Entry] = ()) -> Look:
        """Look, after these have ended."""
        for entry in ended:
            self.metrics.requests.settle(entry, "fast")
            self.metrics.requests.overhead("chat", 0.0004)
            result = "ok" if entry.outcome == "ok" else "upstream_500"
            self.metrics.requests.attempt("up", "1", result)
        return Look(self.metrics.page().decode(), moment)
