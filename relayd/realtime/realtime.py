"""The life of a realtime session: admit, route, open, shake hands, let it flow, close.

A session begins as a request: it is refused, routed and charged like any other, and as long as no
upstream has let it in, another may be asked. Then both connections leave HTTP, and `Tunnel` carries
what both sides say, while `Sitting` keeps the books. The client is told to switch only after the
upstream has switched: until then every error is an HTTP reply, in the words of OpenAI's API.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from functools import partial
from typing import NamedTuple, Protocol

from relayd.ends import End
from relayd.errors import AllFull, BadCall, ClientGone, Refused, RelayError
from relayd.lines import say
from relayd.model import Entry, Timeouts
from relayd.policy.attempts import Attempts
from relayd.policy.keys import ENDPOINT_OF
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.prices import Price
from relayd.realtime import switching
from relayd.realtime.ending import shutting_down
from relayd.realtime.noting import Minutes, NotedTunnel
from relayd.realtime.sitting import FIRST_GUESS, Counted, Sitting, head_of
from relayd.realtime.switching import Wish
from relayd.realtime.tunnel import Tunnel
from relayd.relay import replies
from relayd.relay.asking import asked_of
from relayd.relay.attempt import Place
from relayd.relay.call import Call
from relayd.relay.relay import Relay
from relayd.relay.sides import RawHeaders
from relayd.relay.watch import Patience, Watch
from relayd.relay.work import Last, Meter, Work
from relayd.routing import RealtimeRules
from relayd.upstream.handshake import upgrade
from relayd.upstream.provider import Provider
from relayd.wire import headers as wire_headers
from relayd.wire import realtime, websocket
from relayd.wire.formats import FORMATS
from relayd.wire.head import without_key

HANDSHAKE = 30.0  # seconds that an upstream may take to answer one, at most
# Statuses of an upstream that has the model, but no sessions: another may have them.
ELSEWHERE = frozenset({404, 405, 426, 501})


class Socket(Counted, Protocol):
    """The client's side of a session."""

    def close_after(self) -> None:
        """Do not keep the connection alive after the response."""

    def switch(self, headers: RawHeaders) -> End:
        """Answer 101 with these headers, and give the connection away."""


class Opened(NamedTuple):
    """A session that an upstream has let in."""

    lease: Lease
    end: End
    headers: RawHeaders


class Realtime:
    """Serves sessions. Owns those that are open.

    Arguments:
        relay: whose directory, pools, till and books it uses.
        meter: the metrics.
        rules: bounds of a session.
        write_timeout: seconds that a client may leave unread what was written for it.
    """

    def __init__(
        self, relay: Relay, meter: Meter, rules: RealtimeRules, write_timeout: float = 120.0
    ) -> None:
        self.reconfigure(rules, write_timeout)
        self._relay = relay
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()
        self._open: dict[Tunnel, Sitting] = {}
        self._draining = False

    def __repr__(self) -> str:
        return f"<Realtime sessions={len(self._open)}>"

    def reconfigure(self, rules: RealtimeRules, write_timeout: float) -> None:
        """Go by another configuration; sessions that are open keep theirs."""
        self._rules, self._write_timeout = rules, write_timeout

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._open)

    def drain(self) -> None:
        """End what is silent now, and the others after their response; also those that an upstream
        is just letting in."""
        self._draining = True
        for tunnel, sitting in list(self._open.items()):
            sitting.draining = True
            if not sitting.under_way:
                tunnel.end(shutting_down())

    async def serve(self, call: Call, wish: Wish, socket: Socket) -> None:
        """Serve one session, whatever happens. Raises only CancelledError: the client left."""
        work = Work(call, socket, Entry(call.request_id, call.started_at, format_in=call.format))
        relay = self._relay
        if relay.tracer is not None:
            work.trace = relay.tracer.begin(call.headers, call.verb, "GET")
        relay.in_flight += 1
        try:
            last = await self._serve(work, wish, socket)
        except RelayError as exc:
            last = _fail(work, exc, socket)
        except asyncio.CancelledError:
            if not work.entry.status:  # else its books are closed
                last = replies.leave(work)
                relay.settling.close(work, last.size)
                last.act()
            raise
        except Exception:
            # A bug of ours: the client gets a 500, the log gets the stack.
            say(logging.ERROR, "a session failed in relayd", exc=True, request=call.request_id)
            last = _fail(work, RelayError("relayd failed to handle this session."), socket)
        finally:
            relay.in_flight -= 1
        if last is not None:
            relay.settling.close(work, last.size)
            last.act()

    async def _serve(self, work: Work, wish: Wish, socket: Socket) -> Last | None:
        """Raises RelayError as long as the client can be told by HTTP; None when all is done."""
        switching.check_route(work.call)
        self._identify(work)
        self._relay.till.check_room()
        switching.check_handshake(switching.headers_of(work.call))
        self._route(work, wish)
        self._relay.till.open(work, self._loop.time())
        opened = await self._ask(work, wish)
        await self._converse(work, wish, socket, opened)
        return None

    # --- admit and route --------------------------------------------------------------------------

    def _identify(self, work: Work) -> None:
        """Whose session it is, and whether they may have it."""
        call, entry = work.call, work.entry
        entry.operation = "realtime"
        caller = self._relay.directory.find(
            call.credential, moment=call.started_at, address=call.address
        )
        work.caller = caller
        entry.key_id, entry.account_id = caller.id, caller.account.id
        caller.check_endpoint(ENDPOINT_OF["realtime"])

    def _route(self, work: Work, wish: Wish) -> None:
        relay, caller, target = self._relay, work.caller, work.call.target
        assert caller is not None and target is not None
        model = realtime.asked_model(wish.query)
        work.entry.model_asked, work.entry.stream = without_key(model), True
        caller.check_model(model)
        work.head = head_of(target._replace(model=model), model, FIRST_GUESS)
        route = relay.pools.route(model, "chat", False)
        wanted = Wanted(FIRST_GUESS, work.entry.account_id or 0, request=work.call.request_id)
        work.attempts = Attempts(relay.pools, [route], wanted, self._rng)

    # --- Gate -------------------------------------------------------------------------------------

    def admit(self, work: Work) -> None:
        """Let in one more response of a session. Raises RelayError where that may not be."""
        self._identify(work)
        self._relay.till.check_room()
        self._relay.till.open(work, self._loop.time())

    def allow(self, work: Work, model: str) -> None:
        """Raises Refused where the caller may not use a model, or it is not sold."""
        assert work.caller is not None
        work.caller.check_model(model)
        if not self._relay.till.sells(model):
            text = f"The model `{model}` has no price here, and is not to be had without one."
            raise Refused(text, status=403, code="model_not_priced", param="model")

    def price(self, model: str) -> Price | None:
        """What a model costs."""
        return self._relay.till.prices.find(model)

    # --- the handshake ----------------------------------------------------------------------------

    async def _ask(self, work: Work, wish: Wish) -> Opened:
        """Ask one upstream after another for the session, until one lets it in."""
        attempts, settling = work.attempts, self._relay.settling
        assert attempts is not None
        refusal: BadCall | None = None  # of the first that has no sessions
        failed = False
        while True:
            try:
                lease, provider = await self._place(attempts, work)
            except RelayError as exc:
                if refusal is not None and not failed and not isinstance(exc, AllFull):
                    raise refusal from None
                raise
            said = await self._try(work, wish, lease, provider)
            if isinstance(said, Opened):
                return said
            settling.failed(lease, said)
            if isinstance(said, BadCall):
                if said.status not in ELSEWHERE:
                    raise said
                refusal = refusal or said
                attempts.pass_over(lease)
                if not attempts.is_anybody_left:
                    raise refusal
                continue
            failed = True
            rest = attempts.failed(said, self._loop.time())
            if rest is None:
                raise said
            self._meter.retry(said.code)
            await asyncio.sleep(rest)

    async def _place(self, attempts: Attempts, work: Work) -> Place:
        """A place at the next upstream key; who has to wait for one does so in the lobby."""
        lobby = self._relay.lobby
        take = partial(self._take, attempts)
        if not (lobby.waiting and len(attempts.route.pool.queue)):
            try:
                return take(self._loop.time())
            except AllFull:
                pass
        return await lobby.wait(attempts.route.pool, work.entry.account_id or 0, take)

    def _take(self, attempts: Attempts, now: float) -> Place:
        lease = attempts.next(now)
        return Place(lease, self._relay.providers[lease.spec.name])

    async def _try(
        self, work: Work, wish: Wish, lease: Lease, provider: Provider
    ) -> Opened | RelayError:
        """Shake hands with one upstream."""
        timeouts = lease.timeouts
        entry = work.entry  # it names whom it asked last, also where nobody lets it in
        entry.upstream, entry.upstream_key = lease.spec.name, lease.door.key.name
        entry.model_used, entry.format_out = without_key(lease.model), work.call.format
        entry.attempts = 0 if work.attempts is None else work.attempts.count
        place = asked_of(lease, "chat")
        span = None if work.trace is None else work.trace.attempt(place, "realtime")
        said: Opened | RelayError = ClientGone("The client left.")
        status = 0
        try:
            outlet = provider.outlet(lease.door.key.name, lease.site)
            key = websocket.key_of(secrets.token_bytes(16))
            query = realtime.upstream_query(wish.query, lease.model)
            headers = switching.asked(work.call, wish, key) + ([] if span is None else span.headers)
            head = outlet.upgrade_head(query, headers)
            within = min(timeouts.first_byte, HANDSHAKE)
            answer = await upgrade(outlet.client, head, timeouts.connect, within)
            status = answer.status
            end = switching.judged(answer, websocket.accept_of(key), work.call)
            lease.connected(self._loop.time())
            said = Opened(lease, end, answer.headers)
        except RelayError as exc:
            said = exc
        except BaseException:  # the client left, or a bug of ours
            lease.leave(self._loop.time())
            raise
        finally:
            if span is not None:
                span.end(status, said if isinstance(said, RelayError) else None)
        return said

    # --- the session ------------------------------------------------------------------------------

    async def _converse(self, work: Work, wish: Wish, socket: Socket, opened: Opened) -> None:
        """Let the session flow to its end, and close its books, however it ends."""
        try:
            tunnel, sitting = self._begin(work, wish, socket, opened)
        except BaseException:  # a bug of ours
            opened.end.abort()
            opened.lease.leave(self._loop.time())
            raise
        self._open[tunnel] = sitting
        began = self._loop.time()
        try:
            tunnel.start()
            if self._draining:
                self.drain()
            await tunnel.done
        finally:
            tunnel.cut(shutting_down())  # where that is over already, it says nothing
            del self._open[tunnel]
            ending = tunnel.ending or shutting_down()
            entry = sitting.close(ending, tunnel)
            self._meter.session(ending.by, entry.outcome, self._loop.time() - began)
            if isinstance(tunnel, NotedTunnel):
                tunnel.minutes.keep(work.call.request_id, entry, ending)

    def _begin(
        self, work: Work, wish: Wish, socket: Socket, opened: Opened
    ) -> tuple[Tunnel, Sitting]:
        """Tell the client to switch, as the last thing that may fail."""
        lease, upstream, headers = opened
        sitting = Sitting(work, socket, lease, self._relay.settling, self, self._loop.time)
        sitting.begin(wire_headers.upstream_request_id(headers))
        rules = self._rules
        watch = Watch(_patience(lease.timeouts, rules, self._write_timeout), self._loop)
        ends = (socket.switch(switching.agreed(work.call, wish, headers)), upstream)
        work.entry.status = 101
        key = "" if work.caller is None else work.caller.key.name
        captures, name = self._relay.captures, work.call.request_id
        if not captures.wants(key):
            return Tunnel(ends, sitting, rules, watch, name), sitting
        tunnel = NotedTunnel(ends, sitting, rules, watch, name)
        tunnel.minutes = Minutes(captures, key, self._loop.time())
        return tunnel, sitting


def _fail(work: Work, exc: RelayError, socket: Socket) -> Last | None:
    """Word a failure from before the session. The connection cannot be used any more: its parser
    waits for another protocol."""
    if work.entry.status:  # a bug in the middle of the session: its books are closed
        socket.abort()
        return None
    socket.close_after()
    last = replies.fail(work, exc)
    if exc.code != "upgrade_required":
        return last
    call = work.call
    body = FORMATS[call.format].error(exc, call.request_id).body
    headers = [
        *replies.error_headers(exc),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
    ]
    return Last(lambda: socket.send(426, headers, body), len(body))


def _patience(timeouts: Timeouts, rules: RealtimeRules, write_timeout: float) -> Patience:
    """How long a session may be silent, for its timer."""
    stall = min(timeouts.stall, rules.idle_timeout)
    upstream = Timeouts(timeouts.connect, rules.idle_timeout, stall, rules.max_session)
    return Patience(upstream, 0.0, write_timeout)
