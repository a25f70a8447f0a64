"""What all readers share: numbering blocks, and closing the ones that nobody closed.

A reader says what it found; `Blocks` writes it down as events that obey the order of `events`.
"""

from __future__ import annotations

from typing import Final

from relayd.wire.events import (
    MOST_CHOICES,
    Close,
    Delta,
    Event,
    Events,
    Failure,
    Open,
    Rest,
    Seal,
)
from relayd.wire.parts import Carrier, Part

MOST_BLOCKS: Final = 10_000


class Blocks:
    """Numbers blocks in the order in which they open. Owns the events that are not taken yet."""

    __slots__ = ("_next", "_open", "events", "failed")

    def __init__(self) -> None:
        self.events: Events = []
        self._next = 0
        self._open: dict[int, Part] = {}
        self.failed = False  # nothing comes behind a failure

    def __repr__(self) -> str:
        return f"<Blocks {self._next} open={sorted(self._open)} waiting={len(self.events)}>"

    def take(self) -> Events:
        """What was written down since the last time."""
        events, self.events = self.events, []
        return events

    def add(self, event: Event) -> None:
        """Write down what is no block."""
        self.events.append(event)

    def fail(self, failure: Failure) -> None:
        """The reply ends here; whoever reads on asks `failed`."""
        if not self.failed:
            self.failed = True
            self.events.append(failure)

    def open(self, part: Part, choice: int = 0) -> int:
        """Begin a block; returns its number."""
        block = self._next
        if block >= MOST_BLOCKS or not 0 <= choice < MOST_CHOICES:
            raise OverflowError("The upstream's reply has too many parts.")
        self._next += 1
        self._open[block] = part
        self.events.append(Open(block, part, choice))
        return block

    def text(self, block: int, text: str) -> None:
        """Say more in a block; nothing at all is no event."""
        if text:
            self.events.append(Delta(block, text))

    def seal(self, block: int, carrier: Carrier) -> None:
        """A block's carrier is known."""
        self.events.append(Seal(block, carrier))

    def close(self, block: int, rest: Rest | None = None) -> None:
        """End a block, unless it has ended."""
        if self._open.pop(block, None) is not None:
            self.events.append(Close(block, rest or {}))

    def close_all(self) -> None:
        """End all that are open, in order."""
        for block in sorted(self._open):
            self.close(block)

    def whole(self, part: Part, text: str = "", choice: int = 0) -> None:
        """A block at once."""
        block = self.open(part, choice)
        self.text(block, text)
        self.close(block)
