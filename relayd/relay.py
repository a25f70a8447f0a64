"""The life of one request, top to bottom: admit, choose, open, relay, settle.

`Relay.serve` is the story; each chapter is one function below it. Nothing here calls up. Whatever
happens, the request ends in exactly one `settle`: one row in the usage log, one count in the
metrics, the lease given back; and that happens before the last byte of the reply goes out, so that
a client that has its answer can rely on the row. Admission and choice contain no await: they are
atomic on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping

from relayd.errors import (
    BrokenStream,
    ClientGone,
    NoUpstream,
    Refused,
    RelayError,
    UpstreamError,
)
from relayd.faults import UPSTREAM_FAULTS, FaultLog
from relayd.forward import Exchange, Patience, RawHeaders, Watch
from relayd.judge import judge
from relayd.model import Entry, Usage
from relayd.policy.keys import Directory
from relayd.policy.pools import Pools
from relayd.upstream.connection import StaleConnection
from relayd.upstream.provider import Provider
from relayd.wire import headers as wire_headers
from relayd.wire.formats import FORMATS
from relayd.work import Call, Client, Last, Ledger, Meter, Work

log = logging.getLogger("relayd")

STALE_WINDOW = 1.0  # seconds after sending in which a closed connection is taken for a stale one


class Relay:
    """Serves requests. Its parts are passed in; reload replaces `directory`, `pools` and
    `providers`.

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
        self.reconfigure(providers, keepalive, write_timeout)
        self._ledger = ledger
        self._meter = meter
        self._clock = asyncio.get_running_loop().time
        self._faults = FaultLog()
        self.in_flight = 0

    def reconfigure(
        self, providers: Mapping[str, Provider], keepalive: float, write_timeout: float
    ) -> None:
        """Serve the next requests by a new configuration; those in flight keep the old one."""
        self.providers = providers
        loop = asyncio.get_running_loop()
        self._watches = {
            name: Watch(Patience(p.spec.timeouts, keepalive, write_timeout), loop)
            for name, p in providers.items()
        }

    async def serve(self, call: Call, client: Client) -> None:
        """Answer one request, whatever happens. Raises only CancelledError: the client left."""
        work = Work(call, client, Entry(call.request_id, call.started_at, format_in=call.format))
        self.in_flight += 1
        try:
            last = await self._work(work)
        except RelayError as exc:
            last = self._fail(work, exc)
        except asyncio.CancelledError:
            last = self._leave(work)
            self._settle(work, last.size)
            last.act()
            raise
        except Exception:
            # A bug of ours: the client gets its format's 500, the log gets the stack.
            log.exception("request %s failed", call.request_id)
            last = self._fail(work, RelayError("relayd failed to handle this request."))
        finally:
            self.in_flight -= 1
        self._settle(work, last.size)
        last.act()

    async def _work(self, work: Work) -> Last:
        self._admit(work)
        await self._read(work)
        self._choose(work)
        exchange = await self._open(work)
        problem = await exchange.done
        if self._is_stale(exchange, problem):
            exchange = await self._open(work, fresh=True)
            problem = await exchange.done
        return self._finish(work, exchange, problem)

    def _is_stale(self, exchange: Exchange, problem: RelayError | None) -> bool:
        """Whether the request met a connection that its server had closed.

        Only when it shows at once: an upstream that worked on the request and then gave up would do
        the work, and bill it, twice.
        """
        if not isinstance(problem, StaleConnection) or exchange.first_byte_at is not None:
            return False
        return self._clock() - exchange.sent_at < STALE_WINDOW

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

    # --- choose ---------------------------------------------------------------------------------

    def _choose(self, work: Work) -> None:
        assert work.head is not None
        lease = self.pools.choose(work.head.model, work.call.format)
        work.lease = lease
        # Kept with the request: a reload may take the upstream away while it is under way.
        work.provider = self.providers[lease.spec.name]
        work.watch = self._watches[lease.spec.name]
        work.rule = lease.rule
        entry = work.entry
        entry.upstream = lease.spec.name
        entry.model_used = lease.model
        entry.format_out = work.call.format

    # --- open -----------------------------------------------------------------------------------

    async def _open(self, work: Work, *, fresh: bool = False) -> Exchange:
        head, lease, call, provider = work.head, work.lease, work.call, work.provider
        assert head is not None and lease is not None and call.target is not None
        assert provider is not None and work.watch is not None
        wire = FORMATS[call.format]
        pieces = wire.outgoing(head, lease.model)
        forwarded = wire_headers.for_upstream(call.headers, call.format)
        length = sum(map(len, pieces))
        request = [provider.request_head(call.target, lease.model, forwarded, length), *pieces]
        work.observer = wire.sniffer(head) if head.stream else None
        work.exchange = exchange = Exchange(
            work.client,
            work.observer,
            lambda headers: self._stream_headers(work, headers),
            work.watch,
        )
        connection = None if fresh else provider.client.reuse(request, exchange)
        exchange.attach(connection or await provider.client.open(request, exchange))
        return exchange

    def _stream_headers(self, work: Work, headers: RawHeaders) -> RawHeaders:
        """The client's response headers, once the upstream's are known."""
        exchange, observer = work.exchange, work.observer
        observed = observer is not None and exchange is not None and exchange.mode != "overflow"
        kept = wire_headers.for_client(headers, work.call.format, stream=observed)
        if observed and observer is not None:
            kept += observer.stream_headers
        return self._with_upstream_id(work, headers, kept)

    @staticmethod
    def _with_upstream_id(work: Work, headers: RawHeaders, kept: RawHeaders) -> RawHeaders:
        upstream_id = wire_headers.upstream_request_id(headers)[:128]
        if upstream_id:
            work.entry.upstream_request_id = upstream_id
            kept.append((b"x-relayd-upstream-request-id", upstream_id.encode("latin-1")))
        return kept

    # --- relay ----------------------------------------------------------------------------------

    def _finish(self, work: Work, exchange: Exchange, problem: RelayError | None) -> Last:
        if not exchange.started:
            if problem is not None:
                raise problem
            return self._finish_whole(work, exchange)
        if exchange.mode == "overflow":
            return self._finish_overflow(work, exchange, problem)
        return self._finish_stream(work, problem)

    def _finish_whole(self, work: Work, exchange: Exchange) -> Last:
        """A reply that was held back: judge it, then send it in one piece."""
        call, client, head = work.call, work.client, work.head
        assert call.target is not None and head is not None
        body = exchange.held[0] if len(exchange.held) == 1 else b"".join(exchange.held)
        headers = wire_headers.for_client(exchange.headers, call.format)
        headers = self._with_upstream_id(work, exchange.headers, headers)
        verdict = judge(
            call.format,
            call.target.operation,
            exchange.status,
            exchange.headers,
            body,
            now=call.started_at,
        )
        entry = work.entry
        entry.status, entry.outcome = verdict.status, verdict.outcome
        entry.error_code = verdict.error_code
        if verdict.outcome == "ok" or verdict.usage is not None:
            self._note_usage(work, verdict.usage, complete=True, produced=len(body) // 4)
        return Last(lambda: client.send(verdict.status, headers, body), len(body))

    def _finish_overflow(self, work: Work, exchange: Exchange, problem: RelayError | None) -> Last:
        """A reply too large to hold: it went out as it came."""
        call, client = work.call, work.client
        assert call.target is not None
        work.entry.status = exchange.status
        if problem is not None:
            self._note_failure(work, problem, started=True)
            return Last(client.abort)
        usage = FORMATS[call.format].tail_usage(b"".join(exchange.held))
        work.entry.outcome = "ok"
        self._note_usage(work, usage, complete=True)
        return Last(client.end)

    def _finish_stream(self, work: Work, problem: RelayError | None) -> Last:
        """An event stream: all of it went out; what is missing is its proper end."""
        client, observer, entry = work.client, work.observer, work.entry
        assert observer is not None and work.exchange is not None
        entry.status = work.exchange.status
        rest = observer.finish()
        if observer.complete and observer.failed is None:
            entry.outcome = "ok"  # even if the connection broke after the terminal event
        elif observer.failed is not None and problem is None:
            entry.outcome, entry.error_code = "upstream_error", "upstream_stream_error"
        else:
            broken = problem or BrokenStream("The upstream's stream ended before it was complete.")
            self._note_failure(work, broken, started=True)
            rest += observer.error_event(broken, work.call.request_id)
        self._note_usage(work, observer.usage, complete=entry.outcome == "ok")
        return Last(lambda: client.end(rest), len(rest))

    # --- settle ---------------------------------------------------------------------------------

    def _note_usage(
        self, work: Work, usage: Usage | None, *, complete: bool, produced: int = 0
    ) -> None:
        """Enter what was consumed. `produced`: output tokens to assume when nobody reports any."""
        entry, head, observer = work.entry, work.head, work.observer
        if entry.operation == "count_tokens" or head is None:
            return
        if usage is not None and complete:
            entry.usage, entry.usage_source = usage, "reported"
            return
        if observer is not None and observer.seen:
            produced = observer.estimate_output()
        if usage is not None:
            # The stream was cut: the input side is known, the output side at least what was seen.
            entry.usage, entry.usage_source = usage, "partial"
            usage.out_total = max(usage.out_total or 0, produced)
        else:
            entry.usage = Usage(in_uncached=head.input_estimate, out_total=produced)
            entry.usage_source = "estimated"

    def _note_failure(self, work: Work, exc: RelayError, *, started: bool) -> None:
        entry = work.entry
        entry.error_code = exc.code
        entry.outcome = exc.outcome
        if started and isinstance(exc, UpstreamError):
            entry.outcome = BrokenStream.outcome

    def _fail(self, work: Work, exc: RelayError) -> Last:
        """Word a failure for the client, if it can still be told."""
        call, client, entry = work.call, work.client, work.entry
        started = work.exchange is not None and work.exchange.started
        self._note_failure(work, exc, started=started)
        if isinstance(exc, ClientGone) or started:
            entry.status = entry.status or exc.status
            return Last(client.abort)
        reply = FORMATS[call.format].error(exc, call.request_id)
        entry.status = reply.status
        answer = reply.status, error_headers(exc), reply.body
        return Last(lambda: client.send(*answer), len(reply.body))

    def _leave(self, work: Work) -> Last:
        """Cancelled: the client hung up, or we stop.

        A client that hung up after the terminal event had been served; before it, it had not.
        """
        observer, exchange, entry = work.observer, work.exchange, work.entry
        served = observer is not None and observer.complete and observer.failed is None
        if exchange is not None:
            exchange.leave(served=served)
            if exchange.sent:
                self._note_usage(work, observer.usage if observer else None, complete=served)
        if served:
            entry.outcome, entry.status = "ok", exchange.status if exchange is not None else 200
            return Last(_nothing if work.client.gone else work.client.end)
        if not work.client.gone:
            return self._break_off(work)
        self._note_failure(work, ClientGone("The client left."), started=False)
        entry.status = ClientGone.default_status
        return Last(_nothing)

    def _break_off(self, work: Work) -> Last:
        """We stop, and the client is still there: it hears so, in its own format."""
        exc = NoUpstream("relayd is shutting down.", code="shutting_down", retry_after=5)
        if work.exchange is None or work.exchange.mode != "stream" or work.observer is None:
            return self._fail(work, exc)
        self._note_failure(work, exc, started=True)
        work.entry.status = work.exchange.status
        rest = work.observer.finish() + work.observer.error_event(exc, work.call.request_id)
        return Last(lambda: work.client.end(rest), len(rest))

    def _settle(self, work: Work, to_come: int = 0) -> None:
        """End the request in the books, once. `to_come`: bytes that its last act will send."""
        entry, call = work.entry, work.call
        now = self._clock()
        entry.duration = now - call.started
        if work.exchange is not None and work.exchange.first_byte_at is not None:
            entry.first_byte = work.exchange.first_byte_at - call.started
        entry.bytes_in = work.client.bytes_in
        entry.bytes_out = work.client.bytes_out + to_come
        if work.lease is not None:
            work.lease.release()
        # A failing store must not be filled up by requests that were never let in.
        if work.lease is not None or not self._ledger.full:
            self._ledger.add(entry)
        self._meter.settle(entry, work.rule)
        if entry.outcome in UPSTREAM_FAULTS:
            self._faults.note(entry.upstream, entry.error_code, now)


def _nothing() -> None:
    """There is nobody to send anything to."""


def error_headers(exc: RelayError) -> RawHeaders:
    """Headers that an error adds: when to try again, and whether that can help."""
    headers: RawHeaders = [(b"content-type", b"application/json")]
    if exc.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(exc.retry_after))))
    if exc.code == "upstream_credential":
        headers.append((b"x-should-retry", b"false"))
    return headers
