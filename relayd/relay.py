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
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic

from relayd import conversations, replies
from relayd.attempt import Asked, Attempt, Place, Race
from relayd.call import Call, Client
from relayd.errors import (
    AllFull,
    BadCall,
    Refused,
    RelayError,
)
from relayd.hedge import USUAL, hedged
from relayd.lobby import Lobby
from relayd.model import Entry, Timeouts
from relayd.policy.attempts import Attempts
from relayd.policy.keys import ENDPOINT_OF, Directory
from relayd.policy.lease import Lease
from relayd.policy.pools import Pools, Route
from relayd.settling import Settling
from relayd.tasks import Tasks
from relayd.till import Till
from relayd.translation import Translation, Translator
from relayd.upstream.provider import Provider
from relayd.watch import Patience, Watch
from relayd.wire import envelope, plan
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.work import Last, Meter, Work

log = logging.getLogger("relayd")


def _silence(entry: Entry) -> None:
    """Nobody is told."""


class Relay:
    """Serves requests. Its parts are passed in; reload replaces `directory` and `providers`.

    Arguments:
        directory: who may call.
        pools: which upstream to choose.
        providers: by upstream name.
        till: charges requests and keeps their rows.
        meter: the metrics.
        translator: for upstreams that do not speak a client's format.
        tell: says a line about an ended request.
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
        translator: Translator | None = None,
        tell: Callable[[Entry], None] = _silence,
        keepalive: float = 10.0,
        write_timeout: float = 120.0,
    ) -> None:
        self.directory = directory
        self.pools = pools
        self.lobby = Lobby(pools.routing.waiting)
        self.reconfigure(providers, keepalive, write_timeout)
        self.till = till
        self.translator = translator or Translator()
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._settling = Settling(pools, self.lobby, till, meter, tell=tell, clock=self._clock)
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
                self._settling.close(work, last.size)
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
        self._settling.close(work, last.size)
        last.act()

    def note(self, entry: Entry) -> None:
        """Count what is not even a request, and keep its row."""
        self._settling.note(entry)

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
        work.read_at = monotonic()
        assert work.call.target is not None
        head = FORMATS[work.call.format].read_head(body, work.call.target)
        work.head = head
        if "tools" in head.request:  # where these go is the only such question
            head.traits = plan.traits_of(head.request, work.call.format)
        head.sealed = envelope.may_hold(body, work.call.format)
        work.entry.model_asked = head.model
        work.entry.stream = head.stream
        self.till.estimate(head)

    # --- route ----------------------------------------------------------------------------------

    def _route(self, work: Work) -> None:
        """Who can serve the model, and the models named as its fallbacks."""
        head, caller = work.head, work.caller
        assert head is not None and caller is not None
        caller.check_model(head.model)
        route = self._route_of(head.model, work)
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
            return self._route_of(name, work)
        except RelayError:
            return None

    def _route_of(self, model: str, work: Work) -> Route:
        call = work.call
        assert call.target is not None
        return self.pools.route(model, call.format, self.translator.serves(call.target))

    # --- ask ------------------------------------------------------------------------------------

    async def _ask(self, work: Work) -> tuple[Attempt, RelayError | None]:
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
            usual = place.lease.door.quantiles
            delay = usual.quantile(USUAL) if attempts.route.pool.hedge else None
            if delay is None:
                work.attempt = attempt = self._attempt(work, attempts, place)
                said = await attempt.run()
            else:
                attempt, said = await self._race(work, attempts, place, delay)
                work.attempt = attempt
            if said is None or attempt.exchange.started:
                return attempt, said
            attempt.failed = True
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

    def _pass_over(self, work: Work, attempt: Attempt, before: Attempt | None) -> None:
        """An upstream cannot be told what the client asks: it is as if it had not been there."""
        assert work.attempts is not None
        work.attempts.pass_over(attempt.lease)
        work.attempt = before
        self._meter.translated(work.call.format, attempt.spoken, "refused", ())

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
        account, since = work.entry.account_id or 0, monotonic()
        try:
            return await self.lobby.wait(
                attempts.route.pool, account, partial(self._place, attempts)
            )
        finally:
            work.waited = (work.waited or 0.0) + monotonic() - since

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
            return await hedged(first, race, delay, second, self._settling.end)
        finally:
            work.attempt = race.winner or first
            if len(race.runs) > 1:
                self._meter.hedge(won=work.attempt is not first)

    def _attempt(
        self, work: Work, attempts: Attempts, place: Place, race: Race | None = None
    ) -> Attempt:
        assert work.head is not None
        asked = Asked(
            work.call,
            work.head,
            work.client,
            work.limits,
            work.caller,
            self.translator,
            self._translation(work, work.head, place.lease),
        )
        timeouts = place.lease.timeouts
        watch = self._watches.get(id(timeouts)) or self._watch(timeouts)
        attempt = Attempt(asked, place, watch, race)
        if not work.asked_at:
            work.asked_at = monotonic()
        if attempts.count > 1 or attempts.fell_back:
            attempt.reply_headers = replies.way_headers(attempts)
        return attempt

    def _translation(self, work: Work, head: Head, lease: Lease) -> Translation | None:
        """The request in words for all formats, made once; None where the client's own will do."""
        translator = self.translator
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
        self._settling.close(work)

    async def close(self) -> None:
        """End what listens on after its client has left; what came until now is charged."""
        await self._drains.cancel()
