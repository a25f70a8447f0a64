"""One attempt: one upstream key asked once for one request, until it is known how that went.

An attempt opens a connection (or takes an idle one), sends, and waits for the exchange to end; a
whole reply is judged before anybody else sees it. `run` returns what went wrong, or None: the relay
then finishes the reply, or asks somebody else. A race (hedging) runs two attempts of one request:
whichever answers first claims the client, and the other is given up, wherever it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

from relayd.call import Call, Client
from relayd.errors import RelayError
from relayd.forward import Exchange
from relayd.judge import OUR_CREDENTIAL, TRY_ELSEWHERE, Verdict, first_event_error, judge
from relayd.policy.lease import Lease
from relayd.sides import RawHeaders
from relayd.tasks import child
from relayd.upstream.connection import Connection, StaleConnection
from relayd.upstream.provider import Outlet, Provider
from relayd.watch import Watch
from relayd.wire import headers as wire_headers
from relayd.wire import limits, params
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head

STALE_WINDOW = 1.0  # seconds after sending in which a closed connection is taken for a stale one


class Asked(NamedTuple):
    """What is asked of every upstream that is tried for one request."""

    call: Call
    head: Head
    client: Client
    limits: RawHeaders  # how those of the caller stand


class Place(NamedTuple):
    """Where an attempt goes: a lease, with the connections of the moment when it was taken. A
    reload may take the upstream away at any time after that."""

    lease: Lease
    provider: Provider

    def leave(self, now: float) -> None:
        self.lease.leave(now)


class Lost(RelayError):
    """Another attempt was faster. Nobody is to blame, and nobody reads this."""

    default_code = "lost_race"


class Attempt:
    """One upstream asked once. Owned by the request's task.

    Arguments:
        asked: the request.
        place: at the upstream; whoever made the attempt ends its lease.
        watch: the timer for the lease's timeouts.
        race: shared with the attempt that runs beside it, if there is one.
    """

    __slots__ = (
        "_asked",
        "_race",
        "_watch",
        "exchange",
        "failed",
        "lease",
        "observer",
        "problem",
        "provider",
        "reply_headers",
        "upstream_id",
        "verdict",
    )

    def __init__(
        self,
        asked: Asked,
        place: Place,
        watch: Watch,
        race: Race | None = None,
    ) -> None:
        self._asked = asked
        self._race = race
        self._watch = watch
        self.lease, self.provider = place
        head = asked.head
        self.observer = FORMATS[asked.call.format].sniffer(head) if head.stream else None
        self.exchange = Exchange(asked.client, self.observer, self, watch)
        self.verdict: Verdict | None = None
        self.problem: RelayError | None = None  # of a reply whose client had left
        self.failed = False  # it has ended in a failure that is told already; who comes next?
        self.upstream_id = ""
        # What the reply's head says beside the upstream's own: which model answered, after how
        # many attempts.
        self.reply_headers: RawHeaders = []

    def __repr__(self) -> str:
        return f"<Attempt {self.lease!r} {self.exchange!r}>"

    @property
    def status(self) -> int:
        """The reply's status, as the operator wants it to be taken."""
        status, remapped = self.exchange.status, self.lease.spec.edits.statuses
        return dict(remapped).get(status, status) if remapped else status

    async def run(self) -> RelayError | None:
        """Ask, and wait until the reply has ended. Returns what went wrong, if anything did."""
        outlet = self.provider.outlet(self.lease.door.key.name, self.lease.site)
        try:
            request = self._request(outlet)
            connection = outlet.client.reuse(request, self.exchange)
            if connection is None:
                connection = await self._connect(outlet, request)
            del request  # it may be a copy of a large body, and the reply takes its time
            self.exchange.attach(connection)
            problem = await self.exchange.done
            if problem is not None and self._is_stale(problem):
                self.exchange = Exchange(self._asked.client, self.observer, self, self._watch)
                self.exchange.attach(await self._connect(outlet, self._request(outlet)))
                problem = await self.exchange.done
        except RelayError as exc:  # no connection came about
            return exc
        if problem is None and not self.exchange.started:
            return self._judge()
        return problem

    async def heard(self, done: asyncio.Future[RelayError | None], seconds: float) -> None:
        """Wait for the end of a reply that nobody reads any more, at most for so long; `problem`
        is what is wrong with it."""
        with contextlib.suppress(TimeoutError):  # then what came until now counts
            async with asyncio.timeout(seconds):
                problem = await done
                is_held = problem is None and not self.exchange.started
                self.problem = self._judge() if is_held else problem

    def first_byte(self) -> float | None:
        """Seconds from asking to the first byte, None where none came."""
        exchange = self.exchange
        return None if exchange.first_byte_at is None else exchange.first_byte_at - exchange.sent_at

    # --- Owner ----------------------------------------------------------------------------------

    def connected(self) -> None:
        # However long the reply takes: whoever waits for the base URL to be well need not.
        self.lease.connected(self._watch.loop.time())

    def claim(self, status: int) -> bool:
        return self._race is None or self._race.claim(self, self.status)

    def stream_headers(self, headers: RawHeaders) -> RawHeaders:
        observer = self.observer if self.exchange.mode != "overflow" else None
        name = self._asked.call.format
        kept = wire_headers.for_client(headers, name, stream=observer is not None)
        if observer is not None:
            kept += observer.stream_headers
        return self.with_own_headers(headers, kept)

    def first_error(self, data: bytes) -> RelayError | None:
        call = self._asked.call
        headers = self.exchange.headers
        return first_event_error(call.format, data, headers, now=call.started_at)

    def whole_headers(self) -> RawHeaders:
        """The client's headers of a whole reply."""
        headers = self.exchange.headers
        kept = wire_headers.for_client(headers, self._asked.call.format)
        return self.with_own_headers(headers, kept)

    def with_own_headers(self, headers: RawHeaders, kept: RawHeaders) -> RawHeaders:
        """Add what relayd itself says to the head of a reply."""
        self.upstream_id = upstream_id = wire_headers.upstream_request_id(headers)[:128]
        if upstream_id:
            kept.append((b"x-relayd-upstream-request-id", upstream_id.encode("latin-1")))
        kept += self.reply_headers
        return limits.replaced(kept, self._asked.limits)

    # --- asking ---------------------------------------------------------------------------------

    def _request(self, outlet: Outlet) -> list[bytes | memoryview]:
        """The request as the upstream shall get it, in pieces."""
        (call, head, *_), lease = self._asked, self.lease
        assert call.target is not None
        edits = lease.spec.edits
        pieces = FORMATS[call.format].outgoing(head, lease.model)
        if edits.of_params:
            pieces = params.edited(pieces, edits)
        forwarded = wire_headers.for_upstream(call.headers, call.format)
        length = sum(map(len, pieces))
        return [outlet.request_head(call.target, lease.model, forwarded, length), *pieces]

    async def _connect(self, outlet: Outlet, request: list[bytes | memoryview]) -> Connection:
        lease = self.lease
        connection = await outlet.client.open(request, self.exchange, lease.timeouts.connect)
        lease.connected(self._watch.loop.time())
        return connection

    def _is_stale(self, problem: RelayError) -> bool:
        """Whether the request met a connection that its server had closed.

        Only when it shows at once: an upstream that worked on the request and then gave up would do
        the work, and bill it, twice.
        """
        exchange = self.exchange
        if not isinstance(problem, StaleConnection) or exchange.first_byte_at is not None:
            return False
        return self._watch.loop.time() - exchange.sent_at < STALE_WINDOW

    def _judge(self) -> RelayError | None:
        """A reply that was held back: an answer, the client's mistake, or a failure."""
        call, exchange = self._asked.call, self.exchange
        assert call.target is not None
        body = exchange.held[0] if len(exchange.held) == 1 else b"".join(exchange.held)
        exchange.held = [body]
        try:
            self.verdict = judge(
                call.format,
                call.target.operation,
                self.status,
                exchange.headers,
                body,
                now=call.started_at,
            )
        except RelayError as exc:
            return exc
        return self.verdict.retry


class Race:
    """Two attempts of one request; the first with a proper reply wins. Owns their tasks."""

    __slots__ = ("runs", "winner")

    def __init__(self) -> None:
        self.runs: dict[asyncio.Task[RelayError | None], Attempt] = {}
        self.winner: Attempt | None = None

    def __repr__(self) -> str:
        return f"<Race of {len(self.runs)}, won by {self.winner!r}>"

    def start(self, attempt: Attempt) -> None:
        """Let it run, beside the other if there is one."""
        self.runs[child(attempt.run())] = attempt

    def claim(self, attempt: Attempt, status: int) -> bool:
        """A reply came. A failure claims nothing: the other may still do better."""
        if self.winner is None and not _is_failure(status):
            self.winner = attempt
            for task, other in self.runs.items():
                if other is not attempt:
                    other.exchange.give_up(Lost("Another attempt was faster."))
                    if not other.exchange.sent:  # nor will it be: it has yet to connect
                        task.cancel()
        return self.winner is None or self.winner is attempt


def _is_failure(status: int) -> bool:
    return status >= 500 or status in OUR_CREDENTIAL or status in TRY_ELSEWHERE
