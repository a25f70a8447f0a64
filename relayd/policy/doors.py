"""Doors: one for each upstream key. Whether it lets a request through, and what it remembers.

A door holds what belongs to the key (requests in flight, limits, latency, whether the provider
refused it), and for each model in trouble a gate (circuit breaker, cool-down). A site is one base
URL of the upstream, shared by its doors: what cannot be connected to fails for every key at once,
and the next site takes over. Gates come about with the first trouble, so that models nobody has
trouble with cost one dict lookup, and names that clients invent cost nothing.

`blocked` answers in the words of `rotation`: 0 lets through, a moment is when to ask again, -1 is
not now.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from typing import Literal

from relayd.errors import BadStatus, ConnectFailed, RelayError, UpstreamError
from relayd.model import KeyLimits, UpstreamKey, UpstreamSpec
from relayd.policy.breakers import Breaker
from relayd.policy.buckets import MinuteWindow
from relayd.policy.latency import PeakEwma, Quantiles
from relayd.routing import Routing

MOST_GATES = 256
HALF_LIFE = 60.0  # seconds in which what the success ratio remembers counts half
FIRST_COOLDOWN = 1.0  # seconds, for a rate limit that does not say how long; doubled each time
LONGEST_UNTOLD = 60.0
NOT_NOW = -1.0
NO_LIMITS = KeyLimits()
CREDENTIAL = "upstream_credential"
# The demo provider refuses by the model's name, whatever the key.
REFUSES_BY_MODEL = frozenset({"demo"})

GateState = Literal["up", "cooling", "open", "half_open", "refused"]


class Gate:
    """What one key has to say about one model: its breaker, its cool-down, a refusal."""

    __slots__ = ("_untold", "breaker", "cooled_until", "refused", "why")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.cooled_until = 0.0
        self.refused = False
        self.why = ""
        self._untold = 0

    def __repr__(self) -> str:
        cooled = f" cooled until {self.cooled_until:g}" if self.cooled_until else ""
        return f"<Gate {self.breaker!r}{cooled}{' refused' if self.refused else ''}>"

    def blocked(self, now: float) -> float:
        """0 when a request may pass, else until when not; -1 where no time is known."""
        if self.refused:
            return math.inf
        if now < self.cooled_until:
            return max(self.cooled_until, self.breaker.until)
        if self.breaker.allows(now):
            return 0.0
        return self.breaker.until if self.breaker.until > now else NOT_NOW

    def cool(self, wait: float | None, longest: float, now: float) -> None:
        """A rate limit: nobody passes for `wait` seconds, or a while that grows when none is
        told."""
        if not wait:  # none told, or 0, which from one that has just refused means as little
            if now < self.cooled_until:
                return  # of a burst: it began before the limit was known, and says nothing new
            wait = min(FIRST_COOLDOWN * 2.0**self._untold, LONGEST_UNTOLD)
            self._untold = min(self._untold + 1, 10)
        self.cooled_until = max(self.cooled_until, now + min(wait, longest))
        self.why = "rate limit"

    def well(self) -> None:
        """A reply came: limits that were not told begin small again."""
        self._untold = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing but a rate limit may be against it."""
        return not self.refused and self.breaker.state == "closed"

    def state(self, now: float) -> GateState:
        """In one word."""
        if self.refused:
            return "refused"
        if now < self.cooled_until:
            return "cooling"
        kind = self.breaker.state
        return "up" if kind == "closed" else "open" if kind == "open" else "half_open"

    def reset(self) -> None:
        """The operator says that all is well."""
        self.breaker.reset()
        self.cooled_until, self.refused, self.why = 0.0, False, ""
        self._untold = 0


class Site:
    """One base URL of an upstream, as far as connecting to it goes."""

    __slots__ = ("breaker", "why")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.why = ""

    def __repr__(self) -> str:
        return f"<Site {self.breaker!r}>"


class Tally:
    """Requests and failures, the older the less they count."""

    __slots__ = ("_at", "_failures", "_requests")

    def __init__(self) -> None:
        self._requests = self._failures = 0.0
        self._at = 0.0

    def __repr__(self) -> str:
        return f"<Tally {self._failures:.1f} of {self._requests:.1f} failed>"

    def count(self, failed: bool, now: float) -> None:
        """One more."""
        if now - self._at > 1.0:
            self._fade(now)
        self._requests += 1
        self._failures += failed

    def ratio(self, now: float) -> float | None:
        """The share that succeeded; None when there is nothing to go by."""
        self._fade(now)
        return 1.0 - self._failures / self._requests if self._requests >= 0.5 else None

    def _fade(self, now: float) -> None:
        left = 0.5 ** ((now - self._at) / HALF_LIFE)
        self._requests *= left
        self._failures *= left
        self._at = now


class Door:
    """One upstream key. Owned by `Pools`, kept over a reload as long as its name stays.

    Arguments:
        spec: its upstream.
        key: its credential.
        sites: those of its upstream, the primary first.
        routing: the rules.
        rng: jitter.
    """

    __slots__ = (
        "_limits",
        "_rng",
        "_rpm",
        "_tpm",
        "disabled",
        "disabled_at",
        "failures",
        "first_byte",
        "gates",
        "in_flight",
        "key",
        "name",
        "quantiles",
        "refused",
        "requests",
        "routing",
        "sites",
        "spec",
        "tally",
        "unlimited",
    )

    def __init__(
        self,
        spec: UpstreamSpec,
        key: UpstreamKey,
        sites: list[Site],
        routing: Routing,
        rng: random.Random,
    ) -> None:
        self.name = f"{spec.name}/{key.name}"
        self._rng = rng
        self.in_flight = 0
        self.requests = self.failures = 0
        self.disabled = False
        self.disabled_at = 0.0  # as it stays where not the operator did it, but a reload
        self.refused = ""  # what the provider said when it refused the key
        self.first_byte = PeakEwma()
        self.quantiles = Quantiles()
        self.tally = Tally()
        self.gates: dict[str, Gate] = {}  # by the upstream's name of the model, where there is one
        self._rpm: MinuteWindow | None = None
        self._tpm: MinuteWindow | None = None
        self._limits = NO_LIMITS
        self.key, self.routing = key, routing
        self.adopt(spec, key, sites, routing)

    def __repr__(self) -> str:
        state = "disabled" if self.disabled else "refused" if self.refused else "up"
        return f"<Door {self.name} {state} in_flight={self.in_flight} {self.tally!r}>"

    def adopt(
        self, spec: UpstreamSpec, key: UpstreamKey, sites: list[Site], routing: Routing
    ) -> None:
        """Go by a new configuration. A new secret is given a new chance."""
        if key.secret != self.key.secret:
            self.refused = ""
            self.gates.clear()
        if routing.breaker != self.routing.breaker:
            for gate in self.gates.values():
                gate.breaker = Breaker(routing.breaker, self._rng)
        self.spec, self.key, self.sites, self.routing = spec, key, sites, routing
        old, limits = self._limits, key.limits
        self.unlimited = limits == NO_LIMITS
        if limits.rpm != old.rpm:
            self._rpm = None if limits.rpm is None else MinuteWindow(limits.rpm)
        if limits.tpm != old.tpm:
            self._tpm = None if limits.tpm is None else MinuteWindow(limits.tpm)
        self._limits = limits

    # --- may it pass ----------------------------------------------------------------------------

    def blocked(self, model: str, tokens: int, now: float) -> float:
        """Whether a request for this upstream's `model` may pass: 0, until when not, or -1."""
        if self.disabled or self.refused:
            return math.inf
        if self.sites[0].breaker.until and self.site(now) is None:
            return self._sites_until(now)
        gate = self.gates.get(model)
        if gate is not None and (until := gate.blocked(now)):
            return until
        return 0.0 if self.unlimited or self.room(tokens, now) == 0.0 else NOT_NOW

    def room(self, tokens: int, now: float) -> float | None:
        """Seconds until the key's limits leave room; None when only the end of another request
        does."""
        most = self.key.limits.concurrency
        if most is not None and self.in_flight >= most:
            return None
        wait = 0.0
        if self._rpm is not None and not self._rpm.fits(1, now):
            wait = self._rpm.wait(1, now)
        if self._tpm is not None and not self._tpm.fits(tokens, now):
            wait = max(wait, self._tpm.wait(tokens, now))
        return wait

    def site(self, now: float, tried: Collection[tuple[str, int]] = ()) -> int | None:
        """The first base URL that may be connected to and was not tried yet."""
        if not tried and not self.sites[0].breaker.until:
            return 0  # as nearly always
        for index, site in enumerate(self.sites):
            if site.breaker.allows(now) and (self.name, index) not in tried:
                return index
        return None

    def _sites_until(self, now: float) -> float:
        until = min(site.breaker.until for site in self.sites)
        return until if until > now else NOT_NOW

    # --- what happens to it ---------------------------------------------------------------------

    def enter(self, tokens: int, now: float) -> None:
        """A request goes through."""
        self.in_flight += 1
        self.requests += 1
        if self.unlimited:
            return
        if self._rpm is not None:
            self._rpm.take(1, now)
        if self._tpm is not None:
            self._tpm.take(tokens, now)

    def correct(self, more: int, taken_at: float, now: float) -> None:
        """The tokens turned out to be more, or fewer, than was taken for them."""
        if self._tpm is not None:
            self._tpm.adjust(more, taken_at, now)

    def trouble(self, model: str) -> Gate:
        """The gate of a model, made where there is none yet."""
        gate = self.gates.get(model)
        if gate is None:
            if len(self.gates) >= MOST_GATES:
                self._forget_one()
            gate = self.gates[model] = Gate(Breaker(self.routing.breaker, self._rng))
        return gate

    def is_well(self, now: float) -> bool:
        """Whether nothing is against it but limits, or the operator."""
        gates = self.gates.values()
        sites = all(site.breaker.allows(now) for site in self.sites)
        return sites and not self.refused and all(gate.is_well for gate in gates)

    def reset(self) -> None:
        """All is well, the operator says."""
        self.refused = ""
        for gate in self.gates.values():
            gate.reset()
        for site in self.sites:
            site.breaker.reset()

    def _forget_one(self) -> None:
        """A healthy one if there is any, else the oldest."""
        quiet = (n for n, g in self.gates.items() if g.breaker.state == "closed" and not g.refused)
        del self.gates[next(quiet, next(iter(self.gates)))]


def is_fault(error: RelayError | None) -> bool:
    """Whether an error counts against the upstream's success: its own failure, no rate limit."""
    if not isinstance(error, UpstreamError):
        return False
    return not (isinstance(error, BadStatus) and error.upstream_status in (408, 425, 429))


def refuses(error: RelayError | None) -> bool:
    """Whether the provider refused our credential."""
    return isinstance(error, BadStatus) and error.code == CREDENTIAL


def unreachable(error: RelayError | None) -> bool:
    """Whether no connection came about."""
    return isinstance(error, ConnectFailed)
