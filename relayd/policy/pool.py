"""A pool: all doors that offer a model by the same rules, and whose turn it is among them.

Tiers are tried in order; a tier is left when none of its doors lets the request through. Doors that
need a translation are tiers of their own, behind all others. Inside a
tier a conversation goes to its own door (remembered, or its home on the ring) as long as that one
lets it through; everything else, and conversations that come from nowhere, go by the strategy.
A second try prefers another upstream in the tier to a sister of the key that failed.
`cheapest` is a matter of tiers: every price makes one of its own, and equals take turns.

A conversation known only by its first messages may be a thousand equal requests at once; its home
yields when it holds more than its share.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from itertools import islice
from math import inf
from typing import NamedTuple

from relayd.policy.affinity import Affinity
from relayd.policy.budget import RetryBudget
from relayd.policy.doors import Door
from relayd.policy.fairqueue import FairQueue
from relayd.policy.gates import NOT_NOW
from relayd.policy.rotation import Blocked
from relayd.policy.tiers import Member, Tier
from relayd.routing import Routing, Strategy

Target = tuple[str, int]  # a door's name, and which of its upstream's base URLs

# So many doors are a conversation's homes, in order; should all be closed, the strategy finds one.
MOST_HOMES = 8
# Strategies by which a new conversation goes to whoever is best just then; others have homes.
STRAYING: frozenset[Strategy] = frozenset({"least_busy", "fastest"})


class Wanted(NamedTuple):
    """What choosing must know of a request.

    Arguments:
        tokens: that it may cost the upstream's key.
        account: who asks, for the order in the waiting room.
        conversation: its digest; None where it has none.
        by_opening: the conversation is known by its first messages only.
        request: its id, for what is told of it.
    """

    tokens: int = 0
    account: int = 0
    conversation: bytes | None = None
    by_opening: bool = False
    request: str = ""


Found = tuple[Member, Tier, int]  # the last is which base URL


class Pool:
    """The tiers of one set of rules, and the queue for its waiting room.

    Arguments:
        members: every door that offers the models, in configured order.
        routing: the rules.
        strategy: of these models.
        hedge: whether a slow first byte leads to a second attempt.
        rng: draws and jitter.
        budget: for retries; all pools share it, or those with few requests would have none.
    """

    __slots__ = (
        "budget",
        "has_choice",
        "hedge",
        "members",
        "queue",
        "strategy",
        "tiers",
    )

    def __init__(
        self,
        members: Sequence[Member],
        routing: Routing,
        strategy: Strategy,
        hedge: bool,
        rng: random.Random,
        budget: RetryBudget,
    ) -> None:
        self.members = tuple(members)
        self.strategy = strategy
        self.hedge = hedge and len(members) > 1
        self.has_choice = len(members) > 1
        self.budget = budget
        self.queue: FairQueue[object] = FairQueue(routing.waiting.places)
        grouped: dict[tuple[float, ...], list[Member]] = {}
        for member in members:
            grouped.setdefault(self._rank(member), []).append(member)
        self.tiers = [Tier(grouped[rank], rng) for rank in sorted(grouped)]

    def __repr__(self) -> str:
        return f"<Pool {self.strategy} {self.tiers!r} waiting={len(self.queue)}>"

    def choose(
        self,
        models: dict[str, str],
        wanted: Wanted,
        affinity: Affinity,
        now: float,
        tried: Collection[Target] = (),
    ) -> Found | None:
        """Whose turn it is, its tier, and the base URL to use; None when nobody lets it through.

        Arguments:
            models: by door, what its upstream calls the model.
        """
        if not self.has_choice:
            return self._only(models, wanted.tokens, now, tried)
        failed = self._upstreams_of(tried) if tried else None
        for tier in self.tiers:
            blocked = _asking(tier.members, models, wanted.tokens, now, tried)
            index = None
            if failed:
                others = _without(failed, tier.members, blocked)
                index = self._turn(tier, wanted, affinity, others, now, again=True)
            if index is None:
                index = self._turn(tier, wanted, affinity, blocked, now, again=bool(tried))
            if index is not None:
                return _found(tier, index, now, tried)
        return None

    def _only(
        self, models: dict[str, str], tokens: int, now: float, tried: Collection[Target]
    ) -> Found | None:
        """The one member: nobody takes turns with it, and conversations have no other place."""
        member = self.members[0]
        door = member.door
        if door.blocked(models[door.name], tokens, now):
            return None
        site = door.site(now, tried)
        return None if site is None else (member, self.tiers[0], site)

    def _turn(
        self,
        tier: Tier,
        wanted: Wanted,
        affinity: Affinity,
        blocked: Blocked,
        now: float,
        *,
        again: bool,
    ) -> int | None:
        """Whose turn it is in one tier."""
        index = self._own(tier, wanted, affinity, blocked, now)
        return tier.pick(self.strategy, blocked, now, again=again) if index is None else index

    def _upstreams_of(self, tried: Collection[Target]) -> set[str]:
        """Whose keys were tried: what failed with one of them may fail with its sisters."""
        doors = {name for name, _ in tried}
        return {one.door.spec.name for one in self.members if one.door.name in doors}

    def is_free(
        self, models: dict[str, str], wanted: Wanted, now: float, tried: Collection[Target]
    ) -> bool:
        """Whether any door that was not tried lets the request through."""
        blocked = _asking(self.members, models, wanted.tokens, now, tried)
        return not all(map(blocked, range(len(self.members))))

    def is_home(self, door: Door, conversation: bytes) -> bool:
        """Whether the ring sends the conversation there anyway: then it need not be remembered."""
        if self.strategy in STRAYING:
            return False
        tier = self.tiers[0]
        return tier.members[tier.homes.first(conversation)].door is door

    def _own(
        self,
        tier: Tier,
        wanted: Wanted,
        affinity: Affinity,
        blocked: Blocked,
        now: float,
    ) -> int | None:
        """The door of the request's conversation, if it has one and that lets it through."""
        conversation = wanted.conversation
        if conversation is None:
            return None

        def is_good(i: int) -> bool:
            return not blocked(i) and not (wanted.by_opening and tier.is_loaded(i))

        name = affinity.find(conversation, now)
        index = tier.index(name) if name is not None else None
        if index is not None and is_good(index):
            return index
        if self.strategy in STRAYING:
            return None
        home = tier.homes.first(conversation)
        if is_good(home):
            return home
        return next(filter(is_good, islice(tier.homes.order(conversation), 1, MOST_HOMES)), None)

    def _rank(self, member: Member) -> tuple[float, ...]:
        # Bytes that pass are never wrong: whoever speaks the format comes first, whatever its tier.
        tier = float(member.translated), float(member.door.spec.tier)
        if self.strategy != "cheapest":
            return tier
        return *tier, inf if member.rule.cost is None else member.rule.cost


def _asking(
    members: Sequence[Member],
    models: dict[str, str],
    tokens: int,
    now: float,
    tried: Collection[Target],
) -> Blocked:
    """What says who is blocked, as `Rotation.next` asks it: 0 lets through, a moment is when to ask
    again, -1 is not now."""

    def blocked(i: int) -> float:
        member = members[i]
        door = member.door
        until = door.blocked(models[door.name], tokens, now)
        if until:
            # Another model behind the same wildcard may be well: only the key's own trouble sleeps.
            lasts = door.refused or door.disabled or not member.rule.is_wildcard
            return until if lasts else NOT_NOW
        if tried and door.site(now, tried) is None:
            return NOT_NOW
        return 0.0

    return blocked


def _without(upstreams: set[str], members: Sequence[Member], blocked: Blocked) -> Blocked:
    return lambda i: NOT_NOW if members[i].door.spec.name in upstreams else blocked(i)


def _found(tier: Tier, index: int, now: float, tried: Collection[Target]) -> Found:
    member = tier.members[index]
    site = member.door.site(now, tried)
    assert site is not None  # who is not blocked has one
    return member, tier, site
