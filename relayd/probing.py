"""Probing: upstream keys that are not well are asked a cheap question; a good answer helps them.

An upstream with `probe:` has each of its keys probed in its interval, for as long as the key or a
model of it is refused or failing; the operator may ask for a probe of any key. A good probe takes
back a key that its provider had refused. What it does not show stays as it is: the list of models
says that the key is good, not that a failing model works again, and a key that the operator
switched off stays off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from relayd.errors import RelayError
from relayd.policy.doors import Door
from relayd.policy.pools import Pools
from relayd.policy.reports import ProbeResult
from relayd.upstream.probe import probe
from relayd.upstream.provider import Provider

log = logging.getLogger("relayd")

TIMEOUT = 15.0  # seconds for one probe
TICK = 0.5


class Probing:
    """Probes upstream keys. Owns when each upstream is due.

    Arguments:
        pools: whose doors are probed, and told.
        providers: the present ones, by upstream name.
    """

    def __init__(self, pools: Pools, providers: Callable[[], Mapping[str, Provider]]) -> None:
        self._pools = pools
        self._providers = providers
        self._clock = asyncio.get_running_loop().time
        self._due: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Probing {sorted(self._due)}>"

    async def run(self) -> None:
        """Probe what is due, for ever."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.probe_due()
            except Exception:
                log.exception("probing failed")

    async def probe_due(self) -> None:
        """Probe the keys that are not well, of upstreams whose turn it is."""
        now = self._clock()
        due: list[Door] = []
        for name, provider in self._providers().items():
            rules = provider.spec.probe
            if rules is None or now < self._due.get(name, now):
                continue
            self._due[name] = now + rules.interval
            due += [door for door in self._pools.named(name) if not door.is_well(now)]
        await asyncio.gather(*(self._probe(door) for door in due))

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
        problem = await self._ask(door, provider, model)
        if problem is None:
            was_refused = door.refused
            self._pools.well(door, model)
            if was_refused:
                log.warning("upstream key %s is back: a probe was answered well", door.name)
        why = "" if problem is None else problem.message
        seconds = self._clock() - began
        return ProbeResult(door.spec.name, door.key.name, problem is None, why, seconds)

    async def _ask(self, door: Door, provider: Provider, model: str | None) -> RelayError | None:
        """The first base URL that answers well will do; else what the last one said."""
        problem: RelayError | None = None
        for site in range(len(door.sites)):
            problem = await probe(provider.outlet(door.key.name, site), door.spec, model, TIMEOUT)
            if problem is None:
                return None
        return problem
