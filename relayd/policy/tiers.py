"""A tier: doors among which there is a choice. Whose turn it is, and where conversations belong.

Four ways to take turns, and none of them waits for anybody or counts anew what the doors know:
exact shares by weight (which is also how equals among the cheapest take turns), the least busy for
its weight, the faster of two. To look at each of hundreds of doors would cost more than the choice
is worth, so of a lot only some are looked at, out of those that stand in the order of turns: who is
found closed sleeps there, whatever the strategy, and costs nothing until it wakes.

Conversations have homes by consistent hashing, in two steps: the upstream, then its key.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import gcd, inf, lcm

from relayd.model import ModelRule
from relayd.policy.doors import Door
from relayd.policy.ring import Ring, ring_of
from relayd.policy.rotation import Blocked, Rotation
from relayd.routing import Strategy

MOST_SCANNED = 16  # doors looked at for the least busy one; of more, those that follow in turn
MOST_DRAWS = 4  # pairs, for the faster of two
UNKNOWN = 1e6  # seconds, longer than any
SPARE = 4  # requests that a home holds before its share matters


class Member:
    """A door in a pool, and the rule by which it offers the pool's models.

    `translated`: it does not speak the pool's format, so what goes there is translated. `held` are
    the requests that were chosen here: the door holds those of other models, too.
    """

    __slots__ = ("door", "held", "rule", "translated")

    def __init__(self, door: Door, rule: ModelRule, translated: bool = False) -> None:
        self.door = door
        self.rule = rule
        self.translated = translated
        self.held = 0

    def __repr__(self) -> str:
        how = " translated" if self.translated else ""
        return f"<Member {self.door.name} {self.rule.pattern}{how} held={self.held}>"


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
        self._upstreams = ring_of(tuple(grouped), tuple(weights))
        self._keys = [(group, _ring(doors, group)) for group in grouped.values()]

    def __repr__(self) -> str:
        return f"<Homes {self._upstreams!r} {[len(group) for group, _ in self._keys]} keys>"

    def first(self, digest: bytes) -> int:
        """The conversation's home, as an index."""
        group, ring = self._keys[self._upstreams.owner(digest)]
        return group[0] if ring is None else group[ring.owner(digest[8:])]

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
        "_homes",
        "_places",
        "_rng",
        "_rotation",
        "_shares",
        "_start",
        "_weights",
        "held",
        "members",
    )

    def __init__(self, members: Sequence[Member], rng: random.Random) -> None:
        self.members = tuple(members)
        self._doors = [member.door for member in members]
        self._places = {door.name: i for i, door in enumerate(self._doors)}
        self._weights = _weights(self._doors)
        self._shares = [weight / sum(self._weights) for weight in self._weights]
        self._rotation = Rotation(self._weights)
        self._homes: Homes | None = None
        self._rng = rng
        self._start = 0
        self.held = 0  # by all members

    def __repr__(self) -> str:
        return f"<Tier {', '.join(door.name for door in self._doors)} held={self.held}>"

    def wake(self) -> None:
        """Some door may be well before its time."""
        self._rotation.wake()

    def index(self, name: str) -> int | None:
        """Which member a door is."""
        return self._places.get(name)

    @property
    def homes(self) -> Homes:
        """Where conversations belong; worked out when the first one comes."""
        if self._homes is None:
            self._homes = Homes(self._doors)
        return self._homes

    def is_loaded(self, index: int) -> bool:
        """Whether a door holds much more than its share of what the tier holds."""
        return self.members[index].held > SPARE + 2 * self.held * self._shares[index]

    def pick(
        self,
        strategy: Strategy,
        blocked: Blocked,
        now: float,
        *,
        again: bool = False,
    ) -> int | None:
        """Whose turn it is, by the strategy; None when all are blocked.

        Arguments:
            again: the request had its turn, this is another try.
        """
        if strategy == "least_busy":
            found = self._least_busy(blocked, now)
        elif strategy == "fastest":
            found = self._fastest(blocked, now)
        else:
            found = None
        # Where those that were looked at are blocked, the order of turns finds any that is not.
        return self._rotation.next(now, blocked, again=again) if found is None else found

    def _least_busy(self, blocked: Blocked, now: float) -> int | None:
        """The least busy of those awake, or of some of a lot: from one further on each time."""
        line, doors, weights = self._rotation.turns, self._doors, self._weights
        self._start = start = self._start + 1 if self._start + 1 < line.awake(now) else 0
        best, least = None, inf
        for i in line.some(start, MOST_SCANNED):
            load = doors[i].in_flight / weights[i]
            if load < least and self._is_free(i, blocked, now):
                best, least = i, load
        return best

    def _fastest(self, blocked: Blocked, now: float) -> int | None:
        """The better of two drawn at random: the best of all would be swamped at once."""
        first: int | None = None
        for _ in range(MOST_DRAWS):
            for i in self._pair(now):
                if i != first and self._is_free(i, blocked, now):
                    if first is not None:
                        return i if self._latency(i, now) < self._latency(first, now) else first
                    first = i
        return first

    def _pair(self, now: float) -> list[int]:
        """Any two of those awake, or who there is."""
        line, draw = self._rotation.turns, self._rng.random
        awake = line.awake(now)
        if awake < 2:
            return line.some(0, awake)
        one = int(draw() * awake)
        other = (one + 1 + int(draw() * (awake - 1))) % awake
        return [line.at(one), line.at(other)]

    def _is_free(self, i: int, blocked: Blocked, now: float) -> bool:
        """Whether a door lets the request through; it sleeps if it is known until when it does
        not."""
        until = blocked(i)
        if until > now:
            self._rotation.turns.rest(i, until)
        return not until

    def _latency(self, index: int, now: float) -> float:
        """Seconds to expect, the more the busier a door is for its weight. Who is unknown is tried
        once, and not again before that is known."""
        door = self._doors[index]
        seconds = door.first_byte.value(now) or (UNKNOWN if door.in_flight else 0.0)
        return seconds * (1.0 + door.in_flight / (self._shares[index] * len(self._doors)))


def _ring(doors: Sequence[Door], group: Sequence[int]) -> Ring | None:
    if len(group) == 1:
        return None
    keys = [doors[i] for i in group]
    return ring_of(tuple(d.name for d in keys), tuple(d.key.weight for d in keys))


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
