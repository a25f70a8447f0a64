"""When a target is left alone: a circuit breaker, closed -> open -> half open -> closed or open.

Closed, all pass and failures are counted: as a share of the requests in a sliding window, once
there are enough of them to say something, and in a row. Open, nobody passes until a moment that
lies further away with each failed probe; it is jittered, so that targets that fell together are not
probed together. Half open, a few requests pass as probes: the first that succeeds closes, one that
fails opens again. What a flapping target has earned in open time is forgotten only after it was
well for a whole window.

A request outlives changes of state, so each is given the generation that it entered in and reports
with it: what began before the breaker opened says nothing about the target as it is now. Each
probe is a generation of its own, and so gives back its own place and nobody else's.

Which answers are failures is the caller's knowledge. A client that leaves is none, and no success.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from relayd.policy.windows import Window
from relayd.routing import BreakerRules

State = Literal["closed", "open", "half_open"]

SLOTS = 10


class Breaker:
    """One target's. Owns its state, counts and probe places.

    Arguments:
        rules: when it opens, and for how long.
        rng: where the jitter comes from.

    `state` and `until` are to be read only. `until` is 0.0 when closed, else the moment before
    which nobody passes; when half open that moment is past. `generation` is the newest one given.
    """

    __slots__ = (
        "_closed_at",
        "_failures",
        "_free_from",
        "_in_a_row",
        "_open_for",
        "_places",
        "_requests",
        "_rng",
        "_rules",
        "generation",
        "state",
        "until",
    )

    def __init__(self, rules: BreakerRules, rng: Random) -> None:
        self._rules = rules
        self._rng = rng
        self.generation = 0
        self.state: str = "closed"
        self.until = 0.0
        self._requests = Window(rules.window / SLOTS, SLOTS)
        self._failures = Window(rules.window / SLOTS, SLOTS)
        self._in_a_row = 0
        self._open_for = rules.open_for
        self._closed_at = 0.0
        # The probes that are under way, oldest first: generation -> when its place is free again.
        self._places: dict[int, float] = {}
        self._free_from = 0.0  # when a place is free again, if all are taken

    def __repr__(self) -> str:
        until = f" until={self.until:.1f}" if self.state == "open" else ""
        probes = f" probes={len(self._places)}" if self.state == "half_open" else ""
        failures = f"{self._failures.counted}/{self._requests.counted}"
        return f"<Breaker {self.state}{until}{probes} failures={failures}>"

    def allows(self, now: float) -> bool:
        """Whether a request may enter. Changes nothing."""
        return now >= self.until and now >= self._free_from

    def enter(self, now: float) -> int:
        """A request goes through: the generation for its report.

        One that enters though it is not allowed goes unnoticed: its report is ignored.
        """
        if not self.until:
            return self.generation
        if not self.allows(now):
            self.generation += 1
            return self.generation
        if self.state == "open":
            self._become("half_open", self.until)
        self.generation += 1
        if len(self._places) >= self._rules.probes:
            del self._places[next(iter(self._places))]
        # A probe that never reports must not hold its place for ever.
        self._places[self.generation] = now + self._rules.longest
        if len(self._places) >= self._rules.probes:
            self._free_from = next(iter(self._places.values()))
        return self.generation

    def succeed(self, generation: int, now: float) -> None:
        """The request that entered as `generation` was answered well."""
        if generation in self._places:
            self._close(now)
        elif generation == self.generation and not self.until:
            self._requests.add(1, now)
            self._in_a_row = 0

    def fail(self, generation: int, now: float, *, at_once: bool = False) -> None:
        """The request that entered as `generation` failed.

        Arguments:
            at_once: the failure says by itself that the next request would fail too.
        """
        if generation in self._places:
            self._open_for = min(self._open_for * 2, self._rules.longest)
            self._open(now)
        elif generation == self.generation and not self.until:
            self._requests.add(1, now)
            self._failures.add(1, now)
            self._in_a_row += 1
            if self._rules.enabled and (at_once or self._has_enough(now)):
                if now - self._closed_at >= self._rules.window:
                    self._open_for = self._rules.open_for
                self._open(now)

    def leave(self, generation: int) -> None:
        """The request that entered as `generation` says nothing of the target; its place is free.

        A client left, the target asked for patience, another attempt was faster.
        """
        if generation in self._places:
            del self._places[generation]
            self._free_from = 0.0

    def reset(self) -> None:
        """The operator says that it is well: closed, nothing is remembered."""
        self._open_for = self._rules.open_for
        self._close(0.0)

    @property
    def failures(self) -> int:
        """How many it counts, in the window before it opened."""
        return self._failures.counted

    def opened_for(self) -> float:
        """Seconds of the open time now in force, before jitter; a failed probe doubles it."""
        return self._open_for

    def _has_enough(self, now: float) -> bool:
        rules = self._rules
        if self._in_a_row >= rules.consecutive:
            return True
        requests = self._requests.total(now)
        return requests >= rules.volume and self._failures.total(now) >= rules.ratio * requests

    def _open(self, now: float) -> None:
        jittered = self._open_for * self._rng.uniform(0.9, 1.1)
        self._become("open", now + min(jittered, self._rules.longest))

    def _close(self, now: float) -> None:
        self._closed_at = now
        self._in_a_row = 0
        self._requests.clear()
        self._failures.clear()
        self._become("closed", 0.0)

    def _become(self, state: State, until: float) -> None:
        self.generation += 1
        self._places.clear()
        self._free_from = 0.0
        self.state, self.until = state, until
