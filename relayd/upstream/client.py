"""A pool of kept-alive connections to one upstream origin, direct or through a proxy.

Strategy: the newest idle connection is used first, so that a quiet pool shrinks by itself; a
sweeper closes what has been idle for `idle_timeout`. Addresses are resolved by us, remembered for a
minute, tried in turn, and looked up again as soon as none of them can be reached; behind a proxy,
the name is the proxy's to resolve. Foreign exceptions (sockets, TLS, DNS) become ours in this file,
those of a proxy in `proxy`.

Owned state: the idle stack, the set of all connections, the address cache. All of it changes only
on the event loop, between awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from relayd.errors import ConnectFailed, NoUpstream
from relayd.model import Proxy
from relayd.upstream import proxy as proxies
from relayd.upstream.connection import Connection
from relayd.upstream.sink import ReplySink
from relayd.upstream.upload import Upload

ADDRESS_TTL = 60.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a connection can be shared for."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one pool: connections, and seconds to connect and to stay idle."""

    max_connections: int = 1000
    connect_timeout: float = 10.0
    idle_timeout: float = 50.0


class UpstreamClient:
    """Connections to one origin.

    Arguments:
        origin: where to connect.
        limits: bounds.
        ca_file: a PEM file with the only authorities to trust, instead of the system's. One that is
            renewed counts from the next connection on.
        proxy: what to connect through, or None for straight away.
    """

    def __init__(
        self,
        origin: Origin,
        limits: PoolLimits,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.origin = origin
        self._limits = limits
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._ca_file = ca_file
        self._tls = tls_context(ca_file) if origin.tls else None
        # State: idle connections (newest last), all connections, addresses and when they were
        # found.
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._connecting = 0
        self.opened = self.reused = 0  # connections made, requests on one that was there
        self._addresses: list[str] = []
        self._resolved_at = float("-inf")
        self._sweeper: asyncio.TimerHandle | None = None
        self._retired = False
        self._closed = False
        # When the certificate that was shown last expires, in Unix seconds.
        self.certificate_until: float | None = None

    def __repr__(self) -> str:
        through = f" proxy={self._proxy}" if self._proxy is not None else ""
        return (
            f"<UpstreamClient {self.origin}{through} open={len(self._all)} idle={len(self._idle)}"
            f" connecting={self._connecting}>"
        )

    @property
    def open_connections(self) -> int:
        """Connections in being, idle ones included."""
        return len(self._all)

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    def reuse(
        self,
        pieces: Sequence[bytes | memoryview],
        sink: ReplySink,
        upload: Upload | None = None,
    ) -> Connection | None:
        """Send a request on an idle connection, if there is one; the reply goes to `sink`. An
        upload follows the pieces."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                self.reused += 1
                connection.send(pieces, sink, upload)
                return connection
        return None

    async def open(
        self,
        pieces: Sequence[bytes | memoryview],
        sink: ReplySink,
        connect_timeout: float | None = None,
        upload: Upload | None = None,
    ) -> Connection:
        """Send a request on a new connection; the reply goes to `sink`.

        Arguments:
            connect_timeout: seconds to connect, where they are not those of the pool.
            upload: follows the pieces.
        Raises:
            ConnectFailed: no address could be reached; nothing was sent.
            NoUpstream: the pool is at its bound.
        """
        if connect_timeout is None:
            connect_timeout = self._limits.connect_timeout
        connection = await self._connect(connect_timeout)
        self.opened += 1
        connection.send(pieces, sink, upload)
        return connection

    async def lend(self, connect_timeout: float) -> Connection:
        """A new connection for another protocol than HTTP: no request is sent on it, and it comes
        back to no pool. Raises as `open` does."""
        connection = await self._connect(connect_timeout)
        self.opened += 1
        return connection

    def retire(self) -> None:
        """Keep nothing any more: connections close as their replies end."""
        self._retired = True
        for connection in self._idle:
            connection.abort()

    async def close(self) -> None:
        """Close every connection, busy ones too."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._all):
            connection.abort()
        await asyncio.sleep(0)

    # --- connecting -----------------------------------------------------------------------------

    async def _connect(self, within: float) -> Connection:
        if len(self._all) + self._connecting >= self._limits.max_connections:
            raise NoUpstream("All connections to the upstream are in use.", retry_after=1)
        self._connecting += 1
        try:
            async with asyncio.timeout(within):
                if self._proxy is not None:
                    return await self._connect_through(self._proxy)
                return await self._connect_any(within)
        except TimeoutError:
            self._forget_addresses()
            to = "through the proxy" if self._proxy is not None else "to the upstream"
            raise ConnectFailed(f"Connecting {to} took too long.", status=504) from None
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "handshake failed"
            raise ConnectFailed(f"TLS to the upstream failed: {reason}.") from None
        except OSError as exc:
            self._forget_addresses()
            raise ConnectFailed(
                f"The upstream cannot be reached: {proxies.reason_of(exc)}."
            ) from None
        finally:
            self._connecting -= 1

    async def _connect_through(self, proxy: Proxy) -> Connection:
        sock = await proxies.connect(proxy, self.origin.host, self.origin.port)
        return await self._connect_by(sock=sock)

    async def _connect_any(self, within: float) -> Connection:
        remembered = bool(self._addresses) and self._loop.time() < self._resolved_at + ADDRESS_TTL
        try:
            return await self._connect_each(await self._lookup(), within)
        except ssl.SSLError:
            raise
        except OSError:
            if not remembered:
                raise
            # The remembered addresses may be yesterday's: look them up again, once.
            self._forget_addresses()
            return await self._connect_each(await self._lookup(), within)

    async def _connect_each(self, addresses: Sequence[str], within: float) -> Connection:
        """Try each address in turn, none longer than its share of the time, the good one first."""
        problem: OSError = OSError("no address")
        share = within / max(len(addresses), 1)
        for address in list(addresses):
            try:
                async with asyncio.timeout(share):
                    connection = await self._connect_by(host=address, port=self.origin.port)
            except ssl.SSLError:
                raise
            except OSError as exc:  # TimeoutError is one, too
                problem = exc
            else:
                self._addresses.sort(key=partial(operator.ne, address))
                return connection
        raise problem

    async def _connect_by(self, **where: Any) -> Connection:
        """Connect to an address, or on a socket that a proxy has connected."""
        self._look_at_certificates()
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._keep, self._drop),
            **where,
            ssl=self._tls,
            server_hostname=self.origin.host if self._tls else None,
        )
        assert connection.transport is not None
        if self._closed:
            connection.abort()
            raise OSError("shutting down")
        sock = connection.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._all.add(connection)
        shown = connection.transport.get_extra_info("peercert")
        if shown and "notAfter" in shown:
            self.certificate_until = ssl.cert_time_to_seconds(shown["notAfter"])
        return connection

    def _look_at_certificates(self) -> None:
        if self._tls is not None and self._ca_file is not None:
            # Where it is just being replaced, what was last read from it still counts.
            with contextlib.suppress(OSError):
                self._tls = tls_context(self._ca_file)

    async def _lookup(self) -> list[str]:
        now = self._loop.time()
        if not self._addresses or now >= self._resolved_at + ADDRESS_TTL:
            found = await self._loop.getaddrinfo(
                self.origin.host, self.origin.port, type=socket.SOCK_STREAM
            )
            self._addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
            self._resolved_at = now
        return self._addresses

    def _forget_addresses(self) -> None:
        self._addresses = []

    # --- what connections report ----------------------------------------------------------------

    def _keep(self, connection: Connection) -> None:
        if self._closed or self._retired:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.idle_timeout, self._sweep)

    def _drop(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest_kept = self._loop.time() - self._limits.idle_timeout
        expired = [c for c in self._idle if c.idle_since <= oldest_kept]
        self._idle = [c for c in self._idle if c.idle_since > oldest_kept]
        for connection in expired:
            connection.abort()
        if self._idle:
            wait = self._idle[0].idle_since + self._limits.idle_timeout - self._loop.time()
            self._sweeper = self._loop.call_later(max(wait, 0.01), self._sweep)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """What checks certificates: the system's authorities, or those of a file as it is now.

    Raises OSError for a file that cannot be read, or holds no certificates.
    """
    if ca_file is None:
        return _context(None, ())
    state = os.stat(ca_file)
    return _context(ca_file, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=64)
def _context(ca_file: str | None, version: tuple[int, ...]) -> ssl.SSLContext:
    """Costly to make, so each version of a file is read once."""
    return ssl.create_default_context(cafile=ca_file)
