"""One kept-alive connection to an upstream: HTTP/1.1 over `asyncio.Protocol`, parsed by llhttp.

Strategy: llhttp's callbacks only note what they saw; `data_received` then tells the sink in order:
head, body, end. One network read is at most one `on_body`, and that call carries the very object
llhttp made, unless the read held several HTTP chunks (then they are joined once). The connection
goes back to its pool after the body of the reply has been taken, never before; a connection that
saw anything odd (bytes nobody asked for, a reply cut short, `connection: close`) is closed instead.

Bounds: a response head that is too large is refused (`framing`); gzip is inflated in steps, so that
a small packet cannot become a large buffer at once; pausing the sink pauses the socket. A body that
is sent in pieces (`Upload`) stops where the reply ends, and the connection with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from relayd.errors import BadReply, NoAnswer, UpstreamError
from relayd.sockets import send
from relayd.upstream.framing import MAX_HEAD, check_size, framing
from relayd.upstream.inflate import Inflating
from relayd.upstream.sink import Nobody, RawHeaders, ReplySink
from relayd.upstream.upload import Pump, Upload


class StaleConnection(NoAnswer):
    """A kept-alive connection had been closed by the server before a byte of the reply came."""


class Connection(asyncio.Protocol):
    """One connection; owned by its pool, lent to one sink at a time.

    Arguments:
        idle: called when the connection is free for the next request.
        gone: called once when the connection is lost.
    """

    __slots__ = (
        "_body",
        "_done",
        "_framed",
        "_gone",
        "_grace",
        "_head_bytes",
        "_headers",
        "_idle",
        "_inflating",
        "_interim",
        "_keep",
        "_own_pieces",
        "_parser",
        "_paused",
        "_pump",
        "_replied",
        "_resting",
        "_sink",
        "_status",
        "_surplus",
        "_told_head",
        "idle_since",
        "on_body",
        "served",
        "transport",
    )

    def __init__(
        self, idle: Callable[[Connection], None], gone: Callable[[Connection], None]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.served = 0
        self.idle_since = 0.0
        self._idle = idle
        self._gone = gone
        self._sink: ReplySink | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._pump: Pump | None = None  # sends what is left of the request
        self._resting = False  # goes on decoding in the loop's next turn
        self._body: list[bytes] = []
        # llhttp's callback for body bytes, without a Python function in between.
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def __repr__(self) -> str:
        state = "closed" if self.transport is None else "busy" if self._sink else "idle"
        return f"<Connection {state} served={self.served}>"

    def _reset(self) -> None:
        self._headers: RawHeaders = []
        self._body.clear()
        self._status = 0
        self._head_bytes = 0
        self._replied = False
        self._told_head = False
        self._done = False
        self._keep = False
        self._interim = False
        self._surplus = False
        self._own_pieces = 0
        self._framed = False
        self._paused = False
        self._inflating: Inflating | None = None

    # --- used by the pool and the relay ---------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent: connected, and not on its way out."""
        return self.transport is not None and not self.transport.is_closing()

    def send(
        self,
        pieces: Sequence[bytes | memoryview],
        sink: ReplySink,
        upload: Upload | None = None,
    ) -> None:
        """Send one request, given as head and body pieces, and lend the connection to `sink`. An
        upload follows the pieces."""
        assert self._sink is None and self.transport is not None
        self._reset()
        self._sink = sink
        send(self.transport, pieces)
        if upload is not None:
            self._pump = Pump(upload, self.transport, self._sent)

    def pause(self) -> None:
        """Stop reading: the client is slower than the upstream."""
        self._paused = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading, after what waits to be decoded."""
        self._paused = False
        if self._inflating is not None and self._inflating.waiting:
            self._deliver()
        if not self._paused and not self._resting and self.is_open:
            cast(asyncio.Transport, self.transport).resume_reading()

    def abort(self) -> None:
        """Close now; the sink hears nothing more. This is what cancels work at the upstream."""
        self._sink = None
        self._stop_upload()
        if self.transport is not None:
            self.transport.abort()

    def detach(self, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        """Let the last bytes of a served reply come in unheard, so that the connection can be
        reused.

        Clients hang up right after the terminal event; what is missing then is the final HTTP
        chunk. After `grace` seconds the connection is closed; one that decodes, at once.
        """
        if self._pump is not None or self._inflating is not None:
            self.abort()
        elif self._sink is not None and self.is_open:
            self._sink = Nobody()
            self.resume()
            self._grace = loop.call_later(grace, self.abort)

    # --- a body that is sent in pieces ----------------------------------------------------------

    def _sent(self, whole: bool) -> None:
        self._pump = None
        if not whole:
            self._fail(NoAnswer("relayd could not send the whole request.", status=502))

    def _stop_upload(self) -> bool:
        """Send nothing more. Returns whether there was anything left to send."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.stop()
        return pump is not None

    def pause_writing(self) -> None:
        if self._pump is not None:
            self._pump.pause()

    def resume_writing(self) -> None:
        if self._pump is not None:
            self._pump.resume()

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's: a check would fail.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            # Bytes that answer no request would be taken for the next reply: the end of it.
            self.abort()
            return
        if not self._told_head:
            self._replied = True
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._misunderstand()
            return
        if self._told_head and len(self._body) == 1 and self._inflating is None and not self._done:
            sink.on_body(self._body.pop())  # a stream under way: nothing else can have happened
        else:
            self._deliver()

    def _misunderstand(self) -> None:
        if self._done:  # the reply was whole; what followed it is not worth an error
            self._surplus = True
            self._deliver()
        else:
            self._fail(BadReply("The upstream sent something that is not valid HTTP."))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._cancel_grace()
        self._stop_upload()
        sink, self._sink = self._sink, None
        self._gone(self)
        if sink is None:
            return
        whole = self._inflating is None or self._inflating.ended
        if self._told_head and not self._framed and exc is None and whole:
            # Neither content-length nor chunked: the close is the end (RFC 9112 6.3, rule 8).
            sink.on_end()
        elif self._replied:
            sink.on_error(
                BadReply("The upstream closed the connection in the middle of its reply.")
            )
        elif self.served:
            sink.on_error(
                StaleConnection("The upstream closed a kept-alive connection.", status=502)
            )
        else:
            sink.on_error(
                NoAnswer("The upstream closed the connection without answering.", status=502)
            )

    # --- llhttp callbacks: note, never act ------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._done:  # a second reply to one request
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status == 0:  # later ones are trailers, which we ignore
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if not self._surplus:
            self._status = self._parser.get_status_code()
            self._interim = 100 <= self._status < 200

    def on_message_complete(self) -> None:
        if self._surplus:
            return
        if self._interim:  # 100 Continue, 103 Early Hints: the real reply follows
            self._headers, self._status, self._interim = [], 0, False
        else:
            self._done = True
            self._own_pieces = len(self._body)
            self._keep = self._parser.should_keep_alive()

    # --- telling the sink -----------------------------------------------------------------------

    def _deliver(self) -> None:
        sink = self._sink
        if sink is None or not (self._told_head or self._tell_head(sink)):
            return
        if self._done:
            del self._body[self._own_pieces :]  # of a reply that nobody asked for
        if self._body and self._sink is sink:
            data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            if self._inflating is None:
                sink.on_body(data)
            else:
                self._inflating.waiting += data
        inflating = self._inflating
        if inflating is not None and inflating.waiting and self._sink is sink:
            self._inflate(inflating, sink)
        if self._done and not (inflating is not None and inflating.waiting):
            self._finish()

    def _tell_head(self, sink: ReplySink) -> bool:
        try:
            if self._head_bytes > MAX_HEAD:
                check_size(self._status, self._headers)
            if self._status < 200:  # none yet, or an interim one
                return False
            self._told_head = True
            self._framed, self._inflating, self._headers = framing(self._status, self._headers)
        except BadReply as exc:
            self._fail(exc)
            return False
        sink.on_head(self._status, self._headers)
        return True

    def _inflate(self, inflating: Inflating, sink: ReplySink) -> None:
        """Decode some of what waits, while the sink takes what comes."""
        try:
            inflating.run(sink.on_body, lambda: self._sink is sink and not self._paused)
        except BadReply as exc:
            self._fail(exc)
        if inflating.waiting and self._sink is sink and not (self._paused or self._resting):
            self._rest()

    def _rest(self) -> None:
        """Let others have their turn of the loop, before more is decoded."""
        self.pause()
        self._paused, self._resting = False, True
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if not self._paused:
            self.resume()

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        self._cancel_grace()
        self.served += 1
        if sink is None:  # the sink gave up while taking the body
            return
        if self._inflating is not None and not self._inflating.ended:
            self._sink = sink
            self._fail(BadReply("The upstream's gzip body ends too early."))
            return
        unsent = self._stop_upload()
        if self._is_reusable() and not unsent:
            if self._paused:  # an idle connection must read, if only to notice that it was closed
                self.resume()
            self._idle(self)
        elif self.transport is not None and (unsent or self.transport.get_write_buffer_size()):
            self.transport.abort()  # closing would wait until the rest of the request is taken
        elif self.transport is not None:
            self.transport.close()
        sink.on_end()

    def _is_reusable(self) -> bool:
        if not self._keep or self._surplus or self.transport is None or not self.is_open:
            return False
        # An early reply (413, say): the rest of our request would stand before the next one.
        return self.transport.get_write_buffer_size() == 0

    def _fail(self, exc: UpstreamError) -> None:
        sink, self._sink = self._sink, None
        self._stop_upload()
        if self.transport is not None:
            self.transport.abort()
        if sink is not None:
            sink.on_error(exc)

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
