"""What stands in the way: gates, each of one model at one upstream key, and sites, the base URLs.

A gate holds a circuit breaker, a cool-down, and whether the provider refuses the model there. A
site has a breaker alone: either it can be connected to, or not.
"""

from __future__ import annotations

import math
from typing import Literal

from relayd.policy.breakers import Breaker

FIRST_COOLDOWN = 1.0  # seconds, for a rate limit that does not say how long; doubled each time
LONGEST_UNTOLD = 60.0
NOT_NOW = -1.0

GateState = Literal["up", "cooling", "open", "half_open", "refused"]


class Gate:
    """What one key has to say about one model: its breaker, its cool-down, a refusal."""

    __slots__ = ("_untold", "breaker", "cooled_until", "refused", "why")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.cooled_until = 0.0
        self.refused = False
        self.why = ""
        self._untold = 0

    def __repr__(self) -> str:
        cooled = f" cooled until {self.cooled_until:g}" if self.cooled_until else ""
        return f"<Gate {self.breaker!r}{cooled}{' refused' if self.refused else ''}>"

    def blocked(self, now: float) -> float:
        """0 when a request may pass, else until when not; -1 where no time is known."""
        if self.refused:
            return math.inf
        if now < self.cooled_until:
            return max(self.cooled_until, self.breaker.until)
        if self.breaker.allows(now):
            return 0.0
        return self.breaker.until if self.breaker.until > now else NOT_NOW

    def cool(self, wait: float | None, longest: float, now: float) -> None:
        """A rate limit: nobody passes for `wait` seconds, or a while that grows when none is
        told."""
        if not wait:  # none told, or 0, which from one that has just refused means as little
            if now < self.cooled_until:
                return  # of a burst: it began before the limit was known, and says nothing new
            wait = min(FIRST_COOLDOWN * 2.0**self._untold, LONGEST_UNTOLD)
            self._untold = min(self._untold + 1, 10)
        self.cooled_until = max(self.cooled_until, now + min(wait, longest))
        self.why = "rate limit"

    def well(self) -> None:
        """A reply came: limits that were not told begin small again."""
        self._untold = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing but a rate limit may be against it."""
        return not self.refused and self.breaker.state == "closed"

    def state(self, now: float) -> GateState:
        """In one word."""
        if self.refused:
            return "refused"
        if now < self.cooled_until:
            return "cooling"
        kind = self.breaker.state
        return "up" if kind == "closed" else "open" if kind == "open" else "half_open"

    def reset(self) -> None:
        """The operator says that all is well."""
        self.breaker.reset()
        self.cooled_until, self.refused, self.why = 0.0, False, ""
        self._untold = 0


class Site:
    """One base URL of an upstream, as far as connecting to it goes."""

    __slots__ = ("breaker", "why")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.why = ""

    def __repr__(self) -> str:
        return f"<Site {self.breaker!r}>"
