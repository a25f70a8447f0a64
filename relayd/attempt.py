"""One attempt: one upstream key asked once for one request, until it is known how that went.

An attempt opens a connection (or takes an idle one), sends, and waits for the exchange to end; a
whole reply is judged before anybody else sees it. `run` returns what went wrong, or None: the relay
then finishes the reply, or asks somebody else. A race (hedging) holds two attempts of one request:
whichever gets the first bytes of a proper reply claims the client, and the other is given up.
"""

from __future__ import annotations

from typing import NamedTuple

from relayd.call import Call, Client
from relayd.errors import RelayError
from relayd.forward import Exchange
from relayd.judge import OUR_CREDENTIAL, TRY_ELSEWHERE, Verdict, first_event_error, judge
from relayd.policy.lease import Lease
from relayd.sides import RawHeaders
from relayd.upstream.connection import StaleConnection
from relayd.upstream.provider import Provider
from relayd.watch import Watch
from relayd.wire import headers as wire_headers
from relayd.wire import params
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head

STALE_WINDOW = 1.0  # seconds after sending in which a closed connection is taken for a stale one


class Asked(NamedTuple):
    """What is asked of every upstream that is tried for one request."""

    call: Call
    head: Head
    client: Client


class Lost(RelayError):
    """Another attempt was faster. Nobody is to blame, and nobody reads this."""

    default_code = "lost_race"


class Attempt:
    """One upstream asked once. Owned by the request's task.

    Arguments:
        asked: the request.
        lease: the place at the upstream; whoever made the attempt ends it.
        provider: the upstream's connections.
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
        "provider",
        "reply_headers",
        "upstream_id",
        "verdict",
    )

    def __init__(
        self,
        asked: Asked,
        lease: Lease,
        provider: Provider,
        watch: Watch,
        race: Race | None = None,
    ) -> None:
        self._asked = asked
        self._race = race
        self._watch = watch
        self.lease = lease
        # Kept with the attempt: a reload may take the upstream away while it is under way.
        self.provider = provider
        head = asked.head
        self.observer = FORMATS[asked.call.format].sniffer(head) if head.stream else None
        self.exchange = Exchange(asked.client, self.observer, self, watch)
        self.verdict: Verdict | None = None
        self.failed = False  # it has ended in a failure that is told already; who comes next?
        self.upstream_id = ""
        # What the reply's head says beside the upstream's own: which model answered, after how
        # many attempts.
        self.reply_headers: RawHeaders = []
        if race is not None:
            race.runners.append(self)

    def __repr__(self) -> str:
        return f"<Attempt {self.lease!r} {self.exchange!r}>"

    @property
    def status(self) -> int:
        """The reply's status, as the operator wants it to be taken."""
        status, remapped = self.exchange.status, self.lease.spec.edits.statuses
        return dict(remapped).get(status, status) if remapped else status

    async def run(self) -> RelayError | None:
        """Ask, and wait until the reply has ended. Returns what went wrong, if anything did."""
        try:
            await self._open()
            problem = await self.exchange.done
            if problem is not None and self._is_stale(problem):
                self.exchange = Exchange(self._asked.client, self.observer, self, self._watch)
                await self._open(fresh=True)
                problem = await self.exchange.done
        except RelayError as exc:  # no connection came about
            return exc
        if problem is None and not self.exchange.started:
            return self._judge()
        return problem

    def first_byte(self) -> float | None:
        """Seconds from asking to the first byte, None where none came."""
        exchange = self.exchange
        return None if exchange.first_byte_at is None else exchange.first_byte_at - exchange.sent_at

    # --- Owner ----------------------------------------------------------------------------------

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
        return kept

    # --- asking ---------------------------------------------------------------------------------

    async def _open(self, *, fresh: bool = False) -> None:
        (call, head, _), lease = self._asked, self.lease
        assert call.target is not None
        edits = lease.spec.edits
        pieces = FORMATS[call.format].outgoing(head, lease.model)
        if edits.of_params:
            pieces = params.edited(pieces, edits)
        forwarded = wire_headers.for_upstream(call.headers, call.format)
        outlet = self.provider.outlet(lease.door.key.name, lease.site)
        length = sum(map(len, pieces))
        request = [outlet.request_head(call.target, lease.model, forwarded, length), *pieces]
        connection = None if fresh else outlet.client.reuse(request, self.exchange)
        if connection is None:
            connect = lease.timeouts.connect
            connection = await outlet.client.open(request, self.exchange, connect)
            lease.connected(self._watch.loop.time())
        self.exchange.attach(connection)

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
    """Two attempts of one request; the first with a proper reply wins."""

    __slots__ = ("runners", "winner")

    def __init__(self) -> None:
        self.runners: list[Attempt] = []
        self.winner: Attempt | None = None

    def __repr__(self) -> str:
        return f"<Race of {len(self.runners)}, won by {self.winner!r}>"

    def claim(self, attempt: Attempt, status: int) -> bool:
        """Bytes of a reply came. A failure claims nothing: the other may still do better."""
        if self.winner is None and not _is_failure(status):
            self.winner = attempt
            for other in self.runners:
                if other is not attempt:
                    other.exchange.give_up(Lost("Another attempt was faster."))
        return self.winner is None or self.winner is attempt


def _is_failure(status: int) -> bool:
    return status >= 500 or status in OUR_CREDENTIAL or status in TRY_ELSEWHERE
