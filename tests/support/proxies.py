"""Proxies on loopback that do as they are told: connect, refuse, hang, talk nonsense.

A `FakeProxy` speaks CONNECT or SOCKS5 in threads, with or without credentials. It resolves names by
a table of its own, so that a test can tell who looked a name up. Manners are a table: what happens
once the proxy knows where to connect.
"""

from __future__ import annotations

import base64
import select
import socket
import struct
from collections.abc import Callable, Mapping

from tests.support.listening import Listening
from tests.support.scripted_upstream import PATIENCE

READ = 64 * 1024

Where = tuple[str, int]

HTTP_OK = b"HTTP/1.1 200 Connection established\r\nproxy-agent: fake\r\n\r\n"
BOUND = b"\x01\x7f\x00\x00\x01\x00\x50"  # what a SOCKS reply ends in: its own address


class FakeProxy(Listening):
    """A proxy.

    Arguments:
        scheme: "http" or "socks5".
        credentials: "user:password" that it wants, or "" for none.
        manner: one of `MANNERS`, or raw bytes that answer whatever it is asked first.
        names: where its names lead; a name that is not here is an address.
    """

    def __init__(
        self,
        scheme: str = "http",
        *,
        credentials: str = "",
        manner: str | bytes = "connect",
        names: Mapping[str, Where] | None = None,
    ) -> None:
        self.scheme = scheme
        self.asked: list[Where] = []
        self.carried = b""
        self._credentials = credentials
        self._manner = manner
        self._names = dict(names or {})
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        try:
            if isinstance(self._manner, bytes):
                client.recv(READ)
                client.sendall(self._manner)
                return
            where = (self._read_socks if self.scheme == "socks5" else self._read_http)(client)
            if where is not None:
                self.asked.append(where)
                MANNERS[self._manner](self, client, where)
        finally:
            if self._manner != "hang":
                client.shutdown(socket.SHUT_RDWR)

    # --- what it is asked -----------------------------------------------------------------------

    def _read_http(self, client: socket.socket) -> Where | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _some(client)
        first, *lines = head.decode().split("\r\n")
        verb, where, _ = first.split(" ")
        assert verb == "CONNECT"
        wanted = base64.b64encode(self._credentials.encode()).decode()
        if self._credentials and f"proxy-authorization: Basic {wanted}" not in lines:
            client.sendall(
                b"HTTP/1.1 407 who is swordfish?\r\nproxy-authenticate: Basic\r\n"
                b"content-length: 0\r\n\r\n"
            )
            return None
        host, _, port = where.rpartition(":")
        assert ":" not in host or (host[0], host[-1]) == ("[", "]")
        return host.strip("[]"), int(port)

    def _read_socks(self, client: socket.socket) -> Where | None:
        _, count = _exactly(client, 2)
        methods = _exactly(client, count)
        if self._credentials and not self._check_socks(client, methods):
            return None
        if not self._credentials:
            client.sendall(b"\x05\x00")
        _, _, _, kind = _exactly(client, 4)
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, _exactly(client, size))
        (port,) = struct.unpack(">H", _exactly(client, 2))
        return host, port

    def _check_socks(self, client: socket.socket, methods: bytes) -> bool:
        if 2 not in methods:
            client.sendall(b"\x05\xff")
            return False
        client.sendall(b"\x05\x02")
        name = _exactly(client, _exactly(client, 2)[1])
        password = _exactly(client, _exactly(client, 1)[0])
        good = name + b":" + password == self._credentials.encode()
        client.sendall(b"\x01\x00" if good else b"\x01\x01")
        return good

    # --- what it does then ----------------------------------------------------------------------

    def connect(self, client: socket.socket, where: Where) -> None:
        """Carry bytes both ways."""
        with socket.create_connection(self._names.get(where[0], where), PATIENCE) as upstream:
            client.sendall(b"\x05\x00\x00" + BOUND if self.scheme == "socks5" else HTTP_OK)
            self._carry(client, upstream)

    def dawdle(self, client: socket.socket, where: Where) -> None:
        """The reply's head in two packets, the second one late."""
        with socket.create_connection(self._names.get(where[0], where), PATIENCE) as upstream:
            client.sendall(HTTP_OK[:20])
            select.select([client], [], [], 0.05)
            client.sendall(HTTP_OK[20:])
            self._carry(client, upstream)

    def refuse(self, client: socket.socket, where: Where) -> None:
        """The upstream cannot be reached from here."""
        refusal = b"HTTP/1.1 502 swordfish knows no such host\r\ncontent-length: 0\r\n\r\n"
        client.sendall(b"\x05\x04\x00" + BOUND if self.scheme == "socks5" else refusal)

    def hang(self, client: socket.socket, where: Where) -> None:
        """Never a word."""

    def leave(self, client: socket.socket, where: Where) -> None:
        """Hang up without one."""

    def _carry(self, client: socket.socket, upstream: socket.socket) -> None:
        ends = {client: upstream, upstream: client}
        while True:
            for one in select.select(list(ends), [], [])[0]:
                data = _some(one)
                if one is client:
                    self.carried += data
                ends[one].sendall(data)


MANNERS: Mapping[str, Callable[[FakeProxy, socket.socket, Where], None]] = {
    "connect": FakeProxy.connect,
    "dawdle": FakeProxy.dawdle,
    "refuse": FakeProxy.refuse,
    "hang": FakeProxy.hang,
    "leave": FakeProxy.leave,
}


def _some(one: socket.socket) -> bytes:
    data = one.recv(READ)
    if not data:
        raise EOFError
    return data


def _exactly(one: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = one.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
