"""How fast a target answers: one number to choose by, and quantiles to decide how long to wait.

To choose, the peak-sensitive average of Finagle and linkerd: a slow answer counts in full at once,
faster ones bring the number down slowly, and so does time, so that a target that was avoided for
being slow is tried again. To wait, a histogram of buckets that grow by a fifth: 84 counts, whatever
comes, and a quantile that is never below the true one of what is remembered, nor more than a fifth
above it. When a thousand are counted all counts are halved: old answers fade.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

# Upper bounds in seconds: 1 ms, then a fifth more each time, until an hour.
_BOUNDS = (*(0.001 * 1.2**i for i in range(83)), 3600.0)
_LAST = len(_BOUNDS) - 1

ENOUGH = 20
MOST = 1000


class PeakEwma:
    """The time that an answer takes, as one number. Owns it.

    Arguments:
        half_life: seconds in which what is known loses half of its weight.
    """

    __slots__ = ("_at", "_half_life", "_value")

    def __init__(self, half_life: float = 10.0) -> None:
        self._half_life = half_life
        self._value = 0.0
        self._at = 0.0

    def __repr__(self) -> str:
        return f"PeakEwma({self._value:.3f} s at {self._at:.1f})"

    def observe(self, seconds: float, now: float) -> None:
        """An answer took so long."""
        if seconds >= self._value:
            self._value = seconds
        else:
            self._value = seconds + (self._value - seconds) * self._fading(now)
        self._at = now

    def value(self, now: float) -> float:
        """Seconds to expect; 0.0 when nothing is known, towards it when nothing came for long."""
        return self._value * self._fading(now) if self._value else 0.0

    def _fading(self, now: float) -> float:
        return math.exp2((self._at - now) / self._half_life)


class Quantiles:
    """How long most answers take. Owns the counts."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._total = 0

    def __repr__(self) -> str:
        half, most = self.quantile(0.5), self.quantile(0.95)
        if half is None or most is None:
            return f"Quantiles({self._total} observations)"
        return f"Quantiles(p50={half:.3f} s, p95={most:.3f} s)"

    def observe(self, seconds: float) -> None:
        """An answer took so long; over an hour is an hour."""
        self._counts[bisect_left(_BOUNDS, seconds, 0, _LAST)] += 1
        self._total += 1
        if self._total > MOST:
            self._counts = [count >> 1 for count in self._counts]
            self._total = sum(self._counts)

    def quantile(self, q: float) -> float | None:
        """Seconds within which a share `q` of the answers came; None while too few are known."""
        if self._total < ENOUGH:
            return None
        up_to = list(accumulate(self._counts))
        return _BOUNDS[bisect_left(up_to, max(1, q * self._total))]
