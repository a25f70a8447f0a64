"""How long choosing takes among 200 targets, how exact the shares are, how large the table grows.

A choice is `Pools.choose` and the lease's end, with 100 requests in flight, as in a relay under
load. Processor time is taken of batches. Their median is what counts; the best is what it would be
on a quiet machine, for a neighbour on the same core makes it up to twice as much. The clock that
the policy sees is a number that runs a millisecond a choice.
"""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc
from collections import Counter, deque
from typing import NamedTuple, get_args

from rich.console import Console
from rich.table import Table

from relayd.errors import BadStatus
from relayd.model import ModelRule, Secret, UpstreamKey, UpstreamSpec
from relayd.policy.affinity import Affinity, digest_of
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.routing import AffinityRules, BreakerRules, Routing, Strategy

GOAL = 10.0  # microseconds
TARGETS = 200
UPSTREAMS = 20
IN_FLIGHT = 100
BATCH = 200
BATCHES = 101
PICKS = 10_000
SHARE_GOAL = 0.01
CONVERSATIONS = 100_000
ENTRY_GOAL = 400  # bytes of the table for each conversation
STEP = 0.001
ALREADY_OPEN = {"all well": 0, "10 % open": TARGETS // 10, "all but one open": TARGETS - 1}
MODEL = "large"


class Measured(NamedTuple):
    """The cost of a choice in one situation, in microseconds."""

    strategy: str
    state: str
    conversation: bool
    median: float
    best: float


class Chooser:
    """A pool of 200 upstream keys under load. Owns the clock and what is in flight.

    Arguments:
        strategy: of the pool.
        broken: how many doors are open, and stay so.
        conversation: whether each request is part of one of a thousand.
    """

    def __init__(self, strategy: Strategy, broken: int, conversation: bool) -> None:
        dice = random.Random(1)
        # Once open, nothing comes back while it is measured.
        breaker = BreakerRules(consecutive=1, open_for=1e6, longest=1e6)
        self.pools = Pools(targets(), Routing(strategy=strategy, breaker=breaker), dice)
        self._route = self.pools.route(MODEL, "chat")
        names = [digest_of(n, MODEL, b"") for n in range(1000)]
        self._wanted = [
            Wanted(500, n, name if conversation else None) for n, name in enumerate(names)
        ]
        self._batch = self._wanted[:BATCH]
        self._now = 1.0
        self._held: deque[Lease] = deque()
        self._break(broken)

    def __repr__(self) -> str:
        return f"<Chooser {self._route.pool!r}>"

    def warm_up(self) -> None:
        """Conversations find their doors, and requests are under way."""
        for wanted in 2 * self._wanted:
            self._choose(wanted)
            self.pools.remember(self._route, self._held[-1], wanted, self._now)

    def batch(self) -> None:
        """So many choices as a batch has, each with the end of the oldest one."""
        for wanted in self._batch:
            self._choose(wanted)

    def _choose(self, wanted: Wanted) -> None:
        self._now += STEP
        self._held.append(self.pools.choose(self._route, wanted, self._now))
        if len(self._held) > IN_FLIGHT:
            self._held.popleft().succeed(self._now, 0.1, 500)

    def _break(self, count: int) -> None:
        tried: list[tuple[str, int]] = []
        for _ in range(count):
            lease = self.pools.choose(self._route, Wanted(), self._now, tried)
            lease.fail(BadStatus("It failed.", upstream_status=500), self._now)
            tried.append(lease.target)


def targets(each: int = TARGETS // UPSTREAMS, weights: int = 1) -> list[UpstreamSpec]:
    """20 upstreams with `each` keys; they weigh 1 up to `weights`, in turn."""
    keys = tuple(UpstreamKey(str(n), Secret(f"key {n}")) for n in range(each))
    rules = (ModelRule(MODEL),)
    return [
        UpstreamSpec(
            f"up{n}",
            "openai",
            (f"https://up{n}.invalid",),
            keys,
            rules,
            ("chat",),
            weight=1 + n % weights,
        )
        for n in range(UPSTREAMS)
    ]


def measured() -> list[Measured]:
    """The cost of a choice in all situations. They take turns, so that all meet the same moments
    of the machine."""
    situations = [
        (strategy, state, conversation)
        for strategy in get_args(Strategy)
        for state in ALREADY_OPEN
        for conversation in (False, True)
    ]
    choosers = [Chooser(one, ALREADY_OPEN[state], talk) for one, state, talk in situations]
    for chooser in choosers:
        chooser.warm_up()
    times: list[list[float]] = [[] for _ in choosers]
    for _ in range(BATCHES):
        for chooser, taken in zip(choosers, times, strict=True):
            started = time.thread_time()
            chooser.batch()
            taken.append((time.thread_time() - started) / BATCH * 1e6)
    return [
        Measured(*situation, statistics.median(taken), min(taken))
        for situation, taken in zip(situations, times, strict=True)
    ]


def shares() -> tuple[float, bool]:
    """The largest deviation of a share over 10,000 picks, relative to the weight; and whether every
    full round was exact, wherever it begins. One key each: with 200 keys a round is 600 picks, and
    the part of a round at the end more than one percent of a small share."""
    pools = Pools(targets(1, weights=5), rng=random.Random(1))
    route = pools.route(MODEL, "chat")
    picks: list[str] = []
    for n in range(PICKS):
        lease = pools.choose(route, Wanted(), n * STEP)
        lease.succeed(n * STEP, 0.1)
        picks.append(lease.door.name)
    weights = {m.door.name: m.door.spec.weight for m in route.pool.members}
    total = sum(weights.values())
    counted = Counter(picks)
    worst = max(abs(counted[d] * total / (PICKS * w) - 1) for d, w in weights.items())
    return worst, _rounds_are_exact(picks, weights)


def table_of(conversations: int) -> tuple[int, float]:
    """The table after twice as many conversations as it may hold: entries, bytes of each."""
    doors = [f"up{n}/1" for n in range(20)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        affinity = Affinity(AffinityRules(entries=conversations))
        for n in range(2 * conversations):
            affinity.keep(digest_of(n, MODEL, b""), doors[n % 20], n * STEP)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return len(affinity), (after - before) / conversations


def run(console: Console) -> int:
    """Measure and print all; returns the exit status."""
    found = measured()
    table = Table("strategy", "state", "conversation", "us, median", "us, best", box=None)
    for one in found:
        cells = ("yes" if one.conversation else "-", f"{one.median:.1f}", f"{one.best:.1f}")
        table.add_row(one.strategy, one.state, *cells)
    console.print(f"Pools.choose and the end of its lease, {TARGETS} targets")
    console.print(table)
    deviation, exact = shares()
    console.print(
        f"\nweighted shares over {PICKS:,} picks: within {deviation:.2%}, every full round"
        f" {'exact' if exact else 'NOT exact'}"
    )
    entries, size = table_of(CONVERSATIONS)
    console.print(
        f"affinity table after {2 * CONVERSATIONS:,} conversations: {entries:,} entries,"
        f" {size:.0f} bytes each, {size * entries / 1e6:.1f} MB"
    )
    missed = [f"{o.strategy}, {o.state}: {o.median:.1f} us" for o in found if o.median > GOAL]
    missed += [f"shares deviate by {deviation:.2%}"] if deviation > SHARE_GOAL else []
    missed += [] if exact else ["a full round is not exact"]
    missed += [f"{entries:,} entries"] if entries > CONVERSATIONS else []
    missed += [f"{size:.0f} bytes an entry"] if size > ENTRY_GOAL else []
    for what in missed:
        console.print(f"MISSED  {what}", highlight=False)
    return 1 if missed else 0


def _rounds_are_exact(picks: list[str], weights: dict[str, int]) -> bool:
    """Whether every window of one round is: the first, and each that comes leaves one round on."""
    length = sum(weights.values())
    return Counter(picks[:length]) == weights and picks[length:] == picks[:-length]
