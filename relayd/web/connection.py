"""A client's connection: aiohttp parses and keeps it alive, the loop over its requests is ours.

aiohttp makes a task, a request and a stream writer for every request, and takes two turns of the
event loop before anybody looks at it: 8 % of the time to first byte. `start` does what aiohttp's
does without them: take the next parsed message, serve it, linger if the body was not read, wait for
the next. It leans on that class's internals, so aiohttp is pinned to one minor version, and the
tests in tests/e2e cover each branch over real sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http_parser import RawRequestMessage

from relayd.ends import End
from relayd.lines import say
from relayd.web.client import HttpClient

HIGH_WATER = 256 * 1024  # bytes waiting for a client beyond which its upstream is not read
LOW_WATER = 64 * 1024
LINGER = 2.0  # seconds that a refused body is still read, so that the client gets to see the answer
CUT_PATIENCE = 100  # hundredths of a second that the last words to clients may take
TURNED_AWAY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Door(Protocol):
    """Who answers the requests of all connections."""

    async def handle(self, client: HttpClient) -> None:
        """Answer one request; CancelledError when the client leaves."""

    def bad_http(self, exc: BaseException | None) -> bytes:
        """A whole response to bytes that are no request."""


class Listener(web.Server):
    """aiohttp's low-level server, making our kind of connection.

    Arguments:
        door: answers the requests.
        idle_timeout: seconds until an unused connection is closed.
        header_timeout: seconds from the first byte of a request head to its end.
        max_header: bytes of the request line, and of one header.
        max_connections: more than these are turned away.
        write_timeout: seconds that a client may leave unread what was written for it.
    """

    def __init__(
        self,
        door: Door,
        *,
        idle_timeout: float = 75.0,
        header_timeout: float = 30.0,
        max_header: int = 16 * 1024,
        max_connections: int = 20_000,
        write_timeout: float = 120.0,
    ) -> None:
        super().__init__(
            cast(Any, door.handle),
            handler_cancellation=True,
            keepalive_timeout=idle_timeout,
            access_log=None,
            max_line_size=max_header,
            max_field_size=max_header,
        )
        self.door = door
        self.max_connections = max_connections
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._sweep_every = min(header_timeout, write_timeout) / 4
        self._sweeper = self._loop.call_later(self._sweep_every, self._sweep)

    def __call__(self) -> web.RequestHandler:
        return ClientConnection(self, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        """Close idle connections, and the others after their request."""
        self._sweeper.cancel()
        super().pre_shutdown()

    def unsent(self) -> int:
        """Bytes that clients have not taken yet."""
        return sum(connection.unsent for connection in self._ours())

    async def cut(self) -> None:
        """End what is still under way: handlers say so to their clients, then all is closed."""
        self._sweeper.cancel()
        for connection in self._ours():
            connection.cut()
        for _ in range(CUT_PATIENCE):
            await asyncio.sleep(0.01)
            if not self.unsent():
                break
        for connection in self._ours():
            connection.drop()
        await self.shutdown(0.1)

    def _ours(self) -> list[ClientConnection]:
        return [c for c in self.connections if isinstance(c, ClientConnection)]

    def _sweep(self) -> None:
        """Cut clients that began a request head and do not finish it, or do not read."""
        now = self._loop.time()
        for connection in self._ours():
            if 0 < connection.head_since <= now - self._header_timeout:
                connection.force_close()
            elif connection.unread_since(now) <= now - self._write_timeout:
                connection.drop()
        self._sweeper = self._loop.call_later(self._sweep_every, self._sweep)


class ClientConnection(web.RequestHandler):
    """One client's connection.

    Attributes:
        drained: called once, when the client has taken what waited for it.
        head_since: the loop's time when a request head began that has not ended, 0 without one.
        heard_at: when bytes came last, on the fine clock.
    """

    __slots__ = ("_door", "_unread", "_unread_since", "_wire", "drained", "head_since", "heard_at")

    def __init__(self, manager: Listener, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._door = manager.door
        self.drained: Callable[[], None] | None = None
        self.head_since = self.heard_at = 0.0
        # Our own reference: aiohttp drops its one when it closes, but closing waits for the client.
        self._wire: asyncio.Transport | None = None
        self._unread = 0
        self._unread_since = 0.0

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._wire.get_write_buffer_size() if self._wire is not None else 0

    def unread_since(self, now: float) -> float:
        """Since when the client takes nothing of what waits for it; `now` when it does, or may."""
        unsent = self.unsent
        if not unsent or unsent != self._unread or self._request_in_progress:
            self._unread, self._unread_since = unsent, now
        return self._unread_since

    def cut(self) -> None:
        """Break off the request under way; its handler still says so to the client."""
        if self._request_in_progress and self._task_handler is not None:
            self._task_handler.cancel()

    def drop(self) -> None:
        """Close now, whatever the client has not taken."""
        if self._wire is not None:
            self._wire.abort()

    def hand_over(self) -> End:
        """Give the transport away, for another protocol than HTTP, with what came already. Its loss
        is still told to us, and ends the request."""
        assert self._wire is not None
        early, self._message_tail = self._message_tail, b""
        return End(self._wire, self, early)

    # --- the loop over requests -----------------------------------------------------------------

    async def start(self) -> None:
        """Serve the requests of this connection, one after the other, until it closes."""
        while not self._force_close:
            message, body = await self._next()
            if not isinstance(message, RawRequestMessage):
                self._refuse(message.exc)
                break
            client = HttpClient(message, body, self)
            if not await self._serve(client):
                break
            if not body.is_eof() and not await self._linger(body):
                break
            if not client.keeps or self._is_ending():
                break
            self._wait_alive()
        self._task_handler = None
        if not self._force_close and self.transport is not None:
            self.transport.close()

    def _is_ending(self) -> bool:
        # A declined upgrade leaves aiohttp's parser in a state that is not worth repairing.
        return self._close or self._force_close or self._upgraded

    async def _next(self) -> tuple[Any, StreamReader]:
        if not self._messages:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:  # gone, or told to close while nothing was asked
                if self.transport is not None:
                    self.transport.close()
                raise
            finally:
                self._waiter = None
        message, body = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        return message, body

    async def _serve(self, client: HttpClient) -> bool:
        """Answer one request; returns whether the connection is still good."""
        self._request_in_progress = True
        self._current_request = cast(Any, client)
        try:
            await self._door.handle(client)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:
            words = "a request could not be handled"
            say(logging.ERROR, words, exc=True, request=client.request_id)
            self.force_close()
            return False
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        return True

    async def _linger(self, body: StreamReader) -> bool:
        """Read on for a moment: a client that still sends would not see why it was refused."""
        try:
            async with asyncio.timeout(LINGER):
                while not body.is_eof():
                    await body.readany()
        except (TimeoutError, web.RequestPayloadError):
            return False
        return True

    def _wait_alive(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )

    def _refuse(self, exc: BaseException | None) -> None:
        if self.transport is not None:
            self.transport.write(self._door.bad_http(exc))

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # uvloop's transports do not derive from asyncio's: a check would fail.
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        listener = cast(Listener, self._manager)
        if len(listener.connections) > listener.max_connections:
            self._wire.write(TURNED_AWAY)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: aiohttp cancels the handler."""
        self._wire = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; and tell a handler that waits for its body when the rest of it is not HTTP.

        aiohttp queues a broken chunk as the next request's error, which a reader never sees.
        """
        self.heard_at = monotonic()
        super().data_received(data)
        current = self._current_request
        if current is not None and self._messages:
            if not isinstance(self._messages[-1][0], RawRequestMessage):
                current._cancel(web.RequestPayloadError("broken body"))
        # Bytes that made no request: a head has begun, and has not ended yet.
        unfinished = bool(data) and current is None and not self._messages
        self.head_since = (self.head_since or self._loop.time()) if unfinished else 0.0

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume only what was paused: aiohttp calls this for every piece of every body."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it."""
        super().resume_writing()
        drained, self.drained = self.drained, None
        if drained is not None:
            drained()
