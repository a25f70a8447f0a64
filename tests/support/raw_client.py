"""A client that speaks HTTP/1.1 by hand, so that it can misbehave: send half, stop reading, hang
up.

It blocks, with a deadline on every read: the daemon runs in a thread of its own, and a test
reads from top to bottom as what the client does next.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson

PATIENCE = 30.0
READ = 64 * 1024


@dataclass(slots=True)
class Reply:
    """One response, decoded of its framing; `whole` is False when the connection ended before
    it did.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True
    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the server said that it closes the connection."""
        return self.headers.get("connection") == "close"


def request_bytes(
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    version: str = "1.1",
) -> bytes:
    """A request with a content-length, unless the headers say something about the length
    themselves.
    """
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", **(headers or {})}
    names = {name.lower() for name in lines}
    if not names & {"content-length", "transfer-encoding"} and (body or method == "POST"):
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A body in HTTP chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class RawClient:
    """One connection to the daemon. Owns its socket and the bytes read ahead."""

    def __init__(self, address: tuple[str, int], *, patience: float = PATIENCE) -> None:
        self._socket = socket.create_connection(address, timeout=patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._patience = patience
        self._ahead = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def try_send(self, data: bytes) -> bool:
        """Send bytes; False when the server has hung up already."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def post(self, path: str, document: object, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole JSON request."""
        self.send(request_bytes(path, orjson.dumps(document), headers))

    def read(self) -> bytes:
        """The next bytes; b"" at the end of the connection, a reset included."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        try:
            return self._socket.recv(READ)
        except ConnectionError:
            return b""

    def read_until(self, needle: bytes) -> bytes:
        """Everything up to and including `needle`; AssertionError when the connection ends
        before it.
        """
        found = b""
        deadline = time.monotonic() + self._patience
        while needle not in found:
            data = self.read()
            assert time.monotonic() < deadline, f"no {needle!r} in {found[-300:]!r}"
            assert data, f"the connection ended before {needle!r}: {found[-300:]!r}"
            found += data
        end = found.index(needle) + len(needle)
        self._ahead = found[end:]
        return found[:end]

    def read_exactly(self, size: int) -> bytes:
        """So many bytes; AssertionError when the connection ends before."""
        found = bytearray(self._ahead)
        self._ahead = b""
        while len(found) < size:
            data = self.read()
            assert data, f"the connection ended after {bytes(found[-300:])!r}"
            found += data
        self._ahead = bytes(found[size:])
        return bytes(found[:size])

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        found = []
        while data := self.read():
            found.append(data)
        return b"".join(found)

    def reply(self, *, bodiless: bool = False) -> Reply:
        """The next whole response; interim ones (100 Continue) are skipped."""
        status = 100
        while status < 200:
            head = self.read_until(b"\r\n\r\n").decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            assert first.startswith("HTTP/1.1 "), first
            status = int(first.split(" ")[1])
        pairs = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
        headers = dict(pairs)
        if bodiless or status in (204, 304):
            return Reply(status, headers, b"", True, pairs)
        body, whole = self._body(headers)
        return Reply(status, headers, body, whole, pairs)

    def _body(self, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        return self.read_all(), True

    def _exactly(self, length: int) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        missing = length
        while missing > 0:
            data = self.read()
            if not data:
                return b"".join(pieces), False
            pieces.append(data[:missing])
            self._ahead = data[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces), True

    def _chunks(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        while True:
            try:
                size = int(self.read_until(b"\r\n"), 16)
            except AssertionError:
                return b"".join(pieces), False
            piece, whole = self._exactly(size + 2)
            pieces.append(piece[:size])
            if not whole or size == 0:
                return b"".join(pieces), whole

    def ended(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return self.read() == b""

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def be_impatient(self, seconds: float) -> None:
        """Wait for every later read no longer than this."""
        self._socket.settimeout(seconds)

    def small_window(self) -> None:
        """Let the kernel take less before it is read, so that a test needs fewer bytes."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)

    def reset(self) -> None:
        """Hang up with a TCP RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
