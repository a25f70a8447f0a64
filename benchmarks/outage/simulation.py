"""An hour of traffic in a minute: events in order of time, and nobody waits for the clock.

A request is a generator that yields the seconds until it goes on, so `_ask` reads like the relay's
`_ask` line by line, and drives the same `Pools`, `Attempts` and `Lease`. Everything that is drawn
is drawn from seeded dice: a run can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from benchmarks.outage.books import Books, Recovery, Served
from benchmarks.outage.clients import TOKENS, Clients
from benchmarks.outage.script import Phase, phases
from benchmarks.outage.world import (
    LONGEST_REPLY,
    PROBED_EVERY,
    ROUTING,
    SHARES,
    Fate,
    World,
    specs,
)
from relayd.errors import NoAnswer, NoUpstream, RelayError
from relayd.policy.attempts import Attempts, retried
from relayd.policy.breakers import Breaker
from relayd.policy.doors import Door
from relayd.policy.lease import Lease
from relayd.policy.pools import Pools
from relayd.routing import Routing

HEDGED_QUANTILE = 0.95
LEAVES = 0.005  # share of clients that leave before they are served
PATIENCE = 2.0  # seconds within which they do
LOOK_EVERY = 0.1  # seconds, at doors that are to recover
PICKS = 60  # requests for a model, of which one at least goes to a door that was away
SETTLE = 60.0  # seconds after the end in which what is under way ends

Steps = Generator[float, None, None]


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Arguments:
        rate: requests a second.
        first_byte: the first-byte timeout of all upstreams, in seconds.
    """

    seed: int = 1
    minutes: float = 60.0
    rate: float = 200.0
    first_byte: float = 3.0
    routing: Routing = field(default=ROUTING, repr=False)


class Simulation:
    """One run. Owns the clock.

    Arguments:
        plan: what is simulated.
    """

    def __init__(self, plan: Plan) -> None:
        seconds = plan.minutes * 60
        self._plan = plan
        self._seconds = seconds
        self._dice = random.Random(plan.seed)
        self._clients = Clients(self._dice)
        self._world = World(random.Random(plan.seed + 1))
        self.pools = Pools(specs(plan.first_byte), plan.routing, random.Random(plan.seed + 2))
        script = phases(seconds)
        self.books = Books(script, plan.routing, int(seconds + SETTLE) + 1)
        self._now = 0.0
        self._events: list[tuple[float, int, Steps]] = []
        self._order = 0
        self._step(self._direct(script))
        self._step(self._probe())

    def __repr__(self) -> str:
        return f"<Simulation at {self._now:.1f} s of {self._seconds:g} s>"

    def run(self) -> Books:
        """Let the time pass."""
        coming, dice, rate, events = 0.0, self._dice, self._plan.rate, self._events
        until = self._seconds + SETTLE
        while True:
            if events and events[0][0] < coming:
                self._now, _, steps = heappop(events)
                if self._now > until:
                    break
                self._step(steps)
            elif coming == inf:
                break
            else:
                self._now = coming
                self._step(self._request())
                coming += dice.expovariate(rate)
                if coming >= self._seconds:
                    coming = inf
        self.books.leaks += self._leaks()
        return self.books

    def _step(self, steps: Steps) -> None:
        seconds = next(steps, None)
        if seconds is not None:
            self._order += 1
            heappush(self._events, (self._now + seconds, self._order, steps))

    # --- one request ----------------------------------------------------------------------------

    def _request(self) -> Steps:
        """A client asks. One that leaves does so in the middle of whatever is done for it."""
        dice, served = self._dice, self.books.served
        served.requests += 1
        model, wanted = self._clients.next()
        route = self.pools.route(model, "chat")
        routes = [route, *(self.pools.route(name, "chat") for name in route.fallbacks)]
        attempts = Attempts(self.pools, routes, wanted, dice)
        held: list[Lease] = []
        steps = self._ask(attempts, held, served)
        if dice.random() >= LEAVES:
            return steps
        return self._left(steps, held, served)

    def _left(self, steps: Steps, held: list[Lease], served: Served) -> Steps:
        """Go on with a request until its client leaves."""
        leaves = self._now + PATIENCE * self._dice.random()
        for seconds in steps:
            if self._now + seconds > leaves:
                yield leaves - self._now
                served.left += 1
                for lease in held:
                    self._end(lease, None)
                return
            yield seconds

    def _ask(self, attempts: Attempts, held: list[Lease], served: Served) -> Steps:
        """As the relay does."""
        began = self._now
        problem: RelayError | None = None
        while True:
            try:
                lease = attempts.next(self._now)
            except RelayError as exc:
                served.lost[_why(exc)] += 1
                return
            if attempts.count == 1:
                self.books.asked(attempts.route.pool.budget, self._now)
            asked_at = self._now
            held.append(lease)
            lease, fate = yield from self._try(attempts, lease, held, served)
            problem = fate.error
            if problem is None:
                yield fate.lasts
                self._succeed(attempts, lease, fate)
                served.good += 1
                if attempts.count > 1:
                    served.added.append(asked_at - began)
                return
            self._end(lease, problem)
            held.clear()
            rest = attempts.failed(problem, self._now)
            if rest is None:
                served.lost[self._why_enough(attempts, problem)] += 1
                return
            self.books.retried(attempts.route.pool.budget, self._now, served)
            if rest:
                yield rest

    def _try(
        self, attempts: Attempts, lease: Lease, held: list[Lease], served: Served
    ) -> Generator[float, None, tuple[Lease, Fate]]:
        """One attempt, or two where the first is slow: the one that stands, and what came of it."""
        fate = self._send(lease)
        delay = (
            lease.door.quantiles.quantile(HEDGED_QUANTILE) if attempts.route.pool.hedge else None
        )
        if delay is None or fate.after <= delay:
            yield fate.after
            return lease, fate
        yield delay
        other = attempts.another(self._now)
        if other is None:
            yield fate.after - delay
            return lease, fate
        self.books.retried(attempts.route.pool.budget, self._now, served)
        held.append(other)
        second = self._send(other)
        runs = [(fate.after - delay, lease, fate), (second.after, other, second)]
        runs.sort(key=lambda run: run[0])
        (first_after, faster, first), (last_after, slower, last) = runs
        yield first_after
        if first.error is None:
            self._end(slower, NoAnswer("It was slower than another attempt."))
            return faster, first
        self._end(faster, first.error)
        yield last_after - first_after
        return slower, last

    def _send(self, lease: Lease) -> Fate:
        self.books.sent(lease, self._now)
        return self._world.answer(lease, self._now)

    def _end(self, lease: Lease, problem: RelayError | None) -> None:
        """An attempt came to nothing; without a problem it is nobody's fault."""
        if lease.ended:
            return
        if problem is None:
            lease.leave(self._now)
        else:
            lease.fail(problem, self._now)
        self.books.ended(lease, self._now, failed=problem is not None)

    def _succeed(self, attempts: Attempts, lease: Lease, fate: Fate) -> None:
        lease.succeed(self._now, fate.after, TOKENS)
        self.books.ended(lease, self._now, failed=False)
        self._world.release(lease, self._now)
        if attempts.route.pool.has_choice:
            self.pools.remember(attempts.route, lease, attempts.wanted, self._now)

    def _why_enough(self, attempts: Attempts, problem: RelayError) -> str:
        if retried(problem) and not attempts.route.pool.budget.allows(self._now):
            return f"the retry budget was spent, {attempts.route.asked}"
        return f"{_why(problem)}, attempt {attempts.count}"

    # --- the script -----------------------------------------------------------------------------

    def _direct(self, script: list[Phase]) -> Steps:
        """Begin and end the outages, and look how the doors recover."""
        for record in self.books.records:
            phase, books = record.phase, self.books
            books.record, books.served = record, record.calm
            yield phase.begin - self._now
            self._world.troubles, self._world.began = phase.troubles, self._now
            books.served = record.outage
            yield phase.end - self._now
            record.recoveries.update(self._avoided(phase.over - self._now))
            self._world.troubles = ()
            books.served = record.calm
            while self._now + LOOK_EVERY < phase.over:
                yield LOOK_EVERY
                for (name, model), recovery in record.recoveries.items():
                    if self._wait(self.pools.doors[name], model) is not None:
                        recovery.back = self._now - phase.end
            yield phase.over - self._now

    def _avoided(self, calm: float) -> Iterator[tuple[tuple[str, str], Recovery]]:
        """The doors in trouble that are left alone as the calm begins, as far as it is long enough
        to see them come back."""
        for door in filter(self._world.concerns, self.pools.doors.values()):
            for model, share in SHARES.items():
                wait = self._wait(door, model)
                if wait is None or (model == "solo" and door.spec.name != "north"):
                    continue
                gap = PICKS / (share * self._plan.rate)
                if all(site.breaker.until for site in door.sites):
                    gap += LONGEST_REPLY  # another may be the probe of the base URL
                recovery = Recovery(wait, gap)
                if recovery.latest + LONGEST_REPLY <= calm:
                    yield (door.name, model), recovery

    def _wait(self, door: Door, model: str) -> float | None:
        """Seconds that a door may be left alone by the open time in force; None: it is not."""
        if door.refused:
            return PROBED_EVERY
        gate = door.gates.get(model)
        waits = [min(self._open_time(site.breaker) for site in door.sites)]
        if gate is not None:
            waits += [gate.cooled_until - self._now, self._open_time(gate.breaker)]
        return max(waits) if max(waits) > 0.0 else None

    def _open_time(self, breaker: Breaker) -> float:
        """Until its next probe, at most."""
        longest = self._plan.routing.breaker.longest
        open_for = min(breaker.opened_for() * 1.1, longest) if breaker.until else 0.0
        if breaker.state == "half_open":  # its probe may have been sent before the end, and fail
            return self._plan.first_byte + min(2 * open_for, longest)
        return open_for

    def _probe(self) -> Steps:
        """Probe the keys that are not well, as the daemon does, with a request for the models."""
        while self._now < self._seconds:
            yield PROBED_EVERY
            for door in self.pools.doors.values():
                if not door.is_well(self._now) and not self._world.concerns(door):
                    self.pools.well(door, None)

    def _leaks(self) -> Iterator[str]:
        if self._events:
            yield f"{len(self._events)} requests never ended"
        for door in self.pools.doors.values():
            if door.in_flight:
                yield f"{door.name} still holds {door.in_flight} requests"


def _why(problem: RelayError) -> str:
    return "nobody lets it through" if isinstance(problem, NoUpstream) else problem.code
