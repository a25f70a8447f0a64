"""One reply on its way from the upstream's socket to the client's.

Strategy: everything here runs inside the upstream connection's read callback. The first bytes
decide how the reply travels, and from then on one bound method takes each read:

    hold      a whole reply: kept until it is complete, judged, and sent in one piece
    stream    an event stream: fed to the observer and written to the client at once
    overflow  a whole reply too large to hold: forwarded as it comes, only its tail is kept for
    usage

No queue, task, timer, log or metric per chunk. One coarse timer per exchange looks at counters to
find silence: it keeps a quiet client connection alive, gives up on a silent upstream, and on a
client that does not read. When the client is slower than the upstream, the upstream's socket is not
read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.errors import BadReply, ClientGone, NoAnswer, RelayError, UpstreamError
from relayd.model import Timeouts
from relayd.wire.passthrough import Passthrough

log = logging.getLogger("relayd")

RawHeaders = list[tuple[bytes, bytes]]

HOLD_LIMIT = 1024 * 1024  # a whole reply up to this size is judged before its first byte goes out
TAIL_LIMIT = 64 * 1024  # of a larger one, this much of the end is kept: usage stands there
DETACH_GRACE = 1.0  # seconds that a served reply's last bytes may take after the client hung up


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence may last, in seconds.

    Arguments:
        upstream: first byte, stall and total of the upstream.
        keepalive: silence after which a stream to the client is kept alive; 0 is never.
        client: how long a client may leave its reply unread.
    """

    upstream: Timeouts
    keepalive: float = 10.0
    client: float = 120.0


class Watch:
    """One timer for all exchanges that share a patience. It runs only while there are any.

    Silence is noticed at most a quarter of the shortest patience late.
    """

    def __init__(self, patience: Patience, loop: asyncio.AbstractEventLoop) -> None:
        self.patience = patience
        self.loop = loop
        limits = patience.upstream
        waits = (limits.first_byte, limits.stall, limits.total, patience.client)
        self._interval = max(0.01, min(*waits, patience.keepalive or limits.stall) / 4)
        self._live: set[Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Watch live={len(self._live)} every={self._interval:g}s>"

    def join(self, exchange: Exchange) -> None:
        """Look after an exchange from now on."""
        self._live.add(exchange)
        if self._timer is None:
            self._timer = self.loop.call_later(self._interval, self._tick)

    def leave(self, exchange: Exchange) -> None:
        """It has ended."""
        self._live.discard(exchange)

    def _tick(self) -> None:
        self._timer = None
        if self._live:  # first of all: whatever happens below, time goes on for the others
            self._timer = self.loop.call_later(self._interval, self._tick)
        now = self.loop.time()
        for exchange in list(self._live):
            try:
                exchange.check(now)
            except Exception:
                log.exception("cannot look after %r", exchange)
                exchange.give_up(RelayError("relayd failed to handle this request."))


class ClientSide(Protocol):
    """The client's half of an exchange, as far as forwarding needs it."""

    def on_drain(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when the buffer has drained."""

    def start(self, status: int, headers: RawHeaders, length: int | None) -> None:
        """Set the response head; it goes out with the first `write`."""

    def write(self, data: bytes) -> bool:
        """Send body bytes; returns whether more than the bound waits for the client now."""

    def abort(self) -> None:
        """Cut the connection."""


class UpstreamSide(Protocol):
    """The upstream's half: a connection that can be held back or dropped."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...

    def detach(self, loop: asyncio.AbstractEventLoop, grace: float) -> None: ...


class Exchange:
    """The state of one reply. Owned by the relay's task, changed only by callbacks on its loop.

    Arguments:
        client: where the reply goes.
        observer: watches an event stream, or None when the client did not ask for one.
        stream_headers: makes the client's headers of a reply out of the upstream's.
        watch: the timer that looks after it.
    """

    __slots__ = (
        "_active_at",
        "_client",
        "_connection",
        "_feed",
        "_held_size",
        "_loop",
        "_observer",
        "_patience",
        "_paused_at",
        "_pulse_at",
        "_seen_before",
        "_stream_headers",
        "_watch",
        "_write",
        "done",
        "first_byte_at",
        "headers",
        "held",
        "mode",
        "on_body",
        "sent",
        "sent_at",
        "started",
        "status",
    )

    def __init__(
        self,
        client: ClientSide,
        observer: Passthrough | None,
        stream_headers: Callable[[RawHeaders], RawHeaders],
        watch: Watch,
    ) -> None:
        self._loop = watch.loop
        self._client = client
        self._observer = observer
        # Looked up once, not for each read.
        self._write = client.write
        self._feed = observer.feed if observer is not None else _as_it_is
        self._stream_headers = stream_headers
        self._patience = watch.patience
        self._watch = watch
        self._connection: UpstreamSide | None = None
        self.done: asyncio.Future[RelayError | None] = self._loop.create_future()
        self.status = 0
        self.headers: RawHeaders = []
        self.held: list[bytes] = []
        self.mode = "wait"
        self._held_size = 0
        self.started = False
        self.sent = False
        self.first_byte_at: float | None = None
        self.sent_at = self._active_at = self._pulse_at = self._loop.time()
        self._seen_before = 0
        self._paused_at: float | None = None
        # ReplySink's method, exchanged as the reply shows what it is: no branch for each read.
        self.on_body: Callable[[bytes], None] = self._first

    def __repr__(self) -> str:
        return f"<Exchange {self.mode} status={self.status} seen={self.seen}>"

    @property
    def seen(self) -> int:
        """Bytes of the body until now."""
        streamed = self._observer.seen if self._observer is not None else 0
        return streamed + self._held_size

    # --- the relay's task -----------------------------------------------------------------------

    def attach(self, connection: UpstreamSide) -> None:
        """Say which connection carries the reply; from now on time counts."""
        self.sent = True
        if not self.done.done():
            self._connection = connection
            self._watch.join(self)

    def leave(self, *, served: bool) -> None:
        """The client left. A served reply may finish unheard; any other is cancelled at the
        upstream."""
        connection = self._connection
        self._let_go()
        if connection is None:  # the reply has ended, one way or the other
            return
        if served:
            connection.detach(self._loop, DETACH_GRACE)
        else:
            connection.abort()

    # --- ReplySink ------------------------------------------------------------------------------

    def on_head(self, status: int, headers: RawHeaders) -> None:
        self.status = status
        self.headers = headers

    def on_end(self) -> None:
        self._resolve(None)

    def on_error(self, exc: UpstreamError) -> None:
        self._resolve(exc)

    # --- how the reply travels ------------------------------------------------------------------

    def _first(self, data: bytes) -> None:
        self.first_byte_at = self._loop.time()
        observer = self._observer
        if observer is None or not 200 <= self.status < 300 or not self._is_stream(data):
            self.mode = "hold"
            self.on_body = self._hold
            self._hold(data)
            return
        self._begin_stream()
        if observer.passes(data):
            # The client waits for this one: it goes out before it is looked at.
            if self._client.write(data):
                self._hold_back()
            observer.feed(data)
        else:
            self._stream(data)

    def _is_stream(self, data: bytes) -> bool:
        # The content-type may be wrong in both directions, so the first byte decides (wire 1.3).
        assert self._observer is not None
        start = data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1]
        return self._observer.begins(start)

    def _begin_stream(self) -> None:
        if not self.started:
            self.started = True
            self._client.start(self.status, self._stream_headers(self.headers), None)
        self.mode = "stream"
        self.on_body = self._stream

    def _stream(self, data: bytes) -> None:
        out = self._feed(data)
        if out and self._write(out):
            self._hold_back()

    def _hold(self, data: bytes) -> None:
        self.held.append(data)
        self._held_size += len(data)
        if self._held_size <= HOLD_LIMIT:
            return
        if not 200 <= self.status < 300:
            self.give_up(BadReply("The upstream's error reply is too large."))
            return
        self.mode = "overflow"
        self.started = True
        self._client.start(self.status, self._stream_headers(self.headers), self._length())
        held = b"".join(self.held)
        self.held = []
        self.on_body = self._overflow
        self._overflow(held)

    def _overflow(self, data: bytes) -> None:
        tail = (self.held[0] if self.held else b"") + data[-TAIL_LIMIT:]
        self.held = [tail[-TAIL_LIMIT:]]
        self._held_size += len(data)
        if self._client.write(data):
            self._hold_back()

    def _length(self) -> int | None:
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return None

    # --- backpressure ---------------------------------------------------------------------------

    def _hold_back(self) -> None:
        if self._paused_at is None and self._connection is not None:
            self._paused_at = self._loop.time()
            self._connection.pause()
            self._client.on_drain(self._go_on)

    def _go_on(self) -> None:
        self._paused_at = None
        self._active_at = self._loop.time()
        if self._connection is not None:
            self._connection.resume()

    # --- time -----------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Look for silence; called by the watch a few times within the shortest patience."""
        if self.seen != self._seen_before:
            self._seen_before = self.seen
            self._active_at = self._pulse_at = now
        problem = self._overdue(now)
        if problem is not None:
            self.give_up(problem)
            return
        keepalive = self._patience.keepalive
        if keepalive and now - self._pulse_at >= keepalive:
            self._pulse(now)

    def _overdue(self, now: float) -> RelayError | None:
        limits = self._patience.upstream
        if now - self.sent_at >= limits.total:
            return NoAnswer("The upstream took longer than the total time allowed.")
        if self._paused_at is not None:
            if now - self._paused_at >= self._patience.client:
                self._client.abort()
                return ClientGone("The client does not read its reply.")
            return None
        if self.first_byte_at is None:
            if now - self.sent_at >= limits.first_byte:
                return NoAnswer("The upstream sent no first byte in time.")
        elif now - self._active_at >= limits.stall:
            return NoAnswer("The upstream stopped sending in the middle of its reply.")
        return None

    def _pulse(self, now: float) -> None:
        observer = self._observer
        if observer is None or self.mode not in ("wait", "stream") or self._paused_at is not None:
            return
        if self.mode == "wait":
            # The head says "stream" and nothing came yet: the model thinks. Commit, so that no
            # proxy cuts.
            if self.status != 200 or not self._promises_stream():
                return
            self._begin_stream()
            self.on_body = self._first_of_started
        if observer.at_boundary:
            self._pulse_at = now
            self._client.write(observer.keepalive)

    def _promises_stream(self) -> bool:
        return any(n == b"content-type" and b"event-stream" in v for n, v in self.headers)

    def _first_of_started(self, data: bytes) -> None:
        self.first_byte_at = self._loop.time()
        self.on_body = self._stream
        self._stream(data)

    # --- the end --------------------------------------------------------------------------------

    def give_up(self, exc: RelayError) -> None:
        """End it with an error, and cancel the work at the upstream."""
        if self._connection is not None:
            self._connection.abort()
        self._resolve(exc)

    def _resolve(self, exc: RelayError | None) -> None:
        self._let_go()
        if not self.done.done():
            self.done.set_result(exc)

    def _let_go(self) -> None:
        """Drop what refers back to us: a cycle would keep the request's body until a collection."""
        self._watch.leave(self)
        self._connection = None
        self.on_body = _ignore
        self._stream_headers = _unchanged


def _as_it_is(data: bytes) -> bytes:
    return data


def _ignore(data: bytes) -> None:
    """Bytes that come after the end are nobody's."""


def _unchanged(headers: RawHeaders) -> RawHeaders:
    return headers
