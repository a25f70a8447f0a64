"""A pool: all doors that offer a model by the same rules, and whose turn it is among them.

Tiers are tried in order; a tier is left when none of its doors lets the request through. Inside a
tier a conversation goes to its own door (remembered, or its home on the ring) as long as that one
lets it through; everything else, and conversations that come from nowhere, go by the strategy.
A second try prefers another upstream in the tier to a sister of the key that failed.
`cheapest` is a matter of tiers: every price makes one of its own, and equals take turns.

A conversation known only by its first messages may be a thousand equal requests at once; its home
yields when it holds more than its share.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import NamedTuple

from relayd.policy.affinity import Affinity
from relayd.policy.budget import RetryBudget
from relayd.policy.doors import NOT_NOW, Door
from relayd.policy.fairqueue import FairQueue
from relayd.policy.tiers import Member, Tier
from relayd.routing import Routing, Strategy

Target = tuple[str, int]  # a door's name, and which of its upstream's base URLs

# Strategies by which a new conversation goes to whoever is best just then; others have homes.
STRAYING: frozenset[Strategy] = frozenset({"least_busy", "fastest"})


class Wanted(NamedTuple):
    """What choosing must know of a request.

    Arguments:
        tokens: that it may cost the upstream's key.
        account: who asks, for the order in the waiting room.
        conversation: its digest; None where it has none.
        by_opening: the conversation is known by its first messages only.
        previous: the digest of the response that it follows on, which one door alone has.
    """

    tokens: int = 0
    account: int = 0
    conversation: bytes | None = None
    by_opening: bool = False
    previous: bytes | None = None


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
        found = self._previous(models, wanted, affinity, now, tried)
        if found is not None:
            return found
        failed = self._upstreams_of(tried) if tried else None
        for tier in self.tiers:
            members = tier.members

            def blocked(i: int, members: tuple[Member, ...] = members) -> float:
                return _blocked(members[i], models, wanted.tokens, now, tried)

            index = None
            if failed:
                others = _without(failed, members, blocked)
                index = self._turn(tier, wanted, affinity, others, now, again=True)
            if index is None:
                index = self._turn(tier, wanted, affinity, blocked, now, again=bool(tried))
            if index is not None:
                return _found(tier, index, now, tried)
        return None

    def _turn(
        self,
        tier: Tier,
        wanted: Wanted,
        affinity: Affinity,
        blocked: Callable[[int], float],
        now: float,
        *,
        again: bool,
    ) -> int | None:
        """Whose turn it is in one tier."""
        index = self._own(tier, wanted, affinity, blocked, now) if self.has_choice else None
        return tier.pick(self.strategy, blocked, now, again=again) if index is None else index

    def _upstreams_of(self, tried: Collection[Target]) -> set[str]:
        """Whose keys were tried: what failed with one of them may fail with its sisters."""
        doors = {name for name, _ in tried}
        return {one.door.spec.name for one in self.members if one.door.name in doors}

    def is_free(
        self, models: dict[str, str], wanted: Wanted, now: float, tried: Collection[Target]
    ) -> bool:
        """Whether any door that was not tried lets the request through."""
        tokens = wanted.tokens
        return any(not _blocked(one, models, tokens, now, tried) for one in self.members)

    def is_home(self, door: Door, conversation: bytes) -> bool:
        """Whether the ring sends the conversation there anyway: then it need not be remembered."""
        if self.strategy in STRAYING:
            return False
        tier = self.tiers[0]
        return tier.members[next(tier.homes.order(conversation))].door is door

    def _previous(
        self,
        models: dict[str, str],
        wanted: Wanted,
        affinity: Affinity,
        now: float,
        tried: Collection[Target],
    ) -> Found | None:
        """The door that has the response which the request follows on, whatever its tier."""
        name = None if wanted.previous is None else affinity.find(wanted.previous, now)
        if name is None:
            return None
        for tier in self.tiers:
            index = tier.index(name)
            if index is not None:
                is_free = not _blocked(tier.members[index], models, wanted.tokens, now, tried)
                return _found(tier, index, now, tried) if is_free else None
        return None

    def _own(
        self,
        tier: Tier,
        wanted: Wanted,
        affinity: Affinity,
        blocked: Callable[[int], float],
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
        return next(filter(is_good, tier.homes.order(conversation)), None)

    def _rank(self, member: Member) -> tuple[float, ...]:
        tier = float(member.door.spec.tier)
        if self.strategy != "cheapest":
            return (tier,)
        return tier, inf if member.rule.cost is None else member.rule.cost


def _blocked(
    member: Member, models: dict[str, str], tokens: int, now: float, tried: Collection[Target]
) -> float:
    """As `Rotation.next` asks: 0 lets through, a moment is when to ask again, -1 is not now."""
    door, rule = member
    until = door.blocked(models[door.name], tokens, now)
    if until:
        # Another model behind the same wildcard may be well: only the key's own trouble sleeps.
        lasts = door.refused or door.disabled or not rule.is_wildcard
        return until if lasts else NOT_NOW
    if tried and door.site(now, tried) is None:
        return NOT_NOW
    return 0.0


def _without(
    upstreams: set[str], members: Sequence[Member], blocked: Callable[[int], float]
) -> Callable[[int], float]:
    return lambda i: NOT_NOW if members[i].door.spec.name in upstreams else blocked(i)


def _found(tier: Tier, index: int, now: float, tried: Collection[Target]) -> Found:
    member = tier.members[index]
    site = member.door.site(now, tried)
    assert site is not None  # who is not blocked has one
    return member, tier, site
