"""The script of outages: what fails, one phase after another, with time to recover in between.

A phase has three parts: a lead of calm, the outage, and as long again in which everything is well.
At any time at least one upstream of each model (or of its fallback) is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.outage.world import Trouble

LEAD = 0.05  # shares of a phase
OUTAGE = 0.45

OUTAGES: Sequence[tuple[str, tuple[Trouble, ...]]] = (
    ("connection refused", (Trouble("refuses connections", "north"),)),
    ("silent", (Trouble("silent", "south"),)),
    ("50 % errors", (Trouble("50 % errors", "east"),)),
    ("slow, x20", (Trouble("slow", "north"),)),
    ("429, 20 s told", (Trouble("429, 20 s told", "south"),)),
    ("429, nothing told", (Trouble("429, nothing told", "east"),)),
    ("flapping, refused", (Trouble("refuses connections", "north", period=4.0),)),
    ("flapping, errors", (Trouble("errors", "south", period=3.0),)),
    ("a key refused, 401", (Trouble("401", "south", key="1"),)),
    ("a key fails", (Trouble("errors", "east", key="2"),)),
    ("two of three down", (Trouble("refuses connections", "east"), Trouble("errors", "south"))),
    ("first URL down", (Trouble("refuses connections", "north", site=0),)),
    ("no new connections", (Trouble("no new connections", "south"),)),
)


class Phase(NamedTuple):
    """An outage in its place.

    Arguments:
        start, begin, end, over: when the phase, the outage, the recovery begin; when all ends.
    """

    name: str
    troubles: tuple[Trouble, ...]
    start: float
    begin: float
    end: float
    over: float


def phases(seconds: float) -> list[Phase]:
    """The whole script, in `seconds`."""
    length = seconds / len(OUTAGES)
    starts = [length * place for place in range(len(OUTAGES))]
    return [
        Phase(
            name,
            troubles,
            start,
            start + LEAD * length,
            start + (LEAD + OUTAGE) * length,
            start + length,
        )
        for start, (name, troubles) in zip(starts, OUTAGES, strict=True)
    ]
