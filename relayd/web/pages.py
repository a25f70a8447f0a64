"""The fixed pages: health, readiness, status, metrics, clients, and a greeting at the root.

None needs a key. The metrics page wants its token; without one configured it is for loopback only,
and behind a reverse proxy every client looks local, so a forwarded request does not count as
loopback.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Sequence
from functools import cache

import orjson
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from relayd import clients
from relayd.model import Secret
from relayd.web.account import UNITS
from relayd.web.client import HttpClient

RawHeaders = list[tuple[bytes, bytes]]
Answer = tuple[int, RawHeaders, bytes]
Page = Callable[[HttpClient], Answer]

# A request with one of these came through a proxy, and only looks local.
FORWARDING = (
    "X-Forwarded-For",
    "Forwarded",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Via",
    "CF-Connecting-IP",
)
JSON: RawHeaders = [(b"content-type", b"application/json")]
TEXT: RawHeaders = [(b"content-type", b"text/plain; charset=utf-8")]
METRICS: RawHeaders = [(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())]


class Pages:
    """Answers the fixed pages.

    Arguments:
        metrics: makes the metrics page.
        metrics_token: if set, the metrics page asks for it, even of loopback.
        admin_tokens: open the metrics page from anywhere; empty ones open nothing.
        version: of relayd.
        started_at: Unix seconds.
        ready: whether requests would be taken now.
    """

    def __init__(
        self,
        metrics: Callable[[], bytes],
        metrics_token: Secret,
        admin_tokens: Sequence[Secret],
        version: str,
        started_at: float,
        ready: Callable[[], bool],
    ) -> None:
        self.metrics_token = metrics_token
        self._admin_tokens = admin_tokens
        self._metrics_page = metrics
        self._version = version
        self._started_at = started_at
        self._ready = ready
        self._table: dict[str, Page] = {
            "/": self._root,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/api/status": self._status,
            "/api/clients": self._clients,
            "/metrics": self._metrics,
        }

    def find(self, method: str, path: str) -> Page | None:
        """The page at a path, for reading methods."""
        return self._table.get(path) if method in ("GET", "HEAD") else None

    def _root(self, client: HttpClient) -> Answer:
        return 200, JSON, orjson.dumps({"name": "relayd", "status": "ok"})

    def _health(self, client: HttpClient) -> Answer:
        return 200, TEXT, b"ok\n"

    def _readiness(self, client: HttpClient) -> Answer:
        ready = self._ready()
        return (200 if ready else 503), TEXT, b"ready\n" if ready else b"draining\n"

    def _status(self, client: HttpClient) -> Answer:
        status = {
            "success": True,
            "message": "",
            "data": {
                "system_name": "relayd",
                "version": self._version,
                "start_time": int(self._started_at),
                "quota_per_unit": UNITS,
            },
        }
        return 200, JSON, orjson.dumps(status)

    def _clients(self, client: HttpClient) -> Answer:
        """How to set up every known client; whoever shows it fills address and key in."""
        return 200, JSON, client_list()

    def _metrics(self, client: HttpClient) -> Answer:
        if not self._may_see_metrics(client):
            return (
                403,
                TEXT,
                b"The metrics are for loopback, or with `Authorization: Bearer TOKEN`.\n",
            )
        return 200, METRICS, self._metrics_page()

    def _may_see_metrics(self, client: HttpClient) -> bool:
        offered = (
            client.headers.get("Authorization", "")
            .removeprefix("Bearer ")
            .encode("utf-8", "surrogateescape")
        )
        for token in (self.metrics_token, *self._admin_tokens):
            if token and hmac.compare_digest(offered, token.reveal().encode()):
                return True
        if self.metrics_token:
            return False
        forwarded = any(name in client.headers for name in FORWARDING)
        return not forwarded and _is_loopback(client.peer)


@cache
def client_list() -> bytes:
    """The settings of all clients, with {base}, {key} and {model} where those belong."""
    told = [clients.document(client) for client in clients.shipped().values()]
    return orjson.dumps({"clients": told})


def metrics_server(metrics: Callable[[], bytes]) -> web.Server:
    """A server for a listener of its own: the metrics, for whoever can reach it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics":
            return web.Response(status=404, text="only /metrics is here\n")
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=metrics(), headers=headers)

    return web.Server(answer, access_log=None)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
