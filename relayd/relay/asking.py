"""Asking upstreams for one request, one after another, until one answers or it is enough.

`ask` is the one loop over upstreams: until the first byte has gone to the client, a failure may
lead to another upstream. Each turn takes a place (a lease of a key, with its connections) or waits
in the lobby for one, runs an attempt there, alone or in a race with a second one, and hears from
`policy` whether and when to go on. An upstream that cannot be told what the client asks is passed
over, as if it had not been there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic

from relayd import tracing
from relayd.errors import AllFull, BadCall, RelayError
from relayd.model import Timeouts
from relayd.policy.attempts import Attempts
from relayd.policy.lease import Lease
from relayd.relay import replies
from relayd.relay.attempt import Asked, Attempt, Place
from relayd.relay.hedge import USUAL, hedged
from relayd.relay.lobby import Lobby
from relayd.relay.race import Race
from relayd.relay.settling import Settling
from relayd.relay.translation import Translation, Translator
from relayd.relay.watch import Patience, Watch
from relayd.relay.work import Meter, Work
from relayd.upstream.provider import Provider
from relayd.wire.head import Head


class Asking:
    """Asks upstreams. A reload replaces `providers` and the rules (`reconfigure`).

    Arguments:
        lobby: where a request waits for a place.
        settling: ends the attempts that failed.
        meter: the metrics.
        translator: for upstreams that do not speak a client's format.
        clock: the loop's, in seconds.
    """

    def __init__(
        self,
        lobby: Lobby,
        settling: Settling,
        meter: Meter,
        translator: Translator,
        clock: Callable[[], float],
    ) -> None:
        self.providers: Mapping[str, Provider] = {}
        self._lobby = lobby
        self._settling = settling
        self._meter = meter
        self._translator = translator
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._keepalive = self._write_timeout = 0.0
        # By identity, which is quicker than hashing four numbers; the watch keeps it alive.
        self.watches: dict[int, Watch] = {}

    def __repr__(self) -> str:
        return f"<Asking {list(self.providers)} watches={len(self.watches)}>"

    def reconfigure(
        self, providers: Mapping[str, Provider], keepalive: float, write_timeout: float
    ) -> None:
        """Ask by a new configuration; what is under way keeps the old one."""
        self.providers = providers
        self._keepalive, self._write_timeout = keepalive, write_timeout
        self.watches = {}

    async def ask(self, work: Work) -> tuple[Attempt, RelayError | None]:
        """Ask one upstream after another, until one answers or it is enough."""
        attempts = work.attempts
        assert attempts is not None
        problem: RelayError | None = None  # of the last that was asked
        refusal: BadCall | None = None  # of the first that has no words for the request
        while True:
            try:
                place = self._maybe_place(attempts) or await self._wait(work, attempts)
            except RelayError as exc:
                if work.attempt is not None and work.attempt.verdict is not None:
                    return work.attempt, problem  # it passes as it came: nobody has a better answer
                if refusal is not None and problem is None and not isinstance(exc, AllFull):
                    raise refusal from None
                raise
            before = work.attempt
            attempt, said = await self._ask_at(place, work, attempts)
            if said is None or attempt.exchange.started:
                return attempt, said
            attempt.failed = True
            work.asked_at = work.asked_at or attempt.asked_at
            self._settling.end(attempt, said)
            if not isinstance(said, BadCall):
                problem = said
            else:
                refusal = refusal or said
                self._pass_over(work, attempt, before)
                if problem is None:
                    if not attempts.is_anybody_left:
                        raise refusal
                    continue
                assert before is not None
                attempt = before
            rest = attempts.failed(problem, self._clock())
            if rest is None:
                return attempt, problem
            if said is problem:  # else an upstream was passed over: that is no further attempt
                self._meter.retry(problem.code)
            if rest:
                await asyncio.sleep(rest)

    async def _ask_at(
        self, place: Place, work: Work, attempts: Attempts
    ) -> tuple[Attempt, RelayError | None]:
        """Ask there, and a rival too where that takes longer than is usual for it."""
        usual = place.lease.door.quantiles
        delay = usual.quantile(USUAL) if self._hedges(work, attempts) else None
        if delay is None:
            work.attempt = attempt = self._attempt(work, attempts, place)
            return attempt, await attempt.run()
        work.attempt, said = await self._race(work, attempts, place, delay)
        return work.attempt, said

    @staticmethod
    def _hedges(work: Work, attempts: Attempts) -> bool:
        """Whether a slow upstream gets a rival; files are not sent up twice for that."""
        return attempts.route.pool.hedge and (work.head is None or work.head.form is None)

    def _pass_over(self, work: Work, attempt: Attempt, before: Attempt | None) -> None:
        """An upstream cannot be told what the client asks: it is as if it had not been there."""
        assert work.attempts is not None
        work.attempts.pass_over(attempt.lease)
        work.attempt = before
        self._meter.translated(work.call.format, attempt.spoken, "refused", ())

    def _maybe_place(self, attempts: Attempts) -> Place | None:
        """The next upstream key to ask; None where the request has to wait for one."""
        if self._lobby.waiting and len(attempts.route.pool.queue):
            return None  # those who wait come first
        try:
            return self._place(attempts, self._clock())
        except AllFull:
            return None

    def _place(self, attempts: Attempts, now: float) -> Place:
        lease = attempts.next(now)
        return Place(lease, self.providers[lease.spec.name])

    async def _wait(self, work: Work, attempts: Attempts) -> Place:
        account, since = work.entry.account_id or 0, monotonic()
        try:
            return await self._lobby.wait(
                attempts.route.pool, account, partial(self._place, attempts)
            )
        finally:
            work.waited = (work.waited or 0.0) + monotonic() - since

    async def _race(
        self, work: Work, attempts: Attempts, place: Place, delay: float
    ) -> tuple[Attempt, RelayError | None]:
        race: Race[Attempt] = Race()
        work.attempt = first = self._attempt(work, attempts, place, race)
        rivals: list[Attempt] = []

        def second() -> Attempt | None:
            other = attempts.another(self._clock())
            if other is None:
                return None
            # The first may still be the one that answers: then these were the attempts, too.
            first.heads.own = replies.way_headers(attempts)
            other_place = Place(other, self.providers[other.spec.name])
            rivals.append(self._attempt(work, attempts, other_place, race))
            return rivals[-1]

        try:
            return await hedged(first, race, delay, second, self._settling.end)
        finally:
            work.attempt = race.winner or first
            work.asked_at = work.asked_at or first.asked_at
            if rivals:
                self._meter.hedge(won=work.attempt is not first)

    def _attempt(
        self, work: Work, attempts: Attempts, place: Place, race: Race[Attempt] | None = None
    ) -> Attempt:
        assert work.head is not None
        asked = Asked(
            work.call,
            work.head,
            work.client,
            work.limits,
            work.caller,
            self._translator,
            self._translation(work, work.head, place.lease),
        )
        timeouts = place.lease.timeouts
        watch = self.watches.get(id(timeouts)) or self._watch(timeouts)
        attempt = Attempt(asked, place, watch, race)
        if work.trace is not None:
            attempt.span = work.trace.attempt(
                asked_of(place.lease, attempt.spoken), work.entry.operation
            )
        if attempts.count > 1 or attempts.fell_back:
            attempt.heads.own = replies.way_headers(attempts)
        return attempt

    def _translation(self, work: Work, head: Head, lease: Lease) -> Translation | None:
        """The request in words for all formats, made once; None where the client's own will do."""
        translator = self._translator
        if not lease.translated:
            if not (head.sealed or translator.restricts(lease, work.call.format, head.traits)):
                return None
            if not (head.sealed or translator.serves(head.target)):
                return None
        if work.translation is None:
            work.translation = translator.of(work.call, head, work.caller)
        return work.translation

    def _watch(self, timeouts: Timeouts) -> Watch:
        patience = Patience(timeouts, self._keepalive, self._write_timeout)
        watch = self.watches[id(timeouts)] = Watch(patience, self._loop)
        return watch


def asked_of(lease: Lease, format: str) -> tracing.Place:
    """Whom a lease asks, and in which format, for traces."""
    return tracing.Place(lease.spec, lease.door.key.name, lease.site, lease.model, format)
