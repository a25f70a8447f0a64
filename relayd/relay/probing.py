"""Probing: upstream keys that are not well are asked a cheap question; a good answer helps them.

An upstream with `probe:` has each of its keys probed in its interval, for as long as the key or a
model of it is refused or failing; the operator may ask for a probe of any key. Each upstream has
its own rounds, so that one which does not answer keeps no other waiting. A good probe takes
back a key that its provider had refused. What it does not show stays as it is: the list of models
says that the key is good, not that a failing model works again, and a key that the operator
switched off stays off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from relayd.errors import RelayError
from relayd.lines import say
from relayd.policy.doors import Door
from relayd.policy.gates import Site
from relayd.policy.pools import Pools
from relayd.policy.reports import ProbeResult
from relayd.tasks import Tasks
from relayd.upstream.probe import probe
from relayd.upstream.provider import Provider

TIMEOUT = 15.0  # seconds for one probe
TICK = 0.5


class Probing:
    """Probes upstream keys. Owns when each upstream is due, and the rounds under way.

    Arguments:
        pools: whose doors are probed, and told.
        providers: the present ones, by upstream name.
    """

    def __init__(self, pools: Pools, providers: Callable[[], Mapping[str, Provider]]) -> None:
        self._pools = pools
        self._providers = providers
        self._clock = asyncio.get_running_loop().time
        self._due: dict[str, float] = {}
        self.busy: set[str] = set()  # upstreams whose round is under way
        self._rounds = Tasks()

    def __repr__(self) -> str:
        return f"<Probing {sorted(self._due)} busy={sorted(self.busy)}>"

    async def run(self) -> None:
        """Probe what is due, for ever."""
        try:
            while True:
                await asyncio.sleep(TICK)
                try:
                    self.start_due()
                except Exception:
                    say(logging.ERROR, "probing failed", exc=True)
        finally:
            await self.close()

    def start_due(self) -> None:
        """Begin a round with each upstream whose turn it is, unless its last one still runs."""
        now = self._clock()
        for name, provider in self._providers().items():
            rules = provider.spec.probe
            if rules is None or name in self.busy or now < self._due.get(name, now):
                continue
            self._due[name] = now + rules.interval
            self.busy.add(name)
            self._rounds.spawn(self._round(name), f"probing {name}")

    async def close(self) -> None:
        """End the rounds under way."""
        await self._rounds.cancel()

    async def _round(self, upstream: str) -> None:
        """Probe the keys of an upstream that are not well."""
        try:
            now = self._clock()
            ill = [door for door in self._pools.named(upstream) if not door.is_well(now)]
            await asyncio.gather(*(self._probe(door) for door in ill))
        finally:
            self.busy.discard(upstream)

    async def probe(self, upstream: str, key: str | None) -> list[ProbeResult]:
        """Probe one key of an upstream, or all of them, whatever state they are in.

        Raises KeyError for an unknown name.
        """
        doors = self._pools.named(upstream, key)
        return list(await asyncio.gather(*(self._probe(door) for door in doors)))

    async def _probe(self, door: Door) -> ProbeResult:
        provider = self._providers()[door.spec.name]
        model = door.spec.probe.model if door.spec.probe is not None else None
        began = self._clock()
        site, problem = await self._ask(door, provider, model)
        if problem is None:
            self._pools.well(door, model, site, self._clock())
        why = "" if problem is None else problem.message
        seconds = self._clock() - began
        return ProbeResult(door.spec.name, door.key.name, problem is None, why, seconds)

    async def _ask(
        self, door: Door, provider: Provider, model: str | None
    ) -> tuple[Site, RelayError | None]:
        """The first base URL that answers well will do; else the last one, and what it said."""
        sites = list(enumerate(door.sites))
        for index, site in sites[:-1]:
            outlet = provider.outlet(door.key.name, index)
            if await probe(outlet, door.spec, model, TIMEOUT) is None:
                return site, None
        index, site = sites[-1]
        outlet = provider.outlet(door.key.name, index)
        return site, await probe(outlet, door.spec, model, TIMEOUT)
