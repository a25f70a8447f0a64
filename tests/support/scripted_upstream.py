"""An upstream whose every byte the test decides.

`ScriptedUpstream` listens; `accept` gives the next connection of the relay as a `Peer`, and the
test goes on in the same line of thought: read the request, answer half of it, reset.
`answer_with` lets a thread answer instead, for tests that only look at the client's side.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

PATIENCE = 20.0
READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that reached the upstream."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._ahead = b""

    def read_request(self) -> Asked:
        """The next whole request; EOFError when the relay hung up before it was whole."""
        self.read_head()
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._ahead) < length:
            self._read_more()
        body, self._ahead = self._ahead[:length], self._ahead[length:]
        return Asked(method, path, headers, body)

    def read_head(self) -> None:
        """Wait for the head of the next request, and take nothing yet."""
        while b"\r\n\r\n" not in self._ahead:
            self._read_more()

    def _read_more(self) -> None:
        data = self._socket.recv(READ)
        if not data:
            raise EOFError
        self._ahead += data

    def read_exactly(self, size: int) -> bytes:
        """So many bytes, of whatever protocol; EOFError when the relay hung up before."""
        found = bytearray(self._ahead)
        while len(found) < size:
            self._ahead = b""
            self._read_more()
            found += self._ahead
        self._ahead = bytes(found[size:])
        return bytes(found[:size])

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send_until_blocked(self, data: bytes, within: float) -> int:
        """Send `data` again and again until the relay takes no more for `within` seconds.

        Returns: how many bytes were taken.
        """
        sent = 0
        self._socket.setblocking(False)
        view = memoryview(data)
        while select.select([], [self._socket], [], within)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += self._socket.send(view[sent % len(data) :])
        self._socket.settimeout(PATIENCE)
        return sent

    def hung_up(self, within: float = PATIENCE) -> bool:
        """Whether the relay closes this connection in time."""
        self._socket.settimeout(within)
        try:
            while self._socket.recv(READ):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def reset(self) -> None:
        """Hang up with a TCP RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class ScriptedUpstream:
    """A listening socket, and every connection made to it. Close it at the end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(PATIENCE)
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def accept(self) -> Peer:
        """The relay's next connection."""
        connection, _ = self._listener.accept()
        peer = Peer(connection)
        self._peers.append(peer)
        return peer

    def called_again(self, within: float) -> bool:
        """Whether another connection comes in within so many seconds; it is not accepted."""
        return bool(select.select([self._listener], [], [], within)[0])

    def answer_with(self, *replies: bytes, then: Callable[[Peer], None] | None = None) -> None:
        """In the background: accept one connection, give one reply to each request on it, then
        close.

        Arguments:
            then: what to do at the end instead of closing.
        """
        self._spawn(lambda: self._answer(replies, then))

    def _answer(self, replies: Iterable[bytes], then: Callable[[Peer], None] | None) -> None:
        peer = self.accept()
        for reply in replies:
            peer.read_request()
            peer.send(reply)
        (then or Peer.close)(peer)

    def _spawn(self, work: Callable[[], None]) -> None:
        def quietly() -> None:
            # The relay may hang up first: what it did is asserted on its own side.
            with contextlib.suppress(OSError, EOFError):
                work()

        thread = threading.Thread(target=quietly, daemon=True)
        thread.start()
        self._threads.append(thread)

    def hang_up(self) -> None:
        """Close every connection, and wait for what runs in the background."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the upstream still waits for a request"
        self._threads.clear()
        for peer in self._peers:
            peer.close()
        self._peers.clear()

    def close(self) -> None:
        """Stop listening."""
        self.hang_up()
        self._listener.close()


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole JSON response with a content-length."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def stream_head(*headers: str) -> bytes:
    """The head of an event stream in HTTP chunks."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", *headers]
    return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def dead_port() -> tuple[socket.socket, int]:
    """A port that refuses connections for as long as the socket is kept."""
    kept = socket.socket()
    kept.bind(("127.0.0.1", 0))
    return kept, int(kept.getsockname()[1])
