"""How often a webhook gets a message: a few at once, then one in a while.

A bucket of `burst` messages, of which one more is there every `pace` seconds. The last `reserved`
of them are for critical news, so that it waits for nobody: it is told at once even when much that
matters less was told just before.
"""

from __future__ import annotations


class Pace:
    """One webhook's. Owns how many messages are left.

    Arguments:
        burst: messages at once, when none was sent for a while.
        reserved: of these, for critical news only.
        pace: seconds in which there is one more.
        now: the beginning, in seconds.
    """

    def __init__(self, burst: int, reserved: int, pace: float, now: float) -> None:
        self._burst, self._reserved, self._pace = burst, reserved, pace
        self._left = float(burst)
        self._at = now

    def __repr__(self) -> str:
        return f"<Pace {self._left:.1f} of {self._burst}>"

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until the next message may be sent."""
        if self._pace:
            self._left = min(self._left + (now - self._at) / self._pace, float(self._burst))
        self._at = now
        needed = 1 if urgent else 1 + self._reserved
        # A hair less will do: what is waited for must have come about when the wait is over.
        return max((needed - self._left) * self._pace, 0.0) if self._left < needed - 1e-6 else 0.0

    def take(self) -> None:
        """A message is sent; whoever goes ahead of its time owes nothing."""
        self._left = max(self._left - 1, 0.0)
