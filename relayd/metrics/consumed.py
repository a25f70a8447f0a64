"""What requests consumed, by model rule and upstream: tokens, what is not billed by tokens, money.

Tokens have five kinds that every text request has. The rest (pictures, seconds of audio, tokens
that stood for media) most requests have none of, so that they cost them a few comparisons, and a
series is made when the first one comes. Names that upstreams choose, such as those of their tools,
become no label: all uses of such tools are one unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from relayd.metrics.series import Labels, simple
from relayd.model import Entry, Usage
from relayd.money import DOLLAR

UNITS: Final = ("images", "audio_seconds", "characters", "searches", "tool_uses")
# Tokens of media: parts of the input and of the output.
MEDIA: Final = ("in_audio", "in_image", "in_video", "out_audio", "out_image")
_SAID: Final = {"in": "input", "out": "output"}


class Consumption:
    """What one model rule at one upstream consumed."""

    __slots__ = (
        *("cache_read", "cache_write", "cost", "input", "media", "output", "reasoning"),
        *("uncharged", "units"),
    )

    KINDS = ("input", "cache_read", "cache_write", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.cache_read = self.cache_write = self.output = self.reasoning = 0
        self.cost = self.uncharged = 0  # pico-dollars
        self.units: dict[str, float] = {}
        self.media: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Consumption {self.input} in, {self.output} out>"

    def add(self, entry: Entry) -> None:
        """Count one request's tokens, units and cost; unknown counts as nothing."""
        usage = entry.usage
        self.input += usage.in_uncached or 0
        self.cache_read += usage.cache_read or 0
        self.cache_write += usage.cache_write
        self.output += usage.out_total or 0
        self.reasoning += usage.reasoning or 0
        self.cost += entry.cost
        self.uncharged += entry.uncharged
        if usage.images or usage.audio_ms or usage.characters or usage.searches:
            self._add_units(usage)
        elif usage.server_tools:
            self._add_units(usage)
        if usage.in_image or usage.in_audio or usage.out_image or usage.out_audio or usage.in_video:
            for name in MEDIA:
                if number := getattr(usage, name):
                    self.media[name] = self.media.get(name, 0) + number

    def _add_units(self, usage: Usage) -> None:
        used = sum(usage.server_tools.values())
        heard = (usage.audio_ms or 0) / 1000
        counts = (usage.images, heard, usage.characters, usage.searches, used)
        for unit, number in zip(UNITS, counts, strict=True):
            if number:
                self.units[unit] = self.units.get(unit, 0) + number


Consumed = Mapping[Labels, Consumption]


def collect(consumed: Consumed) -> Iterator[str]:
    """The text of it; the labels are those of a model."""
    yield simple(
        "relayd_tokens_total",
        (
            ((*model, kind), getattr(one, kind))
            for model, one in consumed.items()
            for kind in Consumption.KINDS
        ),
    )
    yield simple(
        "relayd_media_tokens_total",
        (
            ((*model, *_side_and_kind(name)), number)
            for model, one in consumed.items()
            for name, number in one.media.items()
        ),
    )
    yield simple(
        "relayd_units_total",
        (
            ((*model, unit), number)
            for model, one in consumed.items()
            for unit, number in one.units.items()
        ),
    )
    yield simple("relayd_cost_dollars_total", _dollars(consumed, "cost"))
    yield simple("relayd_uncharged_dollars_total", _dollars(consumed, "uncharged"))


def _side_and_kind(name: str) -> tuple[str, str]:
    side, _, kind = name.partition("_")
    return _SAID[side], kind


def _dollars(consumed: Consumed, what: str) -> Iterator[tuple[Labels, float]]:
    for model, one in consumed.items():
        yield model, getattr(one, what) / DOLLAR
