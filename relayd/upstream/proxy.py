"""A socket to an upstream by way of a proxy: HTTP's CONNECT, or SOCKS5.

Strategy: the proxy is told the upstream's name and resolves it, so that nothing of the upstream has
to be known here. TLS goes on top of the socket, so that a proxy sees no more than the name. SOCKS5
is python-socks'. CONNECT is spelled out: that library reads once, and of a reply's head that comes
in two packets the rest would stand before the upstream's first byte.

Whatever fails is a ConnectFailed in our own words: never the proxy's, which may say anything to our
clients, and never with an address or a credential in it. The library's exceptions hold both, so
none is shown as the cause.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import re
import socket
from collections.abc import Awaitable, Callable, Mapping

from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy as Socks

from relayd.errors import ConnectFailed
from relayd.model import Proxy

MAX_HEAD = 16 * 1024
_READ = 4096
_NEVER = 86400.0  # seconds: the caller bounds the time, the library wants a bound of its own
_STATUS = re.compile(rb"HTTP/1\.\d (\d{3})\b")
_LONGEST = 255  # bytes of a name or password: SOCKS5 counts them in one byte
_GARBAGE = "The proxy's answer is not understood."
_UNAUTHENTICATED = "The proxy refused relayd's user name and password, or asks for them."
# RFC 1928, 6: what a SOCKS5 proxy says of the upstream.
_SOCKS_REPLIES: Mapping[int, str] = {
    1: "general failure",
    2: "its rules forbid it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "no answer in time",
    7: "it does not connect at all",
    8: "it does not take such addresses",
}


async def connect(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A connected socket whose other end is the upstream. The caller bounds the time.

    Raises:
        ConnectFailed: the proxy cannot be reached, refuses, or is not understood.
    """
    try:
        return await _WAYS[proxy.scheme](proxy, host, port)
    except OSError as exc:
        raise ConnectFailed(f"The proxy cannot be reached: {reason_of(exc)}.") from None


def reason_of(exc: OSError) -> str:
    """Why a network call failed, in words that hold no address."""
    number = exc.errno or 0
    if isinstance(exc, socket.gaierror) or number < 0:
        return "its name cannot be resolved"
    if number == errno.ECONNREFUSED:
        return "connection refused"
    return os.strerror(number) if number else "network error"


# --- SOCKS5 ---------------------------------------------------------------------------------------


async def _by_socks(proxy: Proxy, host: str, port: int) -> socket.socket:
    username, password = proxy.username, proxy.password.reveal()
    if not all(text.isascii() and len(text) <= _LONGEST for text in (username, password)):
        raise ConnectFailed(
            "The proxy's user name or password has characters that cannot be sent, or too many."
        )
    socks = Socks(
        ProxyType.SOCKS5, proxy.host, proxy.port, username or None, password or None, rdns=True
    )
    try:
        return await socks.connect(host, port, timeout=_NEVER)
    except ProxyError as exc:
        raise ConnectFailed(_worded(exc)) from None
    except (ValueError, AssertionError):  # a reply that the library cannot take apart
        raise ConnectFailed(_GARBAGE) from None


def _worded(exc: ProxyError) -> str:
    if exc.error_code is not None:
        reason = _SOCKS_REPLIES.get(exc.error_code, "unknown reason")
        return f"The proxy cannot reach the upstream: {reason}."
    # The library has no other sign of it than its text; where that changes, the rest is still true.
    return _UNAUTHENTICATED if "authentication" in str(exc) else _GARBAGE


# --- HTTP -----------------------------------------------------------------------------------------


async def _by_connect(proxy: Proxy, host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = await _dial(loop, proxy)
    try:
        await loop.sock_sendall(sock, _request(proxy, host, port))
        status = await _read_status(loop, sock)
        if status == 407:
            raise ConnectFailed(_UNAUTHENTICATED)
        if not 200 <= status < 300:
            raise ConnectFailed(f"The proxy refuses to connect: status {status}.")
    except BaseException:
        sock.close()
        raise
    return sock


async def _dial(loop: asyncio.AbstractEventLoop, proxy: Proxy) -> socket.socket:
    found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    problem = OSError("no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as exc:
            sock.close()
            problem = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem


def _request(proxy: Proxy, host: str, port: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    where = b"%b:%d" % (name.encode("ascii" if name.isascii() else "idna"), port)
    lines = [b"CONNECT %b HTTP/1.1" % where, b"host: " + where, b"user-agent: relayd"]
    if proxy.username:
        credentials = f"{proxy.username}:{proxy.password.reveal()}".encode()
        lines.append(b"proxy-authorization: Basic " + base64.b64encode(credentials))
    return b"\r\n".join([*lines, b"", b""])


async def _read_status(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> int:
    """The status of the reply, its head taken from the socket to the last byte and no further."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await loop.sock_recv(sock, _READ)
        head += data
        # Without this, whoever speaks another protocol would be waited for to the end of the time.
        if not data or len(head) > MAX_HEAD or not head.startswith(b"HTTP/1."[: len(head)]):
            raise ConnectFailed(_GARBAGE)
    found = _STATUS.match(head)
    # An upstream never speaks first: what follows the head is no reply of its.
    if found is None or (found[1][:1] == b"2" and not head.endswith(b"\r\n\r\n")):
        raise ConnectFailed(_GARBAGE)
    return int(found[1])


_WAYS: Mapping[str, Callable[[Proxy, str, int], Awaitable[socket.socket]]] = {
    "http": _by_connect,
    "socks5": _by_socks,
}
