"""The providers of the simulation: what they offer, and how each request that is sent there ends.

Three upstreams with two keys each, five models with different strategies. What is wrong with an
upstream is a `Trouble`, and what a trouble does to one request is a row of `KINDS`. A request's
fate is drawn when it is sent: what is under way when an outage begins still ends well, because a
reply that broke off half way is nobody's to heal.

Connections are kept alive: a request takes an idle one if there is one, as in the relay, and then
nothing is learned about whether the upstream can be connected to.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from relayd.errors import BadStatus, ConnectFailed, NoAnswer, RelayError
from relayd.model import ModelRule, ProbeRules, Secret, Timeouts, UpstreamKey, UpstreamSpec
from relayd.policy.doors import Door
from relayd.policy.lease import Lease
from relayd.routing import ModelRouting, Routing

USUAL_FIRST_BYTE = 0.1  # seconds, the median
USUAL_REPLY = 1.0
LONGEST_REPLY = 8.0
SLOWER = 20  # times, for an upstream that is slow
PROBED_EVERY = 10.0
DOWN = "refuses connections"

SHARES: Mapping[str, float] = {  # of all requests, by public name
    "large": 0.5,
    "quick": 0.2,
    "busy": 0.15,
    "tuned-1": 0.05,
    "tuned-2": 0.05,
    "solo": 0.05,
}
ROUTING = Routing(
    models=(
        ModelRouting("quick", strategy="fastest", hedge=True),
        ModelRouting("busy", strategy="least_busy"),
        ModelRouting("solo", fallbacks=("large",)),
    )
)


class Fate(NamedTuple):
    """How one request ends.

    Arguments:
        error: what it fails with, before its first byte.
        after: seconds to the failure, or to the first byte.
        lasts: seconds from the first byte to the end of the reply.
    """

    error: RelayError | None
    after: float
    lasts: float = 0.0


class Trouble(NamedTuple):
    """What is wrong with an upstream, or with one key, or one base URL of it.

    Arguments:
        period: seconds that it is wrong, and then as long not wrong; 0 is all the time.
    """

    kind: str
    upstream: str
    key: str | None = None
    site: int | None = None
    period: float = 0.0


class Sent(NamedTuple):
    """A request as a provider sees it."""

    reused: bool  # it came over a connection that there was
    first_byte: float  # when the first byte would usually come
    patience: float  # the first-byte timeout
    dice: random.Random


def specs(first_byte: float) -> list[UpstreamSpec]:
    """The upstreams. `first_byte`: their first-byte timeout."""
    timeouts = Timeouts(connect=2.0, first_byte=first_byte)
    models = tuple(ModelRule(name) for name in ("large", "quick", "busy", "tuned-*"))
    return [
        UpstreamSpec(
            name=name,
            dialect="openai",
            base_urls=tuple(f"https://{place}.invalid/v1" for place in (name, *backups)),
            keys=tuple(UpstreamKey(str(n), Secret(f"{name}-{n}")) for n in (1, 2)),
            models=(*models, *(ModelRule(one) for one in own)),
            formats=("chat",),
            timeouts=timeouts,
            probe=ProbeRules(PROBED_EVERY),
        )
        for name, backups, own in (
            ("north", ("north-backup",), ("solo",)),
            ("south", (), ()),
            ("east", (), ()),
        )
    ]


class World:
    """All providers. Owns their troubles and the connections to them.

    Arguments:
        rng: draws fates.
    """

    def __init__(self, rng: random.Random) -> None:
        self.troubles: tuple[Trouble, ...] = ()
        self.began = 0.0
        self._rng = rng
        self._idle: Counter[tuple[str, int]] = Counter()

    def __repr__(self) -> str:
        return f"World({', '.join(f'{t.upstream} {t.kind}' for t in self.troubles) or 'all well'})"

    def answer(self, lease: Lease, now: float) -> Fate:
        """A request is sent by a lease. Tells the lease of a connection, as an attempt does."""
        rng, place = self._rng, (lease.spec.name, lease.site)
        reused = self._idle[place] > 0
        if reused:
            self._idle[place] -= 1
        usual = USUAL_FIRST_BYTE * math.exp(rng.gauss(0.0, 0.4))
        if reused and self._is_down(lease, now):  # the connections went with the provider
            self._idle[place], reused = 0, False
        fate = self._disturbed(lease, Sent(reused, usual, lease.timeouts.first_byte, rng), now)
        if fate is None:
            lasts = min(USUAL_REPLY * math.exp(rng.gauss(0.0, 0.8)), LONGEST_REPLY)
            fate = Fate(None, usual, lasts)
        if not reused and not isinstance(fate.error, ConnectFailed):
            lease.connected(now)
        return fate

    def release(self, lease: Lease, now: float) -> None:
        """A reply was read to its end: the connection is idle."""
        if not self._is_down(lease, now):
            self._idle[lease.spec.name, lease.site] += 1

    def concerns(self, door: Door) -> bool:
        """Whether a door is in trouble, at the one or the other base URL."""
        return any(
            t.upstream == door.spec.name and t.key in (None, door.key.name) for t in self.troubles
        )

    def _disturbed(self, lease: Lease, sent: Sent, now: float) -> Fate | None:
        for trouble in self.troubles:
            if _concerns(trouble, lease) and self._lasts(trouble, now):
                return KINDS[trouble.kind](sent)
        return None

    def _is_down(self, lease: Lease, now: float) -> bool:
        return any(
            t.kind == DOWN and _concerns(t, lease) and self._lasts(t, now) for t in self.troubles
        )

    def _lasts(self, trouble: Trouble, now: float) -> bool:
        return not trouble.period or int((now - self.began) / trouble.period) % 2 == 0


def _concerns(trouble: Trouble, lease: Lease) -> bool:
    return (
        trouble.upstream == lease.spec.name
        and trouble.key in (None, lease.door.key.name)
        and trouble.site in (None, lease.site)
    )


def _refused(sent: Sent) -> Fate:
    return Fate(ConnectFailed("The connection was refused."), 0.001)


def _full(sent: Sent) -> Fate | None:
    """No new connections; those that there are go on."""
    return None if sent.reused else _refused(sent)


def _silent(sent: Sent) -> Fate:
    return Fate(NoAnswer("Nothing came in time."), sent.patience)


def _failing(sent: Sent) -> Fate:
    return Fate(BadStatus("The upstream failed.", upstream_status=500), sent.first_byte)


def _half_failing(sent: Sent) -> Fate | None:
    return _failing(sent) if sent.dice.random() < 0.5 else None


def _slow(sent: Sent) -> Fate:
    first_byte = sent.first_byte * SLOWER
    return Fate(None, first_byte, USUAL_REPLY) if first_byte < sent.patience else _silent(sent)


def _limited(retry_after: float | None) -> Callable[[Sent], Fate]:
    def fate(sent: Sent) -> Fate:
        error = BadStatus("Too many.", upstream_status=429, status=429, retry_after=retry_after)
        return Fate(error, sent.first_byte)

    return fate


def _unknown_key(sent: Sent) -> Fate:
    error = BadStatus("The key is not known.", upstream_status=401, code="upstream_credential")
    return Fate(error, sent.first_byte)


# What a trouble does to one request; None is nothing, this time.
KINDS: Mapping[str, Callable[[Sent], Fate | None]] = {
    DOWN: _refused,
    "no new connections": _full,
    "silent": _silent,
    "errors": _failing,
    "50 % errors": _half_failing,
    "slow": _slow,
    "429, 20 s told": _limited(20.0),
    "429, nothing told": _limited(None),
    "401": _unknown_key,
}
