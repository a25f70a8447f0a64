"""Numbers that grow, cheaply, and the text that a scrape makes of them.

prometheus_client's own counters take a lock and a float object per increment, and a request touches
twenty of them; its page takes 30 us a line, and is made on the loop that all streams run on. So a
request adds to plain numbers, and the page is written from them: 0.5 us a line (`make metrics`).
What the process itself tells is still the library's.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Final

from relayd.metrics.catalogue import BY_NAME, Family

MOST_SERIES: Final = 1000  # of one counter; labels are bounded anyway, this is the fuse
OTHER: Final = "other"
# Seconds: of whole requests, between two tokens, of sessions, of our own work.
LONG: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
BETWEEN: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
HOURS: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200)
SHORT: Final = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1),
)

Labels = tuple[str, ...]


class Spread:
    """A histogram of seconds. `bounds` ascend."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LONG) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<Spread of {sum(self.counts)}>"

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.total += seconds
        self.counts[bisect_left(self.bounds, seconds)] += 1


class Counts:
    """A counter's numbers by its labels. The fuse: beyond `most` series all is one, `other`."""

    __slots__ = ("_most", "_numbers")

    def __init__(self, most: int = MOST_SERIES) -> None:
        self._most = most
        self._numbers: dict[Labels, float] = {}

    def __repr__(self) -> str:
        return f"<Counts of {len(self._numbers)} series>"

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count `amount` more."""
        numbers = self._numbers
        if labels not in numbers and len(numbers) >= self._most:
            labels = (OTHER,) * len(labels)
        numbers[labels] = numbers.get(labels, 0) + amount

    def items(self) -> Iterable[tuple[Labels, float]]:
        """All of them, by labels."""
        return self._numbers.items()


def simple(name: str, numbers: Iterable[tuple[Labels, float]]) -> str:
    """A counter or gauge of the catalogue, as text."""
    head = _head(BY_NAME[name])
    return head + "".join([f"{_named(name, labels)} {_number(n)}\n" for labels, n in numbers])


def histogram(name: str, spreads: Mapping[Labels, Spread]) -> str:
    """A histogram of the catalogue, as text; what nothing was counted in is left out."""
    family = BY_NAME[name]
    pieces = [_head(family)]
    for labels, spread in spreads.items():
        so_far = tuple(accumulate(spread.counts))
        if so_far[-1]:
            template = _template(family, labels, spread.bounds)
            pieces.append(template % (*so_far, _number(spread.total), so_far[-1]))
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _template(family: Family, labels: Labels, bounds: tuple[float, ...]) -> str:
    """All lines of one histogram but their numbers. Remembered, as most are the same ones at every
    scrape."""
    name, inner = family.name, _joined(family.labels, labels).replace("%", "%%")
    bucket = f"{name}_bucket{{{inner}," if inner else f"{name}_bucket{{"
    braced = f"{{{inner}}}" if inner else ""
    lines = [f'{bucket}le="{bound}"}} %d\n' for bound in _bounds(bounds)]
    return "".join([*lines, f"{name}_sum{braced} %s\n", f"{name}_count{braced} %d\n"])


def _head(family: Family) -> str:
    return f"# HELP {family.name} {family.text}\n# TYPE {family.name} {family.kind}\n"


@lru_cache(maxsize=8)
def _bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*(repr(float(bound)) for bound in bounds), "+Inf")


@lru_cache(maxsize=65_536)
def _named(name: str, values: Labels) -> str:
    """A series with its labels. Remembered: most are the same ones at every scrape."""
    names = BY_NAME[name].labels
    return f"{name}{{{_joined(names, values)}}}" if names else name


def _joined(names: Labels, values: Labels) -> str:
    """`a="1",b="2"`."""
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(number: float) -> str:
    if number.__class__ is int:
        return str(number)
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return str(int(number)) if number == int(number) else repr(number)
