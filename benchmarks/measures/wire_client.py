"""One blocking connection that asks and times, with nothing between it and the socket."""

from __future__ import annotations

import re
import socket
import time
from typing import NamedTuple

from benchmarks.asking import END_OF_CHUNKS
from benchmarks.load import LoadFailed
from benchmarks.servers import Server

READ = 256 * 1024
TIMEOUT = 30.0
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Timing(NamedTuple):
    """Seconds from the request's first byte sent to the reply's first byte and to its last."""

    first: float
    last: float


class WireClient:
    """A kept-alive connection to one server. Owns its socket."""

    def __init__(self, server: Server) -> None:
        self._name = server.name
        self._socket = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> Timing:
        """Send, and read the whole reply. Raises LoadFailed when it is not a 200."""
        started = time.perf_counter()
        self._socket.sendall(request)
        data = self._socket.recv(READ)
        first = time.perf_counter()
        if not data.startswith(b"HTTP/1.1 200"):
            raise LoadFailed(f"{self._name} answered {data[:300]!r}")
        self._read_rest(data)
        return Timing(first - started, time.perf_counter() - started)

    def _read_rest(self, data: bytes) -> None:
        found = _LENGTH.search(data)
        if found is not None:
            missing = data.find(b"\r\n\r\n") + 4 + int(found[1]) - len(data)
            while missing > 0:
                missing -= len(self._read())
        else:
            while not data.endswith(END_OF_CHUNKS):
                data = data[-len(END_OF_CHUNKS) :] + self._read()

    def _read(self) -> bytes:
        data = self._socket.recv(READ)
        if not data:
            raise LoadFailed(f"{self._name} closed in the middle of a reply")
        return data
