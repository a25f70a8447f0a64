"""What an upstream key may still take this minute: requests or tokens, counted second by second.

Providers say "500 requests a minute" and mean differing things; a window that slides is within all
of them. What was taken counts until its whole second is more than a minute old, so no sixty seconds
ever hold more than the limit, and up to one second of it is given away for that. Tokens are taken
by an estimate, and corrected when the truth is known, in the second in which they were taken.

What is larger than the limit would never fit; it is let through when nothing else is inside.
"""

from __future__ import annotations

from relayd.policy.windows import Window

MINUTE = 60


class MinuteWindow:
    """At most `limit` in any sixty seconds. Owns what was taken.

    Arguments:
        limit: 1 or more.
    """

    __slots__ = ("_limit", "_taken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = Window(1.0, MINUTE + 1)  # with the second that is filling

    def __repr__(self) -> str:
        return f"MinuteWindow({self._taken.counted}/{self._limit})"

    def fits(self, n: int, now: float) -> bool:
        """Whether `n` more may be taken now."""
        used = self._taken.total(now)
        return used + n <= self._limit or not used

    def take(self, n: int, now: float) -> None:
        """Take `n`, whether it fits or not."""
        self._taken.add(n, now)

    def wait(self, n: int, now: float) -> float:
        """Seconds until `n` would fit, if nobody takes any meanwhile."""
        if self.fits(n, now):
            return 0.0
        used = self._taken.total(now)
        moment = self._taken.leaves(min(used, used + n - self._limit))
        # The moment is a whole number: `now` and this, added again, round to it and not below.
        return moment - now

    def adjust(self, delta: int, taken_at: float, now: float) -> None:
        """The truth about what was taken at `taken_at`: `delta` more, or less when negative."""
        self._taken.amend(delta, taken_at, now)

    def used(self, now: float) -> int:
        """How much is taken at present."""
        return self._taken.total(now)
