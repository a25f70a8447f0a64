"""The fixed pages: health, readiness, status, metrics, clients, and a greeting at the root.

None needs a key. What they say is for everybody, and any web page may show it; but the metrics are
not, and who may have them is decided in `scraping`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

import orjson

from relayd import clients
from relayd.model import Secret
from relayd.web import scraping
from relayd.web.account import UNITS
from relayd.web.client import HttpClient, RawHeaders

Answer = tuple[int, RawHeaders, bytes]
Page = Callable[[HttpClient], Answer]

JSON: Final[RawHeaders] = [(b"content-type", b"application/json")]
TEXT: Final[RawHeaders] = [(b"content-type", b"text/plain; charset=utf-8")]
# Widgets ask every few seconds, and what it says changes with a restart or a reload.
STATUS: Final[RawHeaders] = [*JSON, (b"cache-control", b"public, max-age=5")]
# Pages that no web page of somebody else's may read.
PRIVATE: Final = frozenset({"/metrics"})


class Face(NamedTuple):
    """What everybody may know.

    Arguments:
        version: of relayd.
        started_at: Unix seconds.
        name: of this relay.
        base_urls: where clients reach it, the primary first.
    """

    version: str
    started_at: float
    name: str = "relayd"
    base_urls: tuple[str, ...] = ()

    def document(self) -> bytes:
        """The page, by the names that dashboards of such relays look for. It says nothing of
        upstreams, accounts or how much is going on."""
        data = {
            "system_name": self.name,
            "version": self.version,
            "start_time": int(self.started_at),
            "server_address": self.base_urls[0] if self.base_urls else "",
            "base_urls": self.base_urls,
            "quota_per_unit": UNITS,
            "display_in_currency": True,
        }
        return orjson.dumps({"success": True, "message": "", "data": data})


class Pages:
    """Answers the fixed pages.

    Arguments:
        metrics: makes the metrics page.
        metrics_token: if set, the metrics page asks for it, even of this machine.
        admin_tokens: open the metrics page from anywhere; empty ones open nothing.
        face: what the status page says.
        ready: whether requests would be taken now.
    """

    def __init__(
        self,
        metrics: Callable[[], bytes],
        metrics_token: Secret,
        admin_tokens: Sequence[Secret],
        face: Face,
        ready: Callable[[], bool],
    ) -> None:
        self.metrics_token = metrics_token
        self.show(face)
        self._admin_tokens = admin_tokens
        self._metrics_page = metrics
        self._ready = ready
        self._table: dict[str, Page] = {
            "/": self._root,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/api/status": self._status,
            "/api/clients": self._clients,
            "/metrics": self._metrics,
        }

    def show(self, face: Face) -> None:
        """Say this from now on."""
        self.face = face
        self._document = face.document()

    def find(self, method: str, path: str) -> Page | None:
        """The page at a path, for reading methods."""
        return self._table.get(path) if method in ("GET", "HEAD") else None

    def _root(self, client: HttpClient) -> Answer:
        return 200, JSON, orjson.dumps({"name": self.face.name, "status": "ok"})

    def _health(self, client: HttpClient) -> Answer:
        return 200, TEXT, b"ok\n"

    def _readiness(self, client: HttpClient) -> Answer:
        ready = self._ready()
        return (200 if ready else 503), TEXT, b"ready\n" if ready else b"draining\n"

    def _status(self, client: HttpClient) -> Answer:
        return 200, STATUS, self._document

    def _clients(self, client: HttpClient) -> Answer:
        """How to set up every known client; whoever shows it fills address and key in."""
        return 200, JSON, client_list()

    def _metrics(self, client: HttpClient) -> Answer:
        tokens = (self.metrics_token, *self._admin_tokens)
        if not scraping.has_token(client.headers, tokens):
            if self.metrics_token or not scraping.is_local(client):
                return 403, TEXT, scraping.REFUSED
        return scraping.served(client, self._metrics_page)


@cache
def client_list() -> bytes:
    """The settings of all clients, with {base}, {key} and {model} where those belong."""
    told = [clients.document(client) for client in clients.shipped().values()]
    return orjson.dumps({"clients": told})
