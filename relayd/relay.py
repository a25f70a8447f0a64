"""The life of one request, top to bottom: admit, read, route, ask, finish, settle.

`Relay.serve` is the story; each chapter is one function below it. Nothing here calls up. Whatever
happens, the request ends in exactly one `settle`: one row in the usage log, one count in the
metrics, the lease ended; and that happens before the last byte of the reply goes out, so that a
client that has its answer can rely on the row. Admission and choice contain no await: they are
atomic on the loop. `_ask` is the one loop: until the first byte has gone to the client, a failure
may lead to another upstream.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from relayd import replies
from relayd.attempt import Asked, Attempt, Lost, Race
from relayd.call import Call, Client
from relayd.errors import (
    AllFull,
    ClientGone,
    NoAnswer,
    NoUpstream,
    Refused,
    RelayError,
    UpstreamError,
)
from relayd.faults import FaultLog
from relayd.hedge import hedged
from relayd.lobby import Lobby
from relayd.model import Entry, Timeouts
from relayd.policy.affinity import digest_of
from relayd.policy.attempts import Attempts
from relayd.policy.keys import Directory
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools, Route
from relayd.sides import RawHeaders
from relayd.upstream.provider import Provider
from relayd.watch import Patience, Watch
from relayd.wire.conversation import OPENING, from_headers
from relayd.wire.formats import FORMATS
from relayd.work import Last, Ledger, Meter, Work

log = logging.getLogger("relayd")

USUAL = 0.95  # the share of first bytes that come within the time after which one is hedged


class Relay:
    """Serves requests. Its parts are passed in; reload replaces `directory` and `providers`.

    Arguments:
        directory: who may call.
        pools: which upstream to choose.
        providers: by upstream name.
        ledger: the usage log.
        meter: the metrics.
        keepalive: seconds of silence before a stream is kept alive.
        write_timeout: seconds that a client may leave its reply unread.
    """

    def __init__(
        self,
        directory: Directory,
        pools: Pools,
        providers: Mapping[str, Provider],
        ledger: Ledger,
        meter: Meter,
        *,
        keepalive: float = 10.0,
        write_timeout: float = 120.0,
    ) -> None:
        self.directory = directory
        self.pools = pools
        self.lobby = Lobby(pools.routing.waiting)
        self.reconfigure(providers, keepalive, write_timeout)
        self._ledger = ledger
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._faults = FaultLog()
        self._rng = random.Random()  # noqa: S311 - jitter, not secrecy
        self.in_flight = 0

    def reconfigure(
        self, providers: Mapping[str, Provider], keepalive: float, write_timeout: float
    ) -> None:
        """Serve the next requests by a new configuration; those in flight keep the old one."""
        self.providers = providers
        self.lobby.rules = self.pools.routing.waiting
        self._keepalive, self._write_timeout = keepalive, write_timeout
        # By identity, which is quicker than hashing four numbers; the watch keeps it alive.
        self._watches: dict[int, Watch] = {}

    async def serve(self, call: Call, client: Client) -> None:
        """Answer one request, whatever happens. Raises only CancelledError: the client left."""
        work = Work(call, client, Entry(call.request_id, call.started_at, format_in=call.format))
        self.in_flight += 1
        try:
            last = await self._work(work)
        except RelayError as exc:
            last = replies.fail(work, exc)
        except asyncio.CancelledError:
            last = replies.leave(work)
            self._settle(work, last.size)
            last.act()
            raise
        except Exception:
            # A bug of ours: the client gets its format's 500, the log gets the stack.
            log.exception("request %s failed", call.request_id)
            if work.exchange is not None:
                work.exchange.leave(served=False)
            last = replies.fail(work, RelayError("relayd failed to handle this request."))
        finally:
            self.in_flight -= 1
        self._settle(work, last.size)
        last.act()

    async def _work(self, work: Work) -> Last:
        self._admit(work)
        await self._read(work)
        self._route(work)
        attempt, problem = await self._ask(work)
        return replies.finish(work, attempt, problem)

    # --- admit ----------------------------------------------------------------------------------

    def _admit(self, work: Work) -> None:
        call = work.call
        if call.target is None:
            raise Refused(
                f"Unknown request URL: {call.path}. Check the path and the method.",
                status=404,
                code="unknown_url",
            )
        work.entry.operation = call.target.operation
        key = self.directory.find(call.credential)
        work.entry.key_id = key.id
        work.entry.account_id = key.account.id
        if self._ledger.full:
            raise NoUpstream(
                "The usage log cannot keep up; nothing is relayed unlogged.", retry_after=5
            )

    async def _read(self, work: Work) -> None:
        body = await work.client.read_body()
        assert work.call.target is not None
        head = FORMATS[work.call.format].read_head(body, work.call.target)
        work.head = head
        work.entry.model_asked = head.model
        work.entry.stream = head.stream

    # --- route ----------------------------------------------------------------------------------

    def _route(self, work: Work) -> None:
        """Who can serve the model, and the models named as its fallbacks."""
        assert work.head is not None
        route = self.pools.route(work.head.model, work.call.format)
        routes = [route]
        for name in route.fallbacks:
            # What a fallback lacks (a format, say) is no reason to refuse the model asked for.
            other = self._maybe_route(name, work)
            if other is not None and name != work.head.model:
                routes.append(other)
        wanted = self._wanted(work, route)
        work.attempts = Attempts(self.pools, routes, wanted, self._rng)

    def _maybe_route(self, name: str, work: Work) -> Route | None:
        try:
            return self.pools.route(name, work.call.format)
        except RelayError:
            return None

    def _wanted(self, work: Work, route: Route) -> Wanted:
        """What choosing must know; a conversation is looked for only where there is a choice."""
        head, account = work.head, work.entry.account_id or 0
        assert head is not None
        rules = self.pools.routing.affinity
        if not (route.pool.has_choice and rules.enabled):
            return Wanted(head.input_estimate, account)
        name = from_headers(work.call.headers) or head.conversation
        by_opening = name.startswith(OPENING)
        if by_opening and not rules.by_opening:
            name = b""
        previous = head.previous_response.encode("utf-8", "surrogatepass")
        return Wanted(
            head.input_estimate,
            account,
            digest_of(account, head.model, name) if name else None,
            by_opening,
            digest_of(account, "", previous) if previous else None,
        )

    # --- ask ------------------------------------------------------------------------------------

    async def _ask(self, work: Work) -> tuple[Attempt, RelayError | None]:
        """Ask one upstream after another, until one answers or it is enough."""
        attempts = work.attempts
        assert attempts is not None
        problem: RelayError | None = None
        while True:
            try:
                lease = self._maybe_lease(attempts) or await self._wait(work, attempts)
            except RelayError:
                if work.attempt is None or work.attempt.verdict is None:
                    raise
                return work.attempt, problem  # it passes as it came: nobody has a better answer
            delay = lease.door.quantiles.quantile(USUAL) if attempts.route.pool.hedge else None
            if delay is None:
                work.attempt = attempt = self._attempt(work, attempts, lease)
                problem = await attempt.run()
            else:
                attempt, problem = await self._race(work, attempts, lease, delay)
                work.attempt = attempt
            if problem is None or attempt.exchange.started:
                return attempt, problem
            attempt.failed = True
            self._end(attempt, problem)
            rest = attempts.failed(problem, self._clock())
            if rest is None:
                return attempt, problem
            if rest:
                await asyncio.sleep(rest)

    def _maybe_lease(self, attempts: Attempts) -> Lease | None:
        """The next upstream key to ask; None where the request has to wait for one."""
        if len(attempts.route.pool.queue):
            return None  # those who wait come first
        try:
            return attempts.next(self._clock())
        except AllFull:
            return None

    async def _wait(self, work: Work, attempts: Attempts) -> Lease:
        account = work.entry.account_id or 0
        return await self.lobby.wait(attempts.route.pool, account, attempts.next)

    async def _race(
        self, work: Work, attempts: Attempts, lease: Lease, delay: float
    ) -> tuple[Attempt, RelayError | None]:
        race = Race()
        work.attempt = first = self._attempt(work, attempts, lease, race)

        def second() -> Attempt | None:
            other = attempts.another(self._clock())
            if other is None:
                return None
            # The first may still be the one that answers: then these were the attempts, too.
            first.reply_headers = _headers(attempts)
            return self._attempt(work, attempts, other, race)

        try:
            return await hedged(first, race, delay, second, self._end)
        finally:
            work.attempt = race.winner or first

    def _attempt(
        self, work: Work, attempts: Attempts, lease: Lease, race: Race | None = None
    ) -> Attempt:
        assert work.head is not None
        asked = Asked(work.call, work.head, work.client)
        watch = self._watches.get(id(lease.timeouts)) or self._watch(lease.timeouts)
        attempt = Attempt(asked, lease, self.providers[lease.spec.name], watch, race)
        if attempts.count > 1 or attempts.fell_back:
            attempt.reply_headers = _headers(attempts)
        return attempt

    def _watch(self, timeouts: Timeouts) -> Watch:
        patience = Patience(timeouts, self._keepalive, self._write_timeout)
        watch = self._watches[id(timeouts)] = Watch(patience, self._loop)
        return watch

    # --- settle ---------------------------------------------------------------------------------

    def _end(self, attempt: Attempt, problem: RelayError) -> None:
        """An attempt came to nothing: its key learns, the operator hears."""
        lease, now = attempt.lease, self._clock()
        if lease.ended:
            return
        door = lease.door
        refused_before = door.refused
        lease.fail(_lesson(attempt, problem), now)
        if isinstance(problem, UpstreamError):
            self._meter.attempt(door.spec.name, door.key.name, problem.code)
            self._faults.note(door.name, problem.code, now)
        if door.refused and not refused_before:
            log.error(
                "upstream key %s is taken out: its provider refused it; `relayd upstream enable %s`"
                " takes it back",
                door.name,
                door.name,
            )
        if self.lobby.waiting:
            self.lobby.stir()

    def _settle(self, work: Work, to_come: int = 0) -> None:
        """End the request in the books, once. `to_come`: bytes that its last act will send."""
        entry, call, attempt = work.entry, work.call, work.attempt
        now = self._clock()
        entry.duration = now - call.started
        entry.bytes_in = work.client.bytes_in
        entry.bytes_out = work.client.bytes_out + to_come
        rule = ""
        if attempt is not None:
            rule = attempt.lease.rule
            self._settle_attempt(work, attempt, now)
        # A failing store must not be filled up by requests that were never let in.
        if attempt is not None or not self._ledger.full:
            self._ledger.add(entry)
        self._meter.settle(entry, rule)
        if isinstance(work.failure, NoUpstream) and work.failure.detail:
            self._faults.unserved(entry.model_asked[:100], work.failure.detail, now)

    def _settle_attempt(self, work: Work, attempt: Attempt, now: float) -> None:
        entry, lease, exchange = work.entry, attempt.lease, attempt.exchange
        if exchange.first_byte_at is not None:
            entry.first_byte = exchange.first_byte_at - work.call.started
        entry.upstream, entry.upstream_key = lease.spec.name, lease.door.key.name
        entry.model_used, entry.format_out = lease.model, work.call.format
        entry.upstream_request_id = attempt.upstream_id
        if work.attempts is not None:
            entry.attempts = work.attempts.count
        failure = work.failure
        if isinstance(failure, UpstreamError):
            self._end(attempt, failure)
        elif isinstance(failure, ClientGone) or entry.outcome not in ("ok", "bad_request"):
            lease.leave(now)
        else:
            self._succeed(work, attempt, now)
        if self.lobby.waiting:
            self.lobby.stir()

    def _succeed(self, work: Work, attempt: Attempt, now: float) -> None:
        entry, lease = work.entry, attempt.lease
        tokens = entry.usage.total if entry.usage_source == "reported" else None
        lease.succeed(now, attempt.first_byte(), tokens)
        self._meter.attempt(lease.spec.name, lease.door.key.name, "ok")
        attempts = work.attempts
        if attempts is None or not attempts.route.pool.has_choice:
            return
        self.pools.remember(attempts.route, lease, attempts.wanted, now)
        if work.response_id and work.call.format == "responses":
            digest = digest_of(entry.account_id or 0, "", work.response_id.encode())
            self.pools.affinity.keep(digest, lease.door.name, now)


def _headers(attempts: Attempts) -> RawHeaders:
    """What the reply says of the way to it: after how many attempts, and which model answered."""
    headers: RawHeaders = []
    if attempts.count > 1:
        headers.append((b"x-relayd-attempts", b"%d" % attempts.count))
    if attempts.fell_back:
        headers.append((b"x-relayd-model", attempts.route.asked.encode("utf-8", "replace")))
    return headers


def _lesson(attempt: Attempt, problem: RelayError) -> RelayError:
    """What an attempt's end teaches its key. One that lost a race before its first byte was silent
    for longer than usual: were that nothing, a silent upstream would never be found out."""
    if isinstance(problem, Lost) and attempt.exchange.first_byte_at is None:
        return NoAnswer("It was slower than another attempt.")
    return problem
