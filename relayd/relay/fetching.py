"""Pictures that a client names by their URL, fetched for an upstream that takes bytes only.

Off unless the operator says otherwise, because a client that may name a URL could make the relay
ask whatever the relay can reach. So nothing is asked but https, at its own port, at addresses that
are public: every address that a name has must be, and the connection goes to the very address that
was looked at, never through a second lookup, which could answer otherwise. A redirect is a new URL
and is looked at like the first. An address that turns out to be this machine's own is left before a
byte is sent. What comes counts by its first bytes, whatever its server calls it.

Bounds: pictures, bytes, seconds and redirects of one request; fetches at one time, and of them an
account's share, so that nobody's silent servers keep the others waiting. A picture counts as often
as it is named, because that often it is sent. Whatever fails is a refusal that names the part of
the request, and says nothing of our network: that a name is unknown and that it is not public are
told in the same words.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from relayd.errors import UpstreamError
from relayd.tasks import child
from relayd.upstream.client import tls_context
from relayd.upstream.connection import Connection
from relayd.upstream.sink import RawHeaders
from relayd.wire.losses import CannotTranslate
from relayd.wire.media import Inline, sniffed
from relayd.wire.neutral import Request
from relayd.wire.parts import Image
from relayd.wire.places import PORT, NotFetched, Place, is_address, is_public, joined, place_of
from relayd.wire.setting import Fetching

AT_ONCE: Final = 32  # fetches of the whole process
SHARE: Final = 8  # of them, for one account
LOOKUPS: Final = 4  # of an account's; each has a thread until it ends, however long that takes
MOST_ADDRESSES: Final = 4  # of one name that are tried
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_PUBLIC: Final = "its host has no public address"

_RESOLVERS: Final = ThreadPoolExecutor(4 * LOOKUPS, "pictures")

Resolve = Callable[[str, int], Coroutine[Any, Any, Sequence[str]]]
Dial = Callable[[str, int], Awaitable[socket.socket]]


# --- the network ----------------------------------------------------------------------------------


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name. Raises OSError.

    In threads of its own: names that a client chose may take for ever, and must not keep those
    waiting who look for an upstream.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, ask)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


async def dial(address: str, port: int) -> socket.socket:
    """A socket that is connected to an address, which is not looked up. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


class _Share:
    """What one account may do at one time. Owns its lookups."""

    def __init__(self) -> None:
        self.fetches = asyncio.Semaphore(SHARE)
        self._lookups = asyncio.Semaphore(LOOKUPS)
        self._running: set[asyncio.Task[Sequence[str]]] = set()

    async def look_up(self, resolve: Resolve, host: str) -> Sequence[str]:
        """All addresses of a host. Raises OSError.

        A lookup cannot be broken off: it counts until it has ended, whoever waits for it.
        """
        await self._lookups.acquire()
        lookup = child(resolve(host, PORT))
        self._running.add(lookup)
        lookup.add_done_callback(self._looked_up)
        return await asyncio.shield(lookup)

    def _looked_up(self, lookup: asyncio.Task[Sequence[str]]) -> None:
        self._running.discard(lookup)
        self._lookups.release()


class _Allowance:
    """What the pictures of one request may still have: bytes, and their account's share."""

    __slots__ = ("left", "share")

    def __init__(self, left: int, share: _Share) -> None:
        self.left = left
        self.share = share

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise NotFetched("it is too large")


class _Reply:
    """The sink of one reply. Owns its pieces, and the future that its end resolves.

    Arguments:
        allowance: that of the request.
        stop: told when nothing more is wanted, in the middle of what was read: unpacking all of
            that could take a second.
    """

    __slots__ = ("_allowance", "_stop", "done", "location", "pieces")

    def __init__(self, allowance: _Allowance, stop: Callable[[], None]) -> None:
        self._allowance = allowance
        self._stop = stop
        self.location = ""
        self.pieces: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: RawHeaders) -> None:
        said = dict(headers)
        length = said.get(b"content-length", b"")
        if status in REDIRECTS and b"location" in said:
            self.location = said[b"location"].decode("utf-8", "replace")
            self._end()
        elif status != 200:
            self._end(NotFetched(f"its server answers with status {status}"))
        elif length.isdigit() and int(length) > self._allowance.left:
            self._end(NotFetched("it is too large"))

    def on_body(self, data: bytes) -> None:
        if self.done.done():
            return
        try:
            self._allowance.take(len(data))
        except NotFetched as exc:
            self._end(exc)
        else:
            self.pieces.append(data)

    def on_end(self) -> None:
        self._end()

    def on_error(self, exc: UpstreamError) -> None:
        self._end(NotFetched("its server's answer is damaged"))

    def _end(self, problem: NotFetched | None = None) -> None:
        if self.done.done():
            return
        self._stop()
        if problem is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(problem)


# --- fetching -------------------------------------------------------------------------------------


class Fetcher:
    """Fetches pictures. Owns the semaphores that bound how many at one time.

    Arguments:
        resolve: the addresses of a name.
        dial: a connection to an address.
        tls: what checks certificates.
    """

    __slots__ = ("_dial", "_resolve", "_shares", "_slots", "_tls")

    def __init__(
        self,
        *,
        resolve: Resolve = resolve,
        dial: Dial = dial,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolve = resolve
        self._dial = dial
        self._tls = tls
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._shares: WeakValueDictionary[int, _Share] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<Fetcher {self._slots!r}>"

    async def inline(self, request: Request, rules: Fetching, account: int = 0) -> None:
        """Put the bytes of all pictures of a request in the place of their URLs.

        Arguments:
            account: whose share of the fetches it is.
        Raises CannotTranslate, naming the part: another upstream may take the URL as it is.
        """
        named = remote_images(request)
        if len(named) > rules.most:
            raise _refused(named[0], "the request names too many")
        wanted: dict[str, list[Image]] = {}
        for image in named:
            wanted.setdefault(image.url, []).append(image)
        allowance = _Allowance(rules.largest, self._share(account))
        fetches = (self._one(url, rules, allowance) for url in wanted)
        # All are waited for, so that the same request is always refused for the same picture.
        found = await asyncio.gather(*fetches, return_exceptions=True)
        for images, result in zip(wanted.values(), found, strict=True):
            if isinstance(result, NotFetched):
                raise _refused(images[0], str(result))
            if isinstance(result, BaseException):
                raise result
            _put(result, images, allowance)

    def _share(self, account: int) -> _Share:
        share = self._shares.get(account)
        if share is None:
            share = self._shares[account] = _Share()
        return share

    async def _one(self, url: str, rules: Fetching, allowance: _Allowance) -> Inline:
        try:
            # The seconds are its server's: those in the queue are not.
            async with allowance.share.fetches, self._slots, asyncio.timeout(rules.timeout):
                for _ in range(rules.redirects + 1):
                    reply = await self._asked(place_of(url), allowance)
                    if not reply.location:
                        return _picture(b"".join(reply.pieces))
                    url = joined(url, reply.location)
        except TimeoutError:
            raise NotFetched("it does not come in time") from None
        raise NotFetched("its server redirects too often")

    async def _asked(self, place: Place, allowance: _Allowance) -> _Reply:
        connection = await self._connected(place.host, allowance.share)
        try:
            reply = _Reply(allowance, connection.pause)
            connection.send([_request(place)], reply)
            await reply.done
            return reply
        finally:
            connection.abort()

    async def _connected(self, host: str, share: _Share) -> Connection:
        for address in await self._addresses(host, share):
            with suppress(OSError):  # of a host with several addresses, one may be down
                return await self._connected_to(address, host)
        raise NotFetched("its server cannot be reached")

    async def _addresses(self, host: str, share: _Share) -> Sequence[str]:
        """The addresses of a host, all of them public; raises NotFetched."""
        try:
            found = [host] if is_address(host) else await share.look_up(self._resolve, host)
        except (OSError, UnicodeError):
            found = []
        if not found or not all(map(is_public, found)):
            raise NotFetched(_NOT_PUBLIC)
        return found[:MOST_ADDRESSES]

    async def _connected_to(self, address: str, host: str) -> Connection:
        sock = await self._dial(address, PORT)
        try:
            _check_ends(sock)
        except BaseException:
            sock.close()
            raise
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(Connection.abort, _forget),
            sock=sock,
            ssl=self._tls or tls_context(None),
            server_hostname=host,
        )
        return connection


def remote_images(request: Request) -> Sequence[Image]:
    """The pictures of a request that are named by a URL of the web."""
    return [
        part
        for part in request.parts()
        if isinstance(part, Image) and not part.data and part.url[:4].lower() == "http"
    ]


def _refused(image: Image, why: str) -> CannotTranslate:
    message = f"The picture at `{image.at}` could not be fetched: {why}."
    return CannotTranslate(message, param=image.at, code="invalid_image_url")


def _check_ends(sock: socket.socket) -> None:
    """Only a connection to oneself has the same address at both ends. Raises OSError where it was
    lost meanwhile."""
    if sock.getsockname()[0] == sock.getpeername()[0]:
        raise NotFetched(_NOT_PUBLIC)


def _put(found: Inline, images: Sequence[Image], allowance: _Allowance) -> None:
    """Put a picture's bytes into all parts that name it; raises CannotTranslate."""
    try:
        allowance.take(len(found.data) * 3 // 4 * (len(images) - 1))
    except NotFetched as exc:
        raise _refused(images[-1], str(exc)) from None
    for image in images:
        image.mime, image.data, image.url = found.mime, found.data, ""


def _picture(data: bytes) -> Inline:
    encoded = base64.b64encode(data).decode()
    mime = sniffed("", encoded)
    if not mime.startswith("image/"):
        raise NotFetched("what is there is no picture")
    return Inline(mime, encoded)


def _request(place: Place) -> bytes:
    host = f"[{place.host}]" if ":" in place.host else place.host
    lines = (
        f"GET {place.target} HTTP/1.1",
        f"host: {host}",
        "user-agent: relayd",
        "accept: image/*",
        "accept-encoding: identity",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _forget(connection: Connection) -> None:
    """Nobody counts connections here: each is closed by who asked."""
