"""Upstreams, pools of them and requests for them, in as few words as a test of a rule has.

Time is a number that starts at NOW and moves when a test adds to it; dice are always the same.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from hashlib import blake2b
from typing import Any

from relayd.errors import BadStatus, ConnectFailed, NoAnswer
from relayd.model import FormatName, KeyLimits, ModelRule, Secret, UpstreamKey, UpstreamSpec
from relayd.policy.doors import Door
from relayd.policy.gates import Gate
from relayd.policy.lease import Lease
from relayd.policy.pool import Target, Wanted
from relayd.policy.pools import Pools
from relayd.routing import BreakerRules, Routing

NOW = 1000.0  # where the tests' clocks start, in seconds
# An upstream breaks at the third failure in a row; five seconds, more or less a tenth.
BREAKER = BreakerRules(consecutive=3, open_for=5.0)


def dice(seed: int = 1) -> random.Random:
    """The same numbers each time."""
    return random.Random(seed)


def key(name: str = "1", weight: int = 1, secret: str = "", **limits: int) -> UpstreamKey:
    """One credential; `limits` are rpm, tpm and concurrency."""
    return UpstreamKey(name, Secret(secret or f"secret-{name}"), weight, KeyLimits(**limits))


def upstream(name: str, *models: str, **changes: Any) -> UpstreamSpec:
    """An upstream that offers `models`, each `pattern` or `pattern=target`.

    Arguments:
        changes: `keys`, how many or which; `urls`, how many; `cost`, of all models; or any field of
            the spec.
    """
    keys, urls = changes.pop("keys", 1), changes.pop("urls", 1)
    cost: float | None = changes.pop("cost", None)
    parts = [model.partition("=") for model in models or ("m",)]
    formats: tuple[FormatName, ...] = changes.pop("formats", ("chat",))
    return UpstreamSpec(
        name,
        changes.pop("dialect", "openai"),
        tuple(f"http://{name}-{i}" for i in range(urls)),
        tuple(key(str(i + 1)) for i in range(keys)) if isinstance(keys, int) else tuple(keys),
        tuple(ModelRule(pattern, target or None, cost=cost) for pattern, _, target in parts),
        formats,
        **changes,
    )


def pools_of(*specs: UpstreamSpec, **rules: Any) -> Pools:
    """Pools of these upstreams; `rules` are fields of Routing."""
    return Pools(specs, Routing(**{"breaker": BREAKER, **rules}), dice())


def ask(
    pools: Pools,
    now: float = NOW,
    model: str = "m",
    tried: Collection[Target] = (),
    **wanted: Any,
) -> Lease:
    """A place for one request; `wanted` are fields of Wanted."""
    return pools.choose(pools.route(model, "chat"), Wanted(**wanted), now, tried)


def served(pools: Pools, now: float = NOW, model: str = "m", **wanted: Any) -> str:
    """The door that a request went to, which went well and is over."""
    lease = ask(pools, now, model, **wanted)
    lease.succeed(now, 0.1)
    pools.remember(pools.route(model, "chat"), lease, Wanted(**wanted), now)
    return lease.door.name


def at(pools: Pools, door: str, now: float = NOW, model: str = "m", **wanted: Any) -> Lease:
    """A place at a certain door: who else has the turn is passed over."""
    others = {(n, i) for n, d in pools.doors.items() if n != door for i in range(len(d.sites))}
    return ask(pools, now, model, others, **wanted)


def digest(name: object) -> bytes:
    """A conversation's."""
    return blake2b(repr(name).encode(), digest_size=16).digest()


def status(code: int, retry_after: float | None = None) -> BadStatus:
    """The upstream answered with its own failure."""
    refused = "upstream_credential" if code in (401, 402, 403) else None
    text = f"The upstream answered {code}."
    return BadStatus(text, upstream_status=code, code=refused, retry_after=retry_after)


def no_connection() -> ConnectFailed:
    """The upstream could not be reached."""
    return ConnectFailed("The upstream cannot be reached.")


def no_answer() -> NoAnswer:
    """The upstream took too long."""
    return NoAnswer("The upstream sent nothing.")


def break_down(pools: Pools, door: str, now: float = NOW, model: str = "m") -> float:
    """Let requests fail at a door until its breaker opens; returns when that lets a probe pass."""
    while True:
        at(pools, door, now, model).fail(status(500), now)
        gate = gate_of(pools.doors[door], pools.route(model, "chat").models[door])
        if gate.breaker.until:
            return gate.breaker.until


def gate_of(door: Door, model: str = "m") -> Gate:
    """What a door has against a model; there is something."""
    gate = door.gates.get(model)
    assert gate is not None
    return gate
