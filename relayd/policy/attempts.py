"""One request's way through the upstreams: who is asked next, and when it is enough.

The order: other targets of the pool (its tiers in turn), then the models named as fallbacks (each
with as many attempts again), then, where there is nobody else, the same target once more after a
short rest. Before each further attempt four questions are asked: can another attempt heal a failure
of this kind (`RETRIED`), are attempts left, is there time left, and does the retry budget allow it.
An upstream that cannot be told what the client asks (`pass_over`) was not asked: it costs nothing.
Pure: the relay and the simulation of outages walk the same way.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from relayd.errors import (
    AllFull,
    BadReply,
    BadStatus,
    ConnectFailed,
    NoAnswer,
    NoUpstream,
    RelayError,
)
from relayd.policy.lease import Lease
from relayd.policy.pool import Target, Wanted
from relayd.policy.pools import Pools, Route

# Which failures another attempt can heal. A status that is not here is everybody's answer.
RETRIED: tuple[type[RelayError], ...] = (
    ConnectFailed,
    NoAnswer,
    BadReply,
    NoUpstream,  # this upstream's connections are used up, not another's
)
RETRIED_STATUSES = frozenset(
    {401, 402, 403, 408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
)
# After these, asking the same target again can help: it answered, and quickly.
REPEATED_STATUSES = frozenset({500, 502, 503, 529})
REST = (0.1, 0.3)  # seconds, drawn between, before the same target is asked again


def retried(error: RelayError) -> bool:
    """Whether another attempt can heal this failure."""
    if isinstance(error, BadStatus):
        # A reworded 400 (a bad key in Gemini's words) is a refusal of our credential, too.
        return error.upstream_status in RETRIED_STATUSES or error.code == "upstream_credential"
    return isinstance(error, RETRIED)


class Attempts:
    """The attempts of one request.

    Arguments:
        pools: who can be asked.
        routes: that of the model asked for, then those of its fallbacks.
        wanted: what choosing must know of the request.
        rng: draws the rest before a repetition.
        never: targets that are not to be asked, of the first route.
        repeatable: False where the request must not reach an upstream twice.

    `route` is how the model that is now asked for is served; `fell_back` is whether that is another
    than the one asked for.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_failed",
        "_passed_over",
        "_pools",
        "_repeat",
        "_repeatable",
        "_rng",
        "_routes",
        "_started",
        "_tried",
        "count",
        "fell_back",
        "route",
        "wanted",
    )

    def __init__(
        self,
        pools: Pools,
        routes: Sequence[Route],
        wanted: Wanted,
        rng: random.Random,
        *,
        never: Sequence[Target] = (),
        repeatable: bool = True,
    ) -> None:
        self._pools = pools
        self._routes = routes
        self.route = routes[0]
        self._rng = rng
        self.wanted = wanted
        self.fell_back = False
        self._at = 0
        self._asked = 0  # attempts on the present route: the last so many of those tried
        self._started: float | None = None
        self._tried: list[Target] = []
        self._passed_over: list[Target] = list(never)  # of the present route
        self._repeatable = repeatable
        self._repeat = False
        self._failed: RelayError | None = None
        self.count = 0

    def __repr__(self) -> str:
        return f"<Attempts {self.count} tried={self._tried} at={self.route.asked}>"

    @property
    def fallbacks(self) -> list[str]:
        """The models that may answer instead of the one asked for."""
        return [route.asked for route in self._routes[1:]]

    def next(self, now: float) -> Lease:
        """The next to ask.

        Raises: what the last attempt failed with, or NoUpstream (AllFull) when none could be made.
        """
        if self._started is not None or len(self._routes) > 1 or self._passed_over:
            lease = self._first_of_routes(now)
        else:
            lease = self._pools.choose(self.route, self.wanted, now)
        if self._started is None:
            self._started = now
            self._pools.budget.request(now)
        self._took(lease)
        return lease

    def another(self, now: float) -> Lease | None:
        """A second one to ask at the same time (hedging); None when nobody is free or it would go
        beyond the budget, or the number of attempts."""
        pools = self._pools
        if self._asked >= pools.routing.retries.attempts or not pools.budget.allows(now):
            return None
        try:
            lease = pools.choose(self.route, self.wanted, now, self._tried + self._passed_over)
        except NoUpstream:
            return None
        pools.budget.spend(now)
        self._took(lease)
        return lease

    def failed(self, error: RelayError, now: float) -> float | None:
        """What follows a failed attempt: seconds to rest before `next`, or None when it is enough.

        Arguments:
            error: what it failed with; its lease has been told already.
        """
        self._failed = error
        self._repeat = False
        assert self._started is not None
        late = now - self._started >= self._pools.routing.retries.deadline
        late = late or not (self._repeatable or isinstance(error, ConnectFailed))
        if late or not retried(error) or not self._pools.budget.allows(now):
            return None
        rest = 0.0 if self._elsewhere(now) else self._rest(error, now)
        if rest is not None:
            self._pools.budget.spend(now)
        return rest

    def pass_over(self, lease: Lease) -> None:
        """This upstream cannot be told what is asked, nor can any of its keys: it was not asked,
        and `next` asks somebody else."""
        self.count -= 1
        self._asked -= 1
        self._tried.remove(lease.target)
        self._passed_over += [
            (member.door.name, site)
            for member in self.route.pool.members
            if member.door.spec.name == lease.spec.name
            for site in range(len(member.door.sites))
        ]

    @property
    def is_anybody_left(self) -> bool:
        """Whether there is any upstream, well or not, that may still be told what is asked."""
        if self._at + 1 < len(self._routes):
            return True
        never = {door for door, _ in self._passed_over}
        return any(member.door.name not in never for member in self.route.pool.members)

    def _took(self, lease: Lease) -> None:
        self.count += 1
        self._asked += 1
        self._tried.append(lease.target)

    def _first_of_routes(self, now: float) -> Lease:
        """From the first route, from the present on, that has somebody to ask."""
        refusals: list[NoUpstream] = []
        present = self._at
        for at in range(present, len(self._routes)):
            self._turn_to(at)
            try:
                return self._choose(now)
            except NoUpstream as exc:
                refusals.append(exc)
        if self._failed is not None:
            raise self._failed from None
        # Nobody was asked yet, and it may wait: then for any of the models, not for the last.
        self._turn_to(present)
        raise next((exc for exc in refusals if isinstance(exc, AllFull)), refusals[0]) from None

    def _choose(self, now: float) -> Lease:
        here, never = self._tried_here(), self._passed_over
        if len(here) < len(self._tried):
            try:
                return self._pools.choose(self.route, self.wanted, now, self._tried + never)
            except NoUpstream:
                pass  # who failed for another model may still serve this one
        tried = never if self._repeat else here + never
        return self._pools.choose(self.route, self.wanted, now, tried)

    def _tried_here(self) -> list[Target]:
        """Who was tried for the model that is now asked for."""
        return self._tried[len(self._tried) - self._asked :]

    def _elsewhere(self, now: float) -> bool:
        """Turn to the first model for which anybody is left who was not tried."""
        for at in range(self._at, len(self._routes)):
            tried = self._tried_here() if at == self._at else []
            left = len(tried) < self._pools.routing.retries.attempts
            never = self._passed_over if at == self._at else []
            if left and self._pools.free(self._routes[at], self.wanted, now, tried + never):
                self._turn_to(at)
                return True
        return False

    def _rest(self, error: RelayError, now: float) -> float | None:
        """Nobody else is left: may the same one be asked once more, and after how long?"""
        quick = isinstance(error, BadStatus) and error.upstream_status in REPEATED_STATUSES
        quick = quick or (isinstance(error, BadReply | NoAnswer) and error.status == 502)
        tried = self._tried_here()
        twice = len(tried) > len(set(tried))
        if not quick or twice or len(tried) >= self._pools.routing.retries.attempts:
            return None
        if not self._pools.free(self.route, self.wanted, now, self._passed_over):
            return None
        self._repeat = True
        return self._rng.uniform(*REST)

    def _turn_to(self, at: int) -> None:
        if at != self._at:
            self._at, self._asked, self._passed_over = at, 0, []
            self.route = self._routes[at]
            self.fell_back = at > 0
