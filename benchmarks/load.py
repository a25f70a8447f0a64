"""The load generator: many connections of raw protocol clients, counting, on uvloop.

`Streams` opens streams and counts the events that arrive on them. `Repeaters` sends the next
request as soon as the reply to the last is whole; it stands in for wrk where that is not
installed. Both do as little as they can per read, because the mock upstream shares their core.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from benchmarks.asking import EVENT
from benchmarks.servers import Server

OPENING = 100  # connections opened at once
OPEN_TIMEOUT = 30.0
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class LoadFailed(Exception):
    """The server did not do what the load expects of it."""


class Streams:
    """Streams that are open at one time. Owns their connections and the counts."""

    def __init__(self, server: Server, request: bytes) -> None:
        self.events = 0
        self.started = 0
        self.ended = 0
        self.refused = b""
        self._server = server
        self._request = request
        self._open: list[_Stream] = []

    async def open(self, number: int) -> None:
        """Open so many, and wait until each has its first bytes. Raises LoadFailed."""
        loop = asyncio.get_running_loop()
        for _ in range(0, number, OPENING):
            step = min(OPENING, number - len(self._open))
            made = await asyncio.gather(
                *(
                    loop.create_connection(
                        lambda: _Stream(self, self._request), "127.0.0.1", self._server.port
                    )
                    for _ in range(step)
                )
            )
            self._open += [protocol for _, protocol in made]
        deadline = time.monotonic() + OPEN_TIMEOUT
        while self.started < number:
            if self.refused or time.monotonic() > deadline:
                raise LoadFailed(
                    f"{self.started} of {number} streams began at {self._server.name}: "
                    f"{self.refused[:300]!r}"
                )
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Leave all of them."""
        for stream in self._open:
            stream.leave()
        await asyncio.sleep(0.2)


class _Stream(asyncio.Protocol):
    """One stream's client."""

    __slots__ = ("_begun", "_request", "_streams", "_transport")

    def __init__(self, streams: Streams, request: bytes) -> None:
        self._streams = streams
        self._request = request
        self._begun = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class
        self._transport.write(self._request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        self._streams.events += data.count(EVENT)
        if not self._begun:
            self._begun = True
            self._streams.started += 1
            if not data.startswith(b"HTTP/1.1 200"):
                self._streams.refused = data

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._streams.ended += 1

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Repeaters:
    """Connections that each send the same request again and again. Owns the counts."""

    def __init__(self, server: Server, request: bytes) -> None:
        self.replies = 0
        self.failures = 0
        self.stopped = False
        self.request = request
        self._server = server

    async def run(self, connections: int, seconds: float) -> float:
        """Replies per second. Raises LoadFailed when any reply was not a 200."""
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: _Repeater(self), "127.0.0.1", self._server.port)
            for _ in range(connections)
        ]
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - started
        self.stopped = True
        for transport, _ in made:
            transport.abort()
        if self.failures:
            raise LoadFailed(f"{self.failures} replies of {self._server.name} were not a 200")
        return self.replies / took


class _Repeater(asyncio.Protocol):
    """One connection: a request, its reply, the next request."""

    __slots__ = ("_missing", "_repeaters", "_send")

    def __init__(self, repeaters: Repeaters) -> None:
        self._repeaters = repeaters
        self._missing = 0
        self._send: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._send = transport.write  # type: ignore[attr-defined]
        self._send(self._repeaters.request)

    def data_received(self, data: bytes) -> None:
        repeaters = self._repeaters
        if not self._missing:
            found = _LENGTH.search(data)
            whole = data.find(b"\r\n\r\n") + 4
            if found is None or not data.startswith(b"HTTP/1.1 200"):
                repeaters.failures += 1
                return
            self._missing = whole + int(found[1])
        self._missing -= len(data)
        if not self._missing:
            repeaters.replies += 1
            if not repeaters.stopped:
                self._send(repeaters.request)
