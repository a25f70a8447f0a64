"""One reply on its way from the upstream's socket to the client's.

Strategy: everything here runs inside the upstream connection's read callback. The first bytes
decide how the reply travels, and from then on one bound method takes each read:

    hold      a whole reply: kept until it is complete, judged, and sent in one piece
    guard     an event stream that has not begun: an error that comes first is no answer yet
    stream    an event stream: fed to the observer and written to the client at once
    overflow  a whole reply too large to hold, unless it is to be translated: forwarded as it comes,
              its tail is kept for usage; sound and files go this way at once, without a tail

No queue, task, timer, log or metric per chunk. One coarse timer per exchange looks at counters to
find silence: it keeps a quiet client connection alive, gives up on a silent upstream, and on a
client that does not read. When the client is slower than the upstream, the upstream's socket is not
read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from relayd.errors import BadReply, ClientGone, RelayError, UpstreamError
from relayd.relay.kept import Kept
from relayd.relay.nobody import NO_CLIENT, NO_OWNER
from relayd.relay.sides import ClientSide, Owner, RawHeaders, UpstreamSide
from relayd.relay.watch import Watch
from relayd.wire import reply_head
from relayd.wire.pipe import Pipe

HOLD_LIMIT = 1024 * 1024  # a whole reply up to this size is judged before its first byte goes out
GUARD_LIMIT = 64 * 1024  # pings and comments kept back before a stream begins
DETACH_GRACE = 1.0  # seconds that a served reply's last bytes may take after the client hung up


class Exchange:
    """The state of one reply. Owned by the relay's task, changed only by callbacks on its loop.

    Arguments:
        client: where the reply goes.
        observer: watches an event stream, or None when the client did not ask for one.
        owner: what decides whether and how the reply goes to the client.
        watch: the timer that looks after it.
        largest: bytes of a whole reply that must be held, because it is to be translated; None lets
            a large one pass as it comes.
        opaque: by its status and headers, whether a reply is to pass as it comes, unread.
    """

    __slots__ = (
        "_active_at",
        "_asked_at",
        "_client",
        "_connection",
        "_feed",
        "_guarded",
        "_largest",
        "_loop",
        "_observer",
        "_opaque",
        "_owner",
        "_patience",
        "_paused_at",
        "_pulse_at",
        "_seen_before",
        "_watch",
        "_write",
        "done",
        "ended_at",
        "first_byte_at",
        "headers",
        "kept",
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
        observer: Pipe | None,
        owner: Owner,
        watch: Watch,
        *,
        largest: int | None = None,
        opaque: Callable[[int, RawHeaders], bool] | None = None,
    ) -> None:
        self._loop = watch.loop
        self._client: ClientSide = client
        self._observer = observer
        # Looked up once, not for each read.
        self._write = client.write
        self._feed = observer.feed if observer is not None else bytes
        self._owner: Owner = owner
        self._patience = watch.patience
        self._watch = watch
        self._connection: UpstreamSide | None = None
        self.done: asyncio.Future[RelayError | None] = self._loop.create_future()
        self.status = 0
        self.headers: RawHeaders = []
        self.kept = Kept()
        self._guarded = b""
        self.mode = "wait"
        self._largest = largest
        self._opaque = opaque
        self.started = False
        self.sent = False
        self.first_byte_at: float | None = None
        self.ended_at: float | None = None  # on the fine clock: the upstream's last byte
        self.sent_at = self._asked_at = self._active_at = self._pulse_at = self._loop.time()
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
        return streamed + self.kept.size

    @property
    def under_way(self) -> bool:
        """Whether the upstream is at work on it, as far as anybody knows."""
        return self._connection is not None

    # --- the relay's task -----------------------------------------------------------------------

    def attach(self, connection: UpstreamSide) -> None:
        """Say which connection carries the reply; from now on time counts."""
        self.sent = True
        if self.done.done():  # it was given up while the connection came about
            connection.abort()
        else:
            self._connection = connection
            self._watch.join(self)

    def moved(self) -> None:
        """The upstream has taken a piece of the request: until the last one it owes no answer."""
        if self.first_byte_at is None:
            self.sent_at = self._loop.time()

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

    def listen_on(self) -> asyncio.Future[RelayError | None]:
        """The client left, and the reply is heard to its end all the same, for its usage. Returns
        the new `done`: whoever waited for the old one was cancelled, and it with them."""
        self._client, self._write = NO_CLIENT, self._unheard
        self.done = self._loop.create_future()
        if self._connection is None:  # it has ended just now
            self.done.set_result(None)
        elif self._paused_at is not None:
            self._go_on()
        return self.done

    def _unheard(self, data: bytes) -> bool:
        """What the client would have got: after the terminal event there is nothing to wait for."""
        if self._observer is not None and self._observer.complete:
            # Not at once: the connection is in the middle of handing over what it read.
            self._loop.call_soon(self._end_unheard)
        return False

    def _end_unheard(self) -> None:
        self.leave(served=True)
        self._resolve(None)

    # --- ReplySink ------------------------------------------------------------------------------

    def on_head(self, status: int, headers: RawHeaders) -> None:
        self.status = status
        self.headers = headers
        self._owner.connected()

    def on_end(self) -> None:
        self.ended_at = monotonic()
        if self.mode == "guard":
            self._end_guarded()
        elif self.mode == "wait" and not self._owner.claim(self.status):
            return  # a reply without a body is one, too
        else:
            self._resolve(None)

    def on_error(self, exc: UpstreamError) -> None:
        self._resolve(exc)

    # --- how the reply travels ------------------------------------------------------------------

    def _first(self, data: bytes) -> None:
        self.first_byte_at = self._loop.time()
        opaque = self._opaque is not None and self._opaque(self.status, self.headers)
        if self._observer is not None and not opaque and self._begins(data):
            self.mode, self.on_body = "guard", self._guard
        elif not self._owner.claim(self.status):
            return
        elif opaque:
            self._pass_as_it_comes(self._pass)
        else:
            self.mode, self.on_body = "hold", self._hold
        self.on_body(data)

    def _guard(self, data: bytes) -> None:
        """Nothing goes out before the first event shows that this is an answer: until then another
        upstream can be asked."""
        observer = self._observer
        assert observer is not None
        self._guarded += observer.feed(data)
        if observer.opened or len(self._guarded) > GUARD_LIMIT:
            self._release()
        elif observer.failed is not None:
            problem = self._owner.first_error(observer.first_error_event)
            if problem is None:
                self._release()
            else:
                self.give_up(problem)

    def _release(self) -> bool:
        """What was kept back is an answer, or is taken for one; False where nobody wants it."""
        if not self._begin_stream():
            return False
        guarded, self._guarded = self._guarded, b""
        if guarded and self._write(guarded):
            self._hold_back()
        return True

    def _end_guarded(self) -> None:
        """The end came before any event did, or with an only event that no blank line closed."""
        observer = self._observer
        assert observer is not None
        self._guarded += observer.finish()
        problem: RelayError | None = None
        if observer.failed is not None and not observer.opened:
            problem = self._owner.first_error(observer.first_error_event)
        elif not observer.opened:
            problem = BadReply("The upstream's stream ended before it began.")
        if problem is None:
            self._release()
        self._resolve(problem)

    def _begins(self, data: bytes) -> bool:
        assert self._observer is not None
        return 200 <= self.status < 300 and self._observer.begins(reply_head.first_of(data))

    def _begin_stream(self) -> bool:
        """From here on the client is this stream's, unless another attempt was faster."""
        if not self._owner.claim(self.status):
            return False
        self.started = True
        self._client.start(self.status, self._owner.stream_headers(self.headers), None)
        self.mode = "stream"
        self.on_body = self._stream
        return True

    def _stream(self, data: bytes) -> None:
        out = self._feed(data)
        if out and self._write(out):
            self._hold_back()

    def _hold(self, data: bytes) -> None:
        kept = self.kept
        kept.hold(data)
        if kept.size <= HOLD_LIMIT:
            return
        if not 200 <= self.status < 300:
            self.give_up(BadReply("The upstream's error reply is too large."))
            return
        if self._largest is not None:
            if kept.size > self._largest:
                self.give_up(BadReply("The upstream's reply is too large to be translated."))
            return
        self._pass_as_it_comes(self._overflow)
        self._forward(kept.let_go())

    def _pass_as_it_comes(self, take: Callable[[bytes], None]) -> None:
        self.mode, self.on_body, self.started = "overflow", take, True
        length = reply_head.length(self.headers)
        self._client.start(self.status, self._owner.stream_headers(self.headers), length)

    def _overflow(self, data: bytes) -> None:
        self.kept.slide(data)
        self._forward(data)

    def _pass(self, data: bytes) -> None:
        self.kept.size += len(data)
        self._forward(data)

    def _forward(self, data: bytes) -> None:
        if self._client.write(data):
            self._hold_back()

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

    @property
    def request(self) -> str:
        return self._owner.request

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
        heard_at = None if self.first_byte_at is None else self._active_at
        if self._paused_at is not None:
            if now - self._paused_at >= self._patience.client:
                self._client.abort()
                return ClientGone("The client does not read its reply.")
            heard_at = now
        return self._patience.lost(now, self._asked_at, self.sent_at, heard_at)

    def _pulse(self, now: float) -> None:
        observer = self._observer
        if observer is None or self._paused_at is not None:
            return
        if self.mode == "wait":
            # The head says "stream" and nothing came yet: the model thinks. Commit, so that no
            # proxy cuts.
            promised = reply_head.promises_stream(self.status, self.headers)
            if not (promised and self._begin_stream()):
                return
            self.on_body = self._first_of_started
        elif self.mode == "guard":
            if not self._release():
                return
        elif self.mode != "stream":
            return
        if observer.at_boundary:
            self._pulse_at = now
            self._client.write(observer.keepalive)

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
        self._owner = NO_OWNER
        if self._client is NO_CLIENT:
            self._write = NO_CLIENT.write


def _ignore(data: bytes) -> None:
    """Bytes that come after the end are nobody's."""
