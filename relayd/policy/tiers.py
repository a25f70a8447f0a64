"""A tier: doors among which there is a choice. Whose turn it is, and where conversations belong.

Four ways to take turns, and none of them waits for anybody or counts anew what the doors know:
exact shares by weight (which is also how equals among the cheapest take turns), the least busy for
its weight, the faster of two. To look at each of hundreds of doors would cost more than the choice
is worth, so of a lot only some are looked at; and should all of those be closed, the order of turns
finds one that is open, since in it those that sleep cost nothing.

Conversations have homes by consistent hashing, in two steps: the upstream, then its key.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import gcd, inf, lcm
from typing import NamedTuple

from relayd.model import ModelRule
from relayd.policy.doors import Door
from relayd.policy.ring import Ring
from relayd.policy.rotation import Rotation
from relayd.routing import Strategy

MOST_SCANNED = 32  # doors looked at for the least busy one; of more, those that follow in turn
MOST_DRAWS = 8
UNKNOWN = 1e6  # seconds, longer than any
SPARE = 4  # requests that a home holds before its share matters


class Member(NamedTuple):
    """A door, and the rule by which it offers the models of the pool."""

    door: Door
    rule: ModelRule


class Homes:
    """Where conversations belong: first which upstream, then which of its keys.

    An upstream keeps its share when one of its keys leaves. With one ring for all, its other keys
    would take over from everybody; so that key's conversations go to its sisters, and nobody
    else's move.
    """

    __slots__ = ("_keys", "_upstreams")

    def __init__(self, doors: Sequence[Door]) -> None:
        grouped: dict[str, list[int]] = {}
        for i, door in enumerate(doors):
            grouped.setdefault(door.spec.name, []).append(i)
        weights = [doors[group[0]].spec.weight for group in grouped.values()]
        self._upstreams = Ring(list(grouped), weights)
        self._keys = [(group, _ring(doors, group)) for group in grouped.values()]

    def __repr__(self) -> str:
        return f"<Homes {self._upstreams!r} {[len(group) for group, _ in self._keys]} keys>"

    def order(self, digest: bytes) -> Iterator[int]:
        """The doors to ask, as indexes: the conversation's home, then those that follow."""
        for upstream in self._upstreams.order(digest):
            group, ring = self._keys[upstream]
            if ring is None:
                yield group[0]
            else:  # another half of the digest: the first half is what led to this upstream
                yield from (group[i] for i in ring.order(digest[8:]))


class Tier:
    """Doors that are asked before the next tier is. Owns their turns."""

    __slots__ = (
        "_doors",
        "_holds",
        "_places",
        "_rng",
        "_rotation",
        "_shares",
        "_start",
        "_weights",
        "held",
        "homes",
        "members",
    )

    def __init__(self, members: Sequence[Member], rng: random.Random) -> None:
        self.members = tuple(members)
        self._doors = [member.door for member in members]
        self._places = {door.name: i for i, door in enumerate(self._doors)}
        self._weights = _weights(self._doors)
        self._shares = [weight / sum(self._weights) for weight in self._weights]
        self._rotation = Rotation(self._weights)
        self.homes = Homes(self._doors)
        self._rng = rng
        self._start = 0
        # Requests that were chosen here: the doors hold those of other models, too.
        self._holds = [0] * len(members)
        self.held = 0

    def __repr__(self) -> str:
        return f"<Tier {', '.join(door.name for door in self._doors)} held={self.held}>"

    def wake(self) -> None:
        """Some door may be well before its time."""
        self._rotation.wake()

    def index(self, name: str) -> int | None:
        """Which member a door is."""
        return self._places.get(name)

    def hold(self, door: Door, more: int) -> None:
        """A door holds one request more on behalf of this tier, or one less: -1."""
        self._holds[self._places[door.name]] += more
        self.held += more

    def is_loaded(self, index: int) -> bool:
        """Whether a door holds much more than its share of what the tier holds."""
        return self._holds[index] > SPARE + 2 * self.held * self._shares[index]

    def pick(
        self,
        strategy: Strategy,
        blocked: Callable[[int], float],
        now: float,
        *,
        again: bool = False,
    ) -> int | None:
        """Whose turn it is, by the strategy; None when all are blocked.

        Arguments:
            again: the request had its turn, this is another try.
        """
        if strategy == "least_busy":
            found = self._least_busy(blocked)
        elif strategy == "fastest":
            found = self._fastest(blocked, now)
        else:
            return self._rotation.next(now, blocked, again=again)
        if found is None and len(self._doors) > MOST_DRAWS:
            # Nearly all are blocked. Those that sleep cost nothing in the order of turns.
            return self._rotation.next(now, blocked, again=again)
        return found

    def _least_busy(self, blocked: Callable[[int], float]) -> int | None:
        """The least busy of all, or of some of a lot: those that follow where the last began."""
        best, least, count = None, inf, len(self._doors)
        self._start = start = (self._start + 1) % count
        for place in range(start, start + min(count, MOST_SCANNED)):
            i = place % count
            load = self._doors[i].in_flight / self._weights[i]
            if load < least and not blocked(i):
                best, least = i, load
        return best

    def _fastest(self, blocked: Callable[[int], float], now: float) -> int | None:
        """The better of two drawn at random: the best of all would be swamped at once."""
        first: int | None = None
        for i in self._drawn():
            if i != first and not blocked(i):
                if first is not None:
                    return i if self._latency(i, now) < self._latency(first, now) else first
                first = i
        return first

    def _drawn(self) -> Iterable[int]:
        """Members in random order; of a lot, only some."""
        count, draw = len(self._doors), self._rng.random
        if count <= MOST_DRAWS:
            return self._rng.sample(range(count), count)
        return (int(draw() * count) for _ in range(MOST_DRAWS))

    def _latency(self, index: int, now: float) -> float:
        """Seconds to expect. Who is unknown is tried once, and not again before that is known."""
        door = self._doors[index]
        seconds = door.first_byte.value(now) or (UNKNOWN if door.in_flight else 0.0)
        return seconds * (door.in_flight + 1)


def _ring(doors: Sequence[Door], group: Sequence[int]) -> Ring | None:
    if len(group) == 1:
        return None
    return Ring([doors[i].name for i in group], [doors[i].key.weight for i in group])


def _weights(doors: Sequence[Door]) -> list[int]:
    """Each door's share as a whole number: its upstream's weight, divided among the keys that are
    here by theirs."""
    sums: dict[str, int] = {}
    for door in doors:
        sums[door.spec.name] = sums.get(door.spec.name, 0) + door.key.weight
    common = lcm(*sums.values())
    weights = [d.spec.weight * d.key.weight * (common // sums[d.spec.name]) for d in doors]
    shared = gcd(*weights)
    return [weight // shared for weight in weights]
