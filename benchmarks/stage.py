"""What a measurement stands on (the servers, how long to measure), and what it returns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.servers import Server

RELAY_CORE = 0
LOAD_CORE = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much to measure; counts, and seconds.

    Arguments:
        rounds: how often each server takes its turn.
        replies_seconds: of one round of small replies.
        chunks_seconds: of the window over which streamed chunks are counted.
        requests: of the comparison at one connection, per server.
        open_streams: that wait at one time, for memory.
        prompts: large requests, per server.
    """

    rounds: int = 5
    replies_seconds: float = 5.0
    chunks_seconds: float = 5.0
    requests: int = 2000
    open_streams: int = 1000
    prompts: int = 200


QUICK = Sizes(
    rounds=1, replies_seconds=2.0, chunks_seconds=2.0, requests=300, open_streams=1000, prompts=30
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers of one run.

    Arguments:
        folder: for files of the servers that a measurement starts by itself.
        nginx: None where it is not installed.
    """

    folder: Path
    sizes: Sizes
    mock: Server
    relay: Server
    nginx: Server | None

    @property
    def proxies(self) -> list[Server]:
        """The yardstick first, then what is measured; rounds alternate between them."""
        return [*([self.nginx] if self.nginx else []), self.relay]


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that the project promises."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        """For the table of goals."""
        sign = "≥" if self.at_least else "≤"
        limit = f"{sign} {self.limit:,g} {self.unit}"
        return [self.name, f"{self.value:,.4g} {self.unit}", limit, "yes" if self.met else "NO"]


@dataclass(slots=True)
class Section:
    """The outcome of one measurement: a table, its goals, and remarks."""

    title: str
    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self) | {"goals": [asdict(g) | {"met": g.met} for g in self.goals]}


def median(values: Sequence[float]) -> float:
    """The middle value; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Lowest to highest, so that a reader sees how steady the rounds were."""
    return f"{min(values):,.{digits}f}-{max(values):,.{digits}f}"
