"""What is noted during the simulation, and whether the goals were met.

Everything is counted from outside: what the policy says of itself is compared with, not believed.
A request belongs to the phase in which it came, and there to the outage or to the calm. Retries
are counted in seconds of the clock, so that every window of the budget can be checked. Probes are
counted as requests that are under way through a breaker that is not closed.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.outage.script import Phase
from benchmarks.outage.world import LONGEST_REPLY
from relayd.policy.breakers import Breaker
from relayd.policy.budget import RetryBudget
from relayd.policy.lease import Lease
from relayd.routing import Routing

GOAL = 0.999


@dataclass
class Served:
    """Requests of one phase, or of the calm between."""

    requests: int = 0
    left: int = 0  # the client did
    good: int = 0
    retries: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # by why nobody was asked any more
    added: array[float] = field(default_factory=lambda: array("d"))  # seconds, where retried

    @property
    def share(self) -> float:
        """Of the requests that somebody waited for, those that went well."""
        return self.good / max(1, self.requests - self.left)

    def quantile(self, q: float) -> float:
        """Seconds that retries added to those that were retried."""
        ordered = sorted(self.added)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


@dataclass
class Recovery:
    """A door and model that was avoided when its outage ended.

    Arguments:
        interval: seconds until its next probe, by the open time then in force.
        gap: seconds until there is a request to probe with.
        sent: seconds after the end when the first request was sent there.
        back: seconds after the end when it was avoided for the last time.
    """

    interval: float
    gap: float
    sent: float | None = None
    back: float = 0.0

    @property
    def latest(self) -> float:
        """When the first request has to be sent there; the door is back when that was answered."""
        return self.interval + self.gap

    @property
    def is_late(self) -> bool:
        sent = self.sent is not None and self.sent <= self.latest
        return not sent or self.back > self.latest + LONGEST_REPLY


@dataclass
class Record:
    """One phase."""

    phase: Phase
    outage: Served = field(default_factory=Served)
    calm: Served = field(default_factory=Served)
    trespasses: Counter[str] = field(default_factory=Counter)  # sent where it must not be
    probes: int = 0
    avoided: dict[str, float] = field(default_factory=dict)  # by door, seconds after the begin
    recoveries: dict[tuple[str, str], Recovery] = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        """The goals that were missed."""
        if self.outage.share < GOAL:
            yield f"{self.outage.share:.3%} succeeded: {dict(self.outage.lost)}"
        if self.calm.share < GOAL:
            yield f"{self.calm.share:.3%} succeeded when all was well: {dict(self.calm.lost)}"
        if self.trespasses:
            yield f"sent where nothing may be sent: {dict(self.trespasses)}"
        late = [(one.back, where, one) for where, one in self.recoveries.items() if one.is_late]
        if late:
            _, (door, model), one = max(late)
            sent = "never" if one.sent is None else f"after {one.sent:.1f} s"
            yield (
                f"{len(late)} of {len(self.recoveries)} recovered late, worst {door} for {model}:"
                f" asked again {sent}, avoided until {one.back:.1f} s, the interval was"
                f" {one.interval:.1f} s"
            )


class Spending:
    """Requests and retries of one budget, by the second. Checks every window of the budget.

    Arguments:
        rules: those of retries; their window is 10 slots of a whole second.
        seconds: how long the simulation lasts.
    """

    def __init__(self, routing: Routing, seconds: int) -> None:
        self._rules = routing.retries
        assert self._rules.window == 10.0, "slots of a second"
        self.requests = array("l", [0] * seconds)
        self.retries = array("l", [0] * seconds)

    def __repr__(self) -> str:
        return f"Spending({sum(self.retries)} retries, {sum(self.requests)} requests)"

    def used(self, first: float, last: float) -> float:
        """The most that a window which ends between the two moments spent, as a share of what it
        was allowed. Windows end with a retry: what is asked is whether that might be made."""
        seconds = range(int(first), min(int(last), len(self.requests)))
        return max((self._used(one) for one in seconds if self.retries[one]), default=0.0)

    def _used(self, second: int) -> float:
        window = slice(max(0, second - 9), second + 1)
        allowed = self._rules.floor + self._rules.budget * sum(self.requests[window])
        return sum(self.retries[window]) / allowed


class Books:
    """All records. Owned by the simulation, which tells it what happens.

    Arguments:
        phases: the script.
        routing: the rules that the policy goes by.
        seconds: how long the simulation lasts.
    """

    def __init__(self, phases: list[Phase], routing: Routing, seconds: int) -> None:
        self.records = [Record(phase) for phase in phases]
        self.record = self.records[0]
        self.served = self.record.calm
        self.spending: dict[RetryBudget, Spending] = {}
        self.leaks: list[str] = []
        self.routing = routing
        self._seconds = seconds
        self._probing: Counter[Breaker] = Counter()
        self._probes: dict[Lease, list[Breaker]] = {}

    def __repr__(self) -> str:
        return f"<Books {self.record.phase.name}>"

    def asked(self, budget: RetryBudget, now: float) -> None:
        """A request is sent for the first time."""
        self._spending(budget).requests[int(now)] += 1

    def retried(self, budget: RetryBudget, now: float, served: Served) -> None:
        """A request is sent once more, or beside itself."""
        served.retries += 1
        self._spending(budget).retries[int(now)] += 1

    def sent(self, lease: Lease, now: float) -> None:
        """A lease was taken: may anything be sent there now?"""
        door, model = lease.door, lease.model
        gate = door.gates.get(model)
        if door.refused or (gate is not None and gate.refused):
            self.record.trespasses["refused"] += 1
        if gate is not None:
            if now < gate.cooled_until:
                self.record.trespasses["cooling"] += 1
            if gate.breaker.until:
                self._probe(lease, gate.breaker, now)
        breaker = door.sites[lease.site].breaker
        if breaker.until:
            self._probe(lease, breaker, now)
        recovery = self.record.recoveries.get((door.name, model))
        if recovery is not None and recovery.sent is None:
            recovery.sent = now - self.record.phase.end

    def ended(self, lease: Lease, now: float, *, failed: bool) -> None:
        """A lease has ended."""
        breakers = self._probes.pop(lease, None)
        if breakers is not None:
            self._probing.subtract(breakers)
        door = lease.door
        if failed and door.name not in self.record.avoided and door.blocked(lease.model, 0, now):
            self.record.avoided[door.name] = now - self.record.phase.begin

    def faults(self) -> list[str]:
        """All goals that were missed, in words."""
        found = [f"{one.phase.name}: {what}" for one in self.records for what in one.faults()]
        if self.total().share < GOAL:
            found.append(f"{self.total().share:.3%} of all succeeded")
        most = max(self.spent(record) for record in self.records)
        if most > 1.0:
            found.append(f"a window spent {most:.0%} of its retry budget")
        return found + self.leaks

    def spent(self, record: Record) -> float:
        """The most that a window of any budget spent in a phase."""
        phase = record.phase
        return max((one.used(phase.start, phase.over) for one in self.spending.values()), default=0)

    def total(self) -> Served:
        """All requests."""
        total = Served()
        for one in (part for record in self.records for part in (record.outage, record.calm)):
            total.requests += one.requests
            total.left += one.left
            total.good += one.good
            total.retries += one.retries
            total.lost += one.lost
            total.added.extend(one.added)
        return total

    def _probe(self, lease: Lease, breaker: Breaker, now: float) -> None:
        self.record.probes += 1
        self._probes.setdefault(lease, []).append(breaker)
        self._probing[breaker] += 1
        if now < breaker.until:
            self.record.trespasses["open"] += 1
        elif self._probing[breaker] > self.routing.breaker.probes:
            self.record.trespasses["more than its probes"] += 1

    def _spending(self, budget: RetryBudget) -> Spending:
        found = self.spending.get(budget)
        if found is None:
            found = self.spending[budget] = Spending(self.routing, self._seconds)
        return found
