"""Generic pass-through: what relayd does not know goes to one upstream as it is.

An operator opens prefixes of paths (`wire.passages`). Who may use them, how often, and that it is
written down is as for every request; beyond that nothing is read, edited or translated. Files and
batches live where they were made, so all requests of an upstream go to its first key and its first
base URL. A request that may change something there is not sent a second time, unless it never
arrived.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from relayd.errors import NoUpstream
from relayd.policy.attempts import Attempts
from relayd.policy.holdings import site_tag
from relayd.policy.pins import Pins
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.relay.work import Work
from relayd.upstream.provider import Provider
from relayd.wire.head import Head
from relayd.wire.multipart import Raw
from relayd.wire.passages import Passages, check
from relayd.wire.paths import Target

WORK = "passthrough"  # what keys have trouble with, in place of a model


class Passing:
    """Brings requests to the upstream that has their path open.

    Arguments:
        pools: has the upstream keys.
        pins: routes to single keys.
        rng: draws the rest before a repetition.
    """

    def __init__(self, pools: Pools, pins: Pins, rng: random.Random) -> None:
        self._pools = pools
        self._pins = pins
        self._rng = rng
        self._passages = Passages([])

    def __repr__(self) -> str:
        return f"<Passing {self._passages!r}>"

    def reconfigure(self, providers: Mapping[str, Provider]) -> None:
        """Go by another configuration: the upstreams, in its order."""
        self._passages = Passages(provider.spec for provider in providers.values())

    def target(self, method: str, path: str, query: str) -> Target | None:
        """What to ask for, or None where the path is open to nobody."""
        return self._passages.target(method, path, query)

    async def read(self, work: Work) -> None:
        """Take the body as it is. Raises BadCall for a path or a method that cannot pass, and as
        `Client.read_spool`."""
        target = work.call.target
        assert target is not None
        check(target)
        spool = await work.client.read_spool(work.entry.account_id or 0)
        work.head = Head(target, "", False, b"", raw=Raw("", spool))

    def route(self, work: Work) -> Attempts:
        """To the first key of the upstream that has the path open. Raises NoUpstream where that has
        gone while the body came."""
        target = work.call.target
        assert target is not None
        name = self._passages.upstream(target.rest)
        doors = [] if name is None else self._pools.named(name)
        route = self._pins.held(doors[0].name, "", WORK) if doors else None
        if route is None:
            raise NoUpstream("No upstream takes this path any more.")
        never = self._pins.others(doors[0].name, site_tag(doors[0].spec.base_urls[0]))
        wanted = Wanted(0, work.entry.account_id or 0, request=work.call.request_id)
        repeatable = target.method == "GET"
        return Attempts(self._pools, [route], wanted, self._rng, never=never, repeatable=repeatable)
