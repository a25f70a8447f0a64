"""Who may read the metrics, and the listener that serves nothing else.

They say who uses the relay and what they pay for it, so the page is open by intent only: to a
token, or to programs of this machine where none is set. That a connection comes from loopback does
not say that its client is here: a reverse proxy, a TLS terminator or a container's port stands
between, and a browser asks whatever any web page tells it to. So without a token the request must
look like a local program's: it names this machine as its host, speaks HTTP/1.1 (which a bare nginx
does not, to what is behind it), carries nothing that a proxy adds and nothing that a browser does.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from relayd.model import Secret
from relayd.web.bodies import BodyLimits
from relayd.web.client import HttpClient, RawHeaders
from relayd.web.connection import Listener

Answer = tuple[int, RawHeaders, bytes]

TEXT: Final[RawHeaders] = [(b"content-type", b"text/plain; charset=utf-8")]
PAGE: Final[RawHeaders] = [(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())]
REFUSED: Final = (
    b"The metrics are for programs of this machine that ask for `localhost`, and for whoever has"
    b" the token: `Authorization: Bearer TOKEN`, metrics.token of the configuration.\n"
)
# A request with one of these came through a proxy, and only looks local; or a browser sent it.
FOREIGN: Final = re.compile(
    "(?:x-)?forwarded.*|x-original-.*|.*client-?ip|x-proxyuser-ip|x-real-ip|via|x-scheme|x-envoy-.*"
    "|cf-.*|fly-.*|fastly-.*|x-azure-.*|x-amzn?-.*|x-cloud-trace-context|tailscale-.*|cdn-loop"
    "|origin|referer",
    re.IGNORECASE,
)
FROM_THE_SAME: Final = frozenset({"", "none", "same-origin"})  # what a typed address is
HEADER_TIMEOUT: Final = 10.0
WRITE_TIMEOUT: Final = 30.0
MOST_SCRAPERS: Final = 64


def has_token(headers: Mapping[str, str], tokens: Iterable[Secret]) -> bool:
    """Whether a request carries one of these; an empty one opens nothing."""
    offered = headers.get("Authorization", "").removeprefix("Bearer ")
    given = offered.encode("utf-8", "surrogateescape")
    # Not any(): how long it takes must not tell how far it came.
    return sum(bool(t) and hmac.compare_digest(given, t.reveal().encode()) for t in tokens) > 0


def is_local(client: HttpClient) -> bool:
    """Whether a program of this machine asks, and nobody through it."""
    headers = client.headers
    return (
        _is_loopback(client.peer)
        and client.version >= HttpVersion11
        and _names_this_machine(headers.get("Host", ""))
        and headers.get("Sec-Fetch-Site", "").lower() in FROM_THE_SAME
        and not any(FOREIGN.fullmatch(name) for name in headers)
    )


def served(client: HttpClient, page: Callable[[], bytes]) -> Answer:
    """The page; or a refusal for who asks again and again and reads nothing."""
    if client.is_behind:
        client.close_after()
        return 503, TEXT, b"Read the answers first.\n"
    return 200, PAGE, page()


class Scraping:
    """Answers who asks for the metrics on a listener of their own. Satisfies `connection.Door`.

    Arguments:
        page: makes it.
        token: the one that is asked for, now; where it is empty whoever reaches it may read.
    """

    def __init__(self, page: Callable[[], bytes], token: Callable[[], Secret]) -> None:
        self._page = page
        self._token = token

    def __repr__(self) -> str:
        return f"<Scraping {'by token' if self._token() else 'open'}>"

    def listener(self) -> web.Server:
        """What accepts its connections: few, and none of them for long."""
        return Listener(
            self,
            header_timeout=HEADER_TIMEOUT,
            write_timeout=WRITE_TIMEOUT,
            max_connections=MOST_SCRAPERS,
        )

    async def handle(self, client: HttpClient) -> None:
        """Answer one request."""
        client.admit(b"", BodyLimits(0))
        client.send(*self._answer(client))

    def _answer(self, client: HttpClient) -> Answer:
        if client.raw_path.partition("?")[0] != "/metrics" or client.method not in ("GET", "HEAD"):
            return 404, TEXT, b"only /metrics is here\n"
        token = self._token()
        if token and not has_token(client.headers, [token]):
            return 403, TEXT, REFUSED
        return served(client, self._page)

    def bad_http(self, exc: BaseException | None) -> bytes:
        """A whole response to bytes that are no request."""
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def _names_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    return name.lower().rstrip(".") == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
