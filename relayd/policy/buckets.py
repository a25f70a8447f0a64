"""What may still be taken of a rate: a minute's window for upstreams, a filling bucket for clients.

`MinuteWindow` is what an upstream key may still take, counted second by second. Providers say "500
requests a minute" and mean differing things; a window that slides is within all of them. What was
taken counts until its whole second is more than a minute old, so no sixty seconds ever hold more
than the limit, and up to one second of it is given away for that. Tokens are taken by an estimate,
and corrected when the truth is known, in the second in which they were taken.

What is larger than the limit would never fit; it is let through when nothing else is inside.

`TokenBucket` is what a client of ours may still take. It fills at its rate up to its burst, so a
quiet client may come at once and a busy one is spread evenly; its wait is the exact time until
there is enough. Its state is one number, the moment at which it will be full: nothing has to be
counted up when time passes.
"""

from __future__ import annotations

from typing import NamedTuple

from relayd.policy.windows import Window

MINUTE = 60
ROUNDING = 1e-6  # seconds by which a client that waited exactly may seem too early


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


class Level(NamedTuple):
    """How a limit stands: per minute, what may be taken now, seconds until that is all again."""

    limit: int
    remaining: int
    reset: float


class TokenBucket:
    """Fills by `per_minute`, holds the worth of `burst` seconds. Owns how full it is; starts full.

    Arguments:
        per_minute: 1 or more; less counts as 1.
        burst: seconds; a bucket holds at least one.
    """

    __slots__ = ("_burst", "_full_at", "_rate", "per_minute")

    def __init__(self, per_minute: int, burst: float = 60.0) -> None:
        self.per_minute = max(per_minute, 1)
        self._rate = self.per_minute / MINUTE
        self._burst = max(burst, 1.0 / self._rate)
        self._full_at = float("-inf")

    def __repr__(self) -> str:
        return f"TokenBucket({self.per_minute}/min, full at {self._full_at:.3f})"

    def fits(self, n: int, now: float) -> bool:
        """Whether `n` may be taken now. More than the bucket holds may be when it is full."""
        lacking = self._full_at - now
        return lacking <= ROUNDING or lacking + n / self._rate <= self._burst + ROUNDING

    def take(self, n: int, now: float) -> None:
        """Take `n`, whether it fits or not."""
        full_at = self._full_at
        self._full_at = (full_at if full_at > now else now) + n / self._rate

    def wait(self, n: int, now: float) -> float:
        """Seconds until `n` fits, if nobody takes any meanwhile."""
        lacking = self._full_at - now
        return max(0.0, min(lacking, lacking + n / self._rate - self._burst))

    def adjust(self, delta: int, now: float) -> None:
        """The truth about what was taken: `delta` more, or less when negative.

        The bucket may owe for it; what is given back to a full one is lost.
        """
        start = max(self._full_at, now) if delta > 0 else self._full_at
        self._full_at = start + delta / self._rate

    def standing(self, now: float) -> Level:
        """How it stands, for headers: of a large burst, no more than a minute's is shown."""
        lacking = max(self._full_at - now, 0.0)
        left = int((self._burst - lacking + ROUNDING) * self._rate)
        return Level(self.per_minute, max(0, min(left, self.per_minute)), lacking)
