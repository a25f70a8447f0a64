"""Doors: one for each upstream key. Whether it lets a request through, and what it remembers.

A door holds what belongs to the key (requests in flight, limits, latency, whether the provider
refused it), and for each model in trouble a gate. The sites are those of its upstream, shared by
its doors: what cannot be connected to fails for every key at once, and the next site takes over.
Gates come about with the first trouble, so that models nobody has trouble with cost one dict
lookup, and names that clients invent cost nothing.

`blocked` answers in the words of `rotation`: 0 lets through, a moment is when to ask again, -1 is
not now.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection

from relayd.errors import BadStatus, ConnectFailed, RelayError, UpstreamError
from relayd.model import KeyLimits, UpstreamKey, UpstreamSpec
from relayd.policy.breakers import Breaker
from relayd.policy.buckets import MinuteWindow
from relayd.policy.changes import Change, Event, Hear, nobody
from relayd.policy.gates import NOT_NOW, Gate, Site
from relayd.policy.latency import PeakEwma, Quantiles
from relayd.routing import Routing

MOST_GATES = 256
MOST_SERVED = 64  # models of which a door knows when they went well last
LATELY = 300.0  # seconds in which a model that went well speaks for its door
HALF_LIFE = 60.0  # seconds in which what the success ratio remembers counts half
NO_LIMITS = KeyLimits()
CREDENTIAL = "upstream_credential"
PROBED = "A probe was answered well."
# The demo provider refuses by the model's name, whatever the key.
REFUSES_BY_MODEL = frozenset({"demo"})


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
        hear: called with each change of its state that a request or a probe brings about.
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
        "hear",
        "in_flight",
        "key",
        "name",
        "quantiles",
        "refused",
        "requests",
        "routing",
        "served",
        "served_at",
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
        *,
        hear: Hear = nobody,
    ) -> None:
        self.hear = hear
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
        self.served: dict[str, float] = {}  # model: when a request for it went well last
        self.served_at: float | None = None  # when anything did
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

    def serve(self, model: str, now: float) -> None:
        """A request for the model went well."""
        served = self.served
        self.served_at = now
        if model not in served and len(served) >= MOST_SERVED:
            del served[next(iter(served))]
        served[model] = now

    def serves_any(self, now: float) -> bool:
        """Whether some model went well lately that nothing is against now."""
        for model, at in self.served.items():
            gate = self.gates.get(model)
            if now - at <= LATELY and (gate is None or gate.state(now) == "up"):
                return True
        return False

    def trouble(self, model: str) -> Gate:
        """The gate of a model, made where there is none yet."""
        gate = self.gates.get(model)
        if gate is None:
            if len(self.gates) >= MOST_GATES:
                self._forget_one()
            gate = self.gates[model] = Gate(Breaker(self.routing.breaker, self._rng))
        return gate

    def is_well(self, now: float) -> bool:
        """Whether nothing is against it but limits, or the operator.

        That a site may be tried again does not show that it is well; one that does is enough.
        """
        sites = self.sites
        reached = any(not site.breaker.until for site in sites)
        allowed = reached and all(site.breaker.allows(now) for site in sites)
        return allowed and not self.refused and all(gate.is_well for gate in self.gates.values())

    def well(self, model: str | None, site: Site | None, now: float) -> None:
        """A probe was answered well: it shows that the key is good, and what it has asked.

        Arguments:
            model: who answered it, by its public name or the upstream's own; None is only the list
                of models.
            site: the base URL that was asked.
        """
        if site is not None:
            if site.breaker.until:
                self._tell("closes", "", now, site=self.spec.base_urls[self.sites.index(site)])
            site.breaker.reset()
        own = next((r.target for r in self.spec.models if r.pattern == model and r.target), model)
        if self.refused:
            self._tell("back", "", now)
        self.refused = ""
        for name, gate in self.gates.items():
            if gate.refused:
                self._tell("back", name, now)
            elif name == own and gate.breaker.until:
                self._tell("closes", name, now)
            if name == own:
                gate.reset()
            else:
                gate.refused = False

    def _tell(self, event: Event, model: str, now: float, site: str = "") -> None:
        upstream, key = self.spec.name, self.key.name
        self.hear(Change(event, upstream, key, model, site, now, why=PROBED))

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
