"""Counts over the last so many seconds, in a ring of slots: bounded memory, no list of events.

The clock is cut into slots of equal width, and a count belongs to the slot in which it came. When
the clock enters a slot, the one that fell off the far end is emptied; the total is kept beside, so
that reading it walks nothing. What came in the oldest slot leaves all at once: the window is as
long as its slots, less the part of the newest that is still to come.

A clock that stands or runs backwards counts into the newest slot.
"""

from __future__ import annotations


class Window:
    """A sliding count. Owns its slots.

    Arguments:
        width: seconds of one slot.
        slots: how many there are, with the one that is filling.
    """

    __slots__ = ("_counts", "_newest", "_total", "_width")

    def __init__(self, width: float, slots: int) -> None:
        self._width = width
        self._counts = [0] * slots
        self._newest = 0
        self._total = 0

    def __repr__(self) -> str:
        return f"Window({self._total} in {len(self._counts)} slots of {self._width:g} s)"

    @property
    def counted(self) -> int:
        """The total when it was last asked or added to."""
        return self._total

    def add(self, n: int, now: float) -> None:
        """Count `n` now."""
        slot = int(now / self._width)
        if slot != self._newest:
            self._advance(slot)
        self._counts[self._newest % len(self._counts)] += n
        self._total += n

    def total(self, now: float) -> int:
        """How many came in the window that ends now."""
        slot = int(now / self._width)
        if slot != self._newest:
            self._advance(slot)
        return self._total

    def amend(self, delta: int, then: float, now: float) -> None:
        """Correct what came `then` by `delta`; nothing if that has left, and no slot below 0."""
        self.total(now)
        slot = int(then / self._width)
        if self._newest - len(self._counts) < slot <= self._newest:
            place = slot % len(self._counts)
            delta = max(delta, -self._counts[place])
            self._counts[place] += delta
            self._total += delta

    def leaves(self, n: int) -> float:
        """The moment when `n` of the total, which is at least that, will have left."""
        size = len(self._counts)
        slot = self._newest - size
        while n > 0:
            slot += 1
            n -= self._counts[slot % size]
        return (slot + size) * self._width

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * len(self._counts)
        self._total = 0

    def _advance(self, slot: int) -> None:
        """Let the clock enter `slot`, and empty all slots that this passes."""
        counts, size = self._counts, len(self._counts)
        if slot >= self._newest + size:
            self.clear()
        else:
            for passed in range(self._newest + 1, slot + 1):
                self._total -= counts[passed % size]
                counts[passed % size] = 0
        self._newest = max(self._newest, slot)
