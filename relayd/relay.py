"""The life of one request, top to bottom: admit, read, route, open, ask, finish, settle.

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
from functools import partial

from relayd import conversations, replies
from relayd.attempt import Asked, Attempt, Place, Race
from relayd.call import Call, Client
from relayd.errors import (
    AllFull,
    ClientGone,
    NoUpstream,
    Refused,
    RelayError,
    UpstreamError,
)
from relayd.faults import FaultLog
from relayd.hedge import USUAL, hedged, lesson
from relayd.lobby import Lobby
from relayd.model import Entry, Timeouts
from relayd.policy.affinity import digest_of
from relayd.policy.attempts import Attempts
from relayd.policy.keys import ENDPOINT_OF, Directory
from relayd.policy.pools import Pools, Route
from relayd.tasks import Tasks
from relayd.till import Till
from relayd.upstream.provider import Provider
from relayd.watch import Patience, Watch
from relayd.wire.formats import FORMATS
from relayd.work import Last, Meter, Work

log = logging.getLogger("relayd")


class Relay:
    """Serves requests. Its parts are passed in; reload replaces `directory` and `providers`.

    Arguments:
        directory: who may call.
        pools: which upstream to choose.
        providers: by upstream name.
        till: charges requests and keeps their rows.
        meter: the metrics.
        keepalive: seconds of silence before a stream is kept alive.
        write_timeout: seconds that a client may leave its reply unread.
    """

    def __init__(
        self,
        directory: Directory,
        pools: Pools,
        providers: Mapping[str, Provider],
        till: Till,
        meter: Meter,
        *,
        keepalive: float = 10.0,
        write_timeout: float = 120.0,
    ) -> None:
        self.directory = directory
        self.pools = pools
        self.lobby = Lobby(pools.routing.waiting)
        self.reconfigure(providers, keepalive, write_timeout)
        self.till = till
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._faults = FaultLog()
        self._drains = Tasks()
        self._rng = random.Random()
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
            if not self._drain(work):
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

    def note(self, entry: Entry) -> None:
        """Count what is not even a request, and keep its row."""
        self.till.note(entry, self._clock())
        self._meter.settle(entry, "")

    async def _work(self, work: Work) -> Last:
        directory = self.directory
        self._admit(work)
        await self._read(work)
        if self.directory is not directory:  # while the body came, the key may have changed
            self._identify(work)
        self._route(work)
        self.till.open(work, self._clock())
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
        self._identify(work)
        self.till.check_room()

    def _identify(self, work: Work) -> None:
        """Whose request it is, and whether they may make it at all."""
        call = work.call
        caller = self.directory.find(call.credential, moment=call.started_at, address=call.address)
        work.caller = caller
        work.entry.key_id, work.entry.account_id = caller.id, caller.account.id
        assert call.target is not None
        caller.check_endpoint(ENDPOINT_OF[call.target.operation])

    async def _read(self, work: Work) -> None:
        body = await work.client.read_body()
        assert work.call.target is not None
        head = FORMATS[work.call.format].read_head(body, work.call.target)
        work.head = head
        work.entry.model_asked = head.model
        work.entry.stream = head.stream
        self.till.estimate(head)

    # --- route ----------------------------------------------------------------------------------

    def _route(self, work: Work) -> None:
        """Who can serve the model, and the models named as its fallbacks."""
        head, caller = work.head, work.caller
        assert head is not None and caller is not None
        caller.check_model(head.model)
        route = self.pools.route(head.model, work.call.format)
        routes = [route]
        for name in route.fallbacks:
            # What a fallback lacks (a format, say) is no reason to refuse the model asked for.
            other = self._maybe_route(name, work)
            if other is not None and name != head.model:
                routes.append(other)
        wanted = conversations.wanted(
            work.call, head, work.entry.account_id or 0, route, self.pools.routing.affinity
        )
        head.request = {}  # of a large prompt it is many times as large, and waiting may be long
        work.attempts = Attempts(self.pools, routes, wanted, self._rng)

    def _maybe_route(self, name: str, work: Work) -> Route | None:
        assert work.caller is not None
        if not (work.caller.allows(name) and self.till.sells(name)):
            return None
        try:
            return self.pools.route(name, work.call.format)
        except RelayError:
            return None

    # --- ask ------------------------------------------------------------------------------------

    async def _ask(self, work: Work) -> tuple[Attempt, RelayError | None]:
        """Ask one upstream after another, until one answers or it is enough."""
        attempts = work.attempts
        assert attempts is not None
        problem: RelayError | None = None
        while True:
            try:
                place = self._maybe_place(attempts) or await self._wait(work, attempts)
            except RelayError:
                if work.attempt is None or work.attempt.verdict is None:
                    raise
                return work.attempt, problem  # it passes as it came: nobody has a better answer
            usual = place.lease.door.quantiles
            delay = usual.quantile(USUAL) if attempts.route.pool.hedge else None
            if delay is None:
                work.attempt = attempt = self._attempt(work, attempts, place)
                problem = await attempt.run()
            else:
                attempt, problem = await self._race(work, attempts, place, delay)
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

    def _maybe_place(self, attempts: Attempts) -> Place | None:
        """The next upstream key to ask; None where the request has to wait for one."""
        if self.lobby.waiting and len(attempts.route.pool.queue):
            return None  # those who wait come first
        try:
            return self._place(attempts, self._clock())
        except AllFull:
            return None

    def _place(self, attempts: Attempts, now: float) -> Place:
        lease = attempts.next(now)
        return Place(lease, self.providers[lease.spec.name])

    async def _wait(self, work: Work, attempts: Attempts) -> Place:
        account = work.entry.account_id or 0
        return await self.lobby.wait(attempts.route.pool, account, partial(self._place, attempts))

    async def _race(
        self, work: Work, attempts: Attempts, place: Place, delay: float
    ) -> tuple[Attempt, RelayError | None]:
        race = Race()
        work.attempt = first = self._attempt(work, attempts, place, race)

        def second() -> Attempt | None:
            other = attempts.another(self._clock())
            if other is None:
                return None
            # The first may still be the one that answers: then these were the attempts, too.
            first.reply_headers = replies.way_headers(attempts)
            other_place = Place(other, self.providers[other.spec.name])
            return self._attempt(work, attempts, other_place, race)

        try:
            return await hedged(first, race, delay, second, self._end)
        finally:
            work.attempt = race.winner or first

    def _attempt(
        self, work: Work, attempts: Attempts, place: Place, race: Race | None = None
    ) -> Attempt:
        assert work.head is not None
        asked = Asked(work.call, work.head, work.client, work.limits)
        timeouts = place.lease.timeouts
        watch = self._watches.get(id(timeouts)) or self._watch(timeouts)
        attempt = Attempt(asked, place, watch, race)
        if attempts.count > 1 or attempts.fell_back:
            attempt.reply_headers = replies.way_headers(attempts)
        return attempt

    def _watch(self, timeouts: Timeouts) -> Watch:
        patience = Patience(timeouts, self._keepalive, self._write_timeout)
        watch = self._watches[id(timeouts)] = Watch(patience, self._loop)
        return watch

    # --- a client that left ---------------------------------------------------------------------

    def _drain(self, work: Work) -> bool:
        """Whether the reply is heard to its end, for its true usage, although nobody reads it: as
        the caller's group has it, while the upstream is at work on it."""
        attempt, caller = work.attempt, work.caller
        if caller is None or caller.group.leaving != "drain" or not work.client.gone:
            return False
        if attempt is None or attempt.failed or not attempt.exchange.under_way:
            return False
        if replies.is_whole(work.observer):  # it was served; only the connection is still open
            return False
        done = attempt.exchange.listen_on()
        task = self._drains.spawn(attempt.heard(done, caller.group.drain), "drain")
        self.in_flight += 1
        # A callback, not the task's own last lines: cancelled before its first step, it has none.
        task.add_done_callback(lambda _: self._heard(work, attempt))
        return True

    def _heard(self, work: Work, attempt: Attempt) -> None:
        replies.unheard(work, attempt)
        self.in_flight -= 1
        self._settle(work)

    async def close(self) -> None:
        """End what listens on after its client has left; what came until now is charged."""
        await self._drains.cancel()

    # --- settle ---------------------------------------------------------------------------------

    def _end(self, attempt: Attempt, problem: RelayError) -> None:
        """An attempt came to nothing: its key learns, the operator hears."""
        lease, now = attempt.lease, self._clock()
        if lease.ended:
            return
        door = lease.door
        refused_before = door.refused
        lease.fail(lesson(attempt, problem, now), now)
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
        self.till.close(work, now)
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
        elif isinstance(failure, ClientGone) or entry.outcome not in (
            "ok",
            "bad_request",
        ):
            lease.leave(now)
        else:
            self._succeed(work, attempt, now)
        if self.lobby.waiting:
            self.lobby.stir()

    def _succeed(self, work: Work, attempt: Attempt, now: float) -> None:
        entry, lease = work.entry, attempt.lease
        matter = not lease.door.unlimited and entry.usage_source == "reported"
        lease.succeed(now, attempt.first_byte(), entry.usage.total if matter else None)
        self._meter.attempt(lease.spec.name, lease.door.key.name, "ok")
        attempts = work.attempts
        if attempts is None or not attempts.route.pool.has_choice:
            return
        self.pools.remember(attempts.route, lease, attempts.wanted, now)
        if work.response_id and work.call.format == "responses":
            digest = digest_of(entry.account_id or 0, "", work.response_id.encode())
            self.pools.affinity.keep(digest, lease.door.name, now)
