"""One door and no other: the route of a request that has to go where its state is.

What a request follows on lies with one upstream key; asked of any other, it would be unknown there.
So such a request has a pool of that one door: it may wait there for its turn, and is asked there
again, but never elsewhere. Of the upstream's base URLs it is the one that made the state, as long
as that is configured. Pools are kept, because a waiting room is shared by all who wait for the same
door; there are no more of them than doors and rules.
"""

from __future__ import annotations

import random

from relayd.model import ModelRule
from relayd.policy.doors import Door
from relayd.policy.holdings import site_tag
from relayd.policy.pool import Pool, Target
from relayd.policy.pools import Pools, Route
from relayd.policy.tiers import Member

MOST_KEPT = 1024
# The rule of what is there already: the model may not be offered any more.
HELD = ModelRule("held")


class Pins:
    """Routes to single doors. Owns their pools.

    Arguments:
        pools: has the doors; a reload changes it.
        rng: for pools, which draw among doors.
    """

    __slots__ = ("_kept", "_pools", "_rng")

    def __init__(self, pools: Pools, rng: random.Random) -> None:
        self._pools = pools
        self._rng = rng
        self._kept: dict[tuple[str, ModelRule], Pool] = {}

    def __repr__(self) -> str:
        return f"<Pins {len(self._kept)} pools>"

    def held(self, door: str, asked: str, model: str) -> Route | None:
        """To what is there already; None where the door is gone.

        Arguments:
            asked: the public name of the model, "" where there is none.
            model: what the upstream calls it.
        """
        return self._route(door, asked, model, HELD)

    def narrowed(self, route: Route, door: str) -> Route | None:
        """To one door of those that serve a model in the client's own format; None where it does
        not."""
        for member in route.pool.members:
            if member.door.name == door and not member.translated:
                return self._route(door, route.asked, route.models[door], member.rule)
        return None

    def others(self, door: str, site: str) -> list[Target]:
        """The door's base URLs that have not made the state; none where that one is gone.

        Arguments:
            site: its tag.
        """
        found = self._pools.doors.get(door)
        tags = [] if found is None else [site_tag(url) for url in found.spec.base_urls]
        return [(door, i) for i, tag in enumerate(tags) if tag != site] if site in tags else []

    def _route(self, name: str, asked: str, model: str, rule: ModelRule) -> Route | None:
        door = self._pools.doors.get(name)
        if door is None:
            return None
        return Route(asked, self._pool(door, rule), {name: model}, ())

    def _pool(self, door: Door, rule: ModelRule) -> Pool:
        pools = self._pools
        pool = self._kept.get((door.name, rule))
        if pool is None or pool.members[0].door is not door or pool.budget is not pools.budget:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            routing = pools.routing
            members, strategy = [Member(door, rule)], routing.strategy
            pool = Pool(members, routing, strategy, False, self._rng, pools.budget)
            self._kept[door.name, rule] = pool
        return pool
