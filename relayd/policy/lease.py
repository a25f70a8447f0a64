"""A lease: one request's place at one door, and what its end teaches the door.

A lease ends once, in one of three ways: it went well, it failed (the error says how, and the table
in `fail` what follows), or it was given up without anybody's fault. Only the door learns; whether
the request is tried elsewhere is decided in `attempts`. Where this changes the state of the key, a
model at it or a base URL, whoever listens to the door hears of it, with the request's id.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayd.errors import BadStatus, RelayError, UpstreamError
from relayd.model import Timeouts, UpstreamSpec
from relayd.policy.breakers import Breaker
from relayd.policy.changes import Change, Event
from relayd.policy.doors import REFUSES_BY_MODEL, is_fault, refuses, unreachable
from relayd.policy.pool import Found, Target

LIMITED = frozenset({429})
FORBIDDEN = 403
BECOMES: Mapping[str, Event] = {"open": "opens", "half_open": "probes", "closed": "closes"}


class Lease:
    """A choice taken: the door holds one request more until the lease ends.

    Arguments:
        found: the member of the pool whose place it is, its tier, and which base URL.
        model: the upstream's name of the model.
        tokens: that the request may cost.
        now: when it was taken.
        request: the request's id, for what is told of it.

    `target` is what was chosen: the door and the base URL; `rule` is by which of the upstream's
    rules it offers the model; `translated`: it does not speak the client's format.
    """

    __slots__ = (
        "_ended",
        "_generation",
        "_member",
        "_secret",
        "_site",
        "_site_generation",
        "_tier",
        "_tokens",
        "door",
        "model",
        "request",
        "rule",
        "site",
        "spec",
        "taken_at",
        "target",
        "timeouts",
        "translated",
    )

    def __init__(
        self, found: Found, model: str, tokens: int, now: float, request: str = ""
    ) -> None:
        self._member, self._tier, self.site = member, tier, site = found
        self.door = door = member.door
        self.spec: UpstreamSpec = door.spec
        self.target: Target = door.name, site
        self.model = model
        self.rule = member.rule.pattern
        self.translated = member.translated
        self.timeouts: Timeouts = member.rule.timeouts or door.spec.timeouts
        self.taken_at, self._tokens = now, tokens
        # A reload may give the door another credential, and other sites, while this lease is held.
        self._secret = door.key.secret
        self._site = door.sites[site]
        self._ended = False
        self.request = request
        member.held += 1
        tier.held += 1
        door.enter(tokens, now)
        # What the breakers give at the door: a gate that comes about later begins with 0.
        breaker = self._site.breaker
        if breaker.until:
            self._site_generation = self._enter(breaker, now, at_site=True)
        else:
            self._site_generation = breaker.generation
        gate = door.gates.get(model)
        self._generation = 0 if gate is None else self._enter(gate.breaker, now)

    def __repr__(self) -> str:
        state = "ended" if self._ended else "held"
        return f"<Lease {self.door.name} site={self.site} {self.model} by {self.rule} {state}>"

    @property
    def ended(self) -> bool:
        """Whether the place was given back."""
        return self._ended

    def connected(self, now: float) -> None:
        """A connection came about, or a reply on one: the site is well, whatever else happens."""
        breaker = self._site.breaker
        if breaker.until:
            was = breaker.state
            breaker.succeed(self._site_generation, now)
            self._tell_breaker(was, breaker, now, at_site=True)

    def succeed(self, now: float, first_byte: float | None, tokens: int | None = None) -> None:
        """It went well. `first_byte`: seconds from the request; `tokens`: what it really cost."""
        if self._release():
            return
        if self._site.breaker.until:
            self.connected(now)
        door = self.door
        door.tally.count(False, now)
        door.serve(self.model, now)
        if first_byte is not None:
            door.first_byte.observe(first_byte, now)
            door.quantiles.observe(first_byte)
        if tokens is not None and not door.unlimited:
            door.correct(tokens - self._tokens, self.taken_at, now)
        gate = door.gates.get(self.model)
        if gate is not None:
            gate.well()
            was = gate.breaker.state
            gate.breaker.succeed(self._generation, now)
            self._tell_breaker(was, gate.breaker, now)

    def fail(self, error: RelayError, now: float) -> None:
        """It failed. What is not the upstream's fault leaves no trace."""
        if not isinstance(error, UpstreamError):
            self.leave(now)
            return
        if self._release():
            return
        door = self.door
        if is_fault(error):
            door.failures += 1
            door.tally.count(True, now)
        door.correct(-self._tokens, self.taken_at, now)
        if unreachable(error):
            self._fail_site(error, now)
            self._leave_gate()
            return
        if isinstance(error, BadStatus):
            self.connected(now)
        else:  # of a connection that is dead or silent: it may be an old one
            self._site.breaker.leave(self._site_generation)
        if refuses(error):
            self._refuse(error, now)
        elif isinstance(error, BadStatus) and error.upstream_status in LIMITED:
            self._leave_gate()
            if door.routing.longest_cooldown > 0:
                self._cool(error, now)
        elif is_fault(error):
            self._fail_gate(error, now)
        else:
            self._leave_gate()

    def leave(self, now: float) -> None:
        """It ended without anybody's fault: the client left, another attempt was faster."""
        if not self._release():
            self._leave_gate()
            self._site.breaker.leave(self._site_generation)

    def _release(self) -> bool:
        """Give the place back; returns whether that had been done."""
        ended, self._ended = self._ended, True
        if not ended:
            self.door.in_flight -= 1
            self._member.held -= 1
            self._tier.held -= 1
        return ended

    def _leave_gate(self) -> None:
        gate = self.door.gates.get(self.model)
        if gate is not None:
            gate.breaker.leave(self._generation)

    def _enter(self, breaker: Breaker, now: float, *, at_site: bool = False) -> int:
        was = breaker.state
        generation = breaker.enter(now)
        self._tell_breaker(was, breaker, now, at_site=at_site)
        return generation

    def _cool(self, error: UpstreamError, now: float) -> None:
        gate = self.door.trouble(self.model)
        was_cooling = now < gate.cooled_until
        gate.cool(error.retry_after, self.door.routing.longest_cooldown, now)
        if not was_cooling:
            self._tell("cools", now, again=gate.cooled_until - now)

    def _fail_gate(self, error: UpstreamError, now: float) -> None:
        if not self.door.routing.breaker.enabled:
            return
        gate = self.door.trouble(self.model)
        was = gate.breaker.state
        gate.breaker.fail(self._generation, now)
        gate.why = error.why
        self._tell_breaker(was, gate.breaker, now, gate.why)

    def _fail_site(self, error: UpstreamError, now: float) -> None:
        if not self.door.routing.breaker.enabled:
            return
        breaker = self._site.breaker
        was = breaker.state
        breaker.fail(self._site_generation, now, at_once=True)
        self._site.why = error.why
        self._tell_breaker(was, breaker, now, error.why, at_site=True)

    def _refuse(self, error: RelayError, now: float) -> None:
        """The key is out, until the operator or a good probe says otherwise: for this model, when
        the provider only forbids (403), else for all."""
        door = self.door
        self._leave_gate()
        if not door.routing.breaker.enabled or self._secret != door.key.secret:
            return  # the latter was replaced meanwhile
        forbidden = isinstance(error, BadStatus) and error.upstream_status == FORBIDDEN
        if forbidden or door.spec.dialect in REFUSES_BY_MODEL:
            gate = door.trouble(self.model)
            was_refused = gate.refused
            gate.refused, gate.why = True, error.message
        else:
            was_refused = bool(door.refused)
            door.refused = error.message
        if not was_refused:
            self._tell("refused", now, error.message, of_model=not door.refused)

    # --- what the operator hears ----------------------------------------------------------------

    def _tell_breaker(
        self, was: str, breaker: Breaker, now: float, why: str = "", *, at_site: bool = False
    ) -> None:
        """A breaker may have changed its state from `was`; half the calls are of one that has
        not."""
        if breaker.state == was:
            return
        event = BECOMES[breaker.state]
        opens = event == "opens"
        change = self._change(event, now)._replace(
            why=why,
            again=breaker.until - now if opens else None,
            failures=breaker.failures if opens and was == "closed" else 0,
        )
        if at_site:
            other = self.door.site(now) if opens else None
            urls = self.spec.base_urls
            instead = "" if other is None else urls[other]
            change = change._replace(model="", site=urls[self.site], instead=instead)
        self.door.hear(change)

    def _tell(
        self,
        event: Event,
        now: float,
        why: str = "",
        again: float | None = None,
        *,
        of_model: bool = True,
    ) -> None:
        change = self._change(event, now)._replace(why=why, again=again)
        self.door.hear(change if of_model else change._replace(model=""))

    def _change(self, event: Event, now: float) -> Change:
        door = self.door
        return Change(event, door.spec.name, door.key.name, self.model, "", now, self.request)
