"""The client's half of an exchange: read the body, write the response straight to the transport.

aiohttp parses requests and keeps connections; its response objects are not used for relayed
replies, because a chunk must go from one socket to the other without a task switch. So this file
writes HTTP/1.1 itself: a rendered head that leaves with the first bytes, chunked framing where the
length is not known, close-delimited bodies for HTTP/1.0 clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from aiohttp import HttpVersion11, StreamReader
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_parser import RawRequestMessage

from relayd.ends import End
from relayd.errors import BadCall, RelayError
from relayd.sockets import SMALL, send
from relayd.spool import Spool
from relayd.web import bodies
from relayd.web.bodies import UPLOAD_RATE, BodyLimits, Take
from relayd.wire.multipart import Form, FormReader, is_form

RawHeaders = list[tuple[bytes, bytes]]

STATUS_LINES = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class Connection(Protocol):
    """The little that a request needs of the connection it came on."""

    transport: asyncio.Transport | None
    drained: Callable[[], None] | None
    heard_at: float

    @property
    def writing_paused(self) -> bool: ...

    def hand_over(self) -> End: ...


class HttpClient:
    """One request and the way back to its client. Satisfies `relay.Client`.

    It stands in place of aiohttp's request and response objects: the relay needs five fields of the
    one, and nothing of the other.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_head",
        "_ids",
        "_keep",
        "_limits",
        "_spool",
        "_started",
        "bytes_in",
        "bytes_out",
        "headers",
        "method",
        "raw_headers",
        "raw_path",
        "version",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        body: StreamReader,
        connection: Connection,
    ) -> None:
        self.method = message.method
        self.raw_path = message.path
        self.headers = message.headers
        self.raw_headers = message.raw_headers
        self.version = message.version
        self.bytes_in = 0
        self.bytes_out = 0
        self._body = body
        self._connection = connection
        self._keep = not message.should_close
        self._chunked = False
        self._started = False
        self._head: bytes | None = None
        self._ids = b""
        self._limits = BodyLimits(0)
        self._spool: Spool | None = None

    def __repr__(self) -> str:
        return f"<HttpClient in={self.bytes_in} out={self.bytes_out} started={self._started}>"

    def admit(self, ids: bytes, limits: BodyLimits) -> None:
        """Set what the server adds: header lines, the request's id first; and the body's bounds."""
        self._ids = ids
        self._limits = limits

    @property
    def request_id(self) -> str:
        """Under which the answer and the log know it; "" before the server has admitted it."""
        return self._ids.partition(b"\r\n")[0].rpartition(b" ")[2].decode()

    @property
    def peer(self) -> str:
        """The address at the other end of the socket, "" when it is gone."""
        transport = self._connection.transport
        name = transport.get_extra_info("peername") if transport is not None else None
        return str(name[0]) if name else ""

    @property
    def keeps(self) -> bool:
        """Whether the connection may serve another request after this one."""
        return self._keep

    def _cancel(self, exc: BaseException) -> None:
        # aiohttp's name for: whoever reads the body shall hear of this.
        self._body.set_exception(exc)

    # --- the request's body ---------------------------------------------------------------------

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            BadCall: 413 over the bound, 408 too slow, 400 broken off or badly encoded, 415 not
            JSON.
        """
        try:
            bodies.check_json(self.headers)
            bodies.check(self.headers, self._limits.max_body)
            content = self._body
            if not content.is_eof():
                return await self._read_slowly()
            body = content.read_nowait()
        except BadCall:
            self._keep = False  # what is left of the body must not be taken for the next request
            raise
        self.bytes_in = len(body)
        if self.bytes_in > self._limits.max_body:
            raise bodies.too_large(self._limits.max_body)
        return body

    @property
    def sends_form(self) -> bool:
        """Whether the body says that it is a multipart form."""
        return is_form(self.headers.get("Content-Type", ""))

    async def read_form(self, owner: int) -> Form:
        """The whole body, a multipart form. Its files are there until the request has ended.

        Arguments:
            owner: the account that has to do with its share of the room.

        Raises:
            BadCall: as `read_body`, and 400 or 413 for what is wrong with the form.
            NoUpstream: 503 where there is no room for it.
        """
        try:
            reader = FormReader(self.headers.get("Content-Type", ""))
            return reader.finish(await self._spooled(owner, reader.feed))
        except RelayError:
            self._keep = False
            raise

    async def read_spool(self, owner: int) -> Spool:
        """The whole body, of whatever kind. It is there until the request has ended. Raises as
        `read_form`."""
        try:
            return await self._spooled(owner, bodies.unread)
        except RelayError:
            self._keep = False
            raise

    def release(self) -> None:
        """The request has ended: nothing of its body is kept."""
        if self._spool is not None:
            self._spool.close()

    async def _read_slowly(self) -> bytes:
        pieces: list[bytes] = []
        await self._each(pieces.append, self._limits.max_body, self._limits.rate)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _spooled(self, owner: int, look: Callable[[bytes], None]) -> Spool:
        """The body kept, each piece of it looked at first."""
        limits = self._limits
        bodies.check(self.headers, limits.max_upload)
        assert limits.room is not None and self._spool is None
        self._spool = spool = Spool(limits.room, owner)

        def take(piece: bytes) -> Awaitable[None] | None:
            look(piece)
            return spool.append(piece)

        await self._each(take, limits.max_upload, UPLOAD_RATE)
        await spool.finish()
        return spool

    async def _each(self, take: Take, most: int, rate: int) -> None:
        """Hand over the pieces of the body as they come."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self._put([b"HTTP/1.1 100 Continue\r\n\r\n"])
        await bodies.take_in(self, self._body, take, most, (self._limits.timeout, rate))

    # --- the response ---------------------------------------------------------------------------

    @property
    def heard_at(self) -> float:
        """When its last bytes came, on the fine clock."""
        return self._connection.heard_at

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        return self._connection.transport is None

    @property
    def is_behind(self) -> bool:
        """Whether much of what was written, for requests before, waits for the client to read."""
        return self._connection.writing_paused

    def on_drain(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when the buffer has drained."""
        self._connection.drained = resume

    def close_after(self) -> None:
        """Do not keep the connection alive after this response."""
        self._keep = False

    def start(self, status: int, headers: RawHeaders, length: int | None) -> None:
        """Set the response head. It goes out with the first bytes of the body.

        Arguments:
            length: of the body, or None when it is not known.
        """
        self._started = True
        if length is None and self.version >= HttpVersion11:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        elif length is None:
            self._keep = False  # HTTP/1.0: the close is the end
            framing = b""
        else:
            framing = b"content-length: %d\r\n" % length
        self._head = self._render(status, headers, framing)

    def write(self, data: bytes) -> bool:
        """Send body bytes, with the head before them when it has not gone yet.

        Returns: whether more than the bound waits in the client's socket buffer now.
        """
        size = len(data)
        self.bytes_out += size
        connection = self._connection
        transport = connection.transport
        if transport is None:
            return False
        if self._head is None and self._chunked and size <= SMALL:
            transport.write(b"%x\r\n%b\r\n" % (size, data))
        else:
            send(transport, self._framed(data))
        return connection.writing_paused

    def _framed(self, data: bytes) -> list[bytes]:
        pieces = [b"%x\r\n" % len(data), data, b"\r\n"] if self._chunked and data else [data]
        if self._head is not None:
            pieces.insert(0, self._head)
            self._head = None
        return pieces

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes and end the response."""
        self.bytes_out += len(data)
        pieces = self._framed(data)
        if self._chunked:
            pieces.append(b"0\r\n\r\n")
        self._put([piece for piece in pieces if piece])

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send a whole response."""
        self._started = True
        self.bytes_out += len(body)
        framing = b"content-length: %d\r\n" % len(body) if status not in (204, 304) else b""
        head = self._render(status, headers, framing)
        self._put([head] if self.method == "HEAD" else [head, body])

    def switch(self, headers: RawHeaders) -> End:
        """Answer that the connection leaves HTTP (101), and give it away."""
        self._started = True
        self._keep = False
        lines = [b"HTTP/1.1 101 Switching Protocols\r\n", *(b"%b: %b\r\n" % h for h in headers)]
        self._put([b"".join([*lines, self._ids, b"\r\n"])])
        return self._connection.hand_over()

    def abort(self) -> None:
        """Cut the connection: the client must see that the response is not whole."""
        self._keep = False
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def _render(self, status: int, headers: RawHeaders, framing: bytes) -> bytes:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d -\r\n" % status]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        lines += [b"date: %b\r\n" % rfc822_formatted_time().encode(), self._ids, framing]
        if not self._keep:
            lines.append(b"connection: close\r\n")
        elif self.version < HttpVersion11:  # an HTTP/1.0 client asked for it, and wants to hear it
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _put(self, pieces: list[bytes]) -> None:
        if self._connection.transport is not None and pieces:
            send(self._connection.transport, pieces)
