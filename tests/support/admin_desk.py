"""The admin API over a real socket, with upstreams that are a list in memory.

For the command line, which blocks: the desk runs in a thread of its own, and stands where the whole
daemon would, with the daemon's own listener and the daemon's own admin API.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from relayd.model import Secret
from relayd.policy.reports import DoorReport, ProbeResult
from relayd.web import admin
from relayd.web.client import HttpClient
from relayd.web.connection import Listener

PATIENCE = 5.0
OWN_TOKEN, TOKEN = "own-token-of-this-run", "configured"


def door(upstream: str, key: str = "1", **changes: Any) -> DoorReport:
    """A door that is up, but for what is changed."""
    usual: dict[str, Any] = {
        "tier": 1,
        "weight": 1,
        "state": "up",
        "why": "",
        "until": None,
        "in_flight": 0,
        "requests": 200,
        "failures": 0,
        "success_ratio": 1.0,
        "first_byte": 0.212,
        "first_byte_p95": 0.84,
    }
    return DoorReport(upstream, key, **{**usual, **changes})


class ListedUpstreams:
    """Upstreams that are nothing but their reports; switching changes the state there."""

    def __init__(self, doors: Sequence[DoorReport]) -> None:
        self.doors = list(doors)
        self.told: list[tuple[str, str, str | None]] = []

    def report(self, now: float) -> list[DoorReport]:
        return self.doors

    def enable(self, upstream: str, key: str | None, now: float) -> None:
        self.told.append(("enable", upstream, key))
        self._change(upstream, key, state="up", why="", until=None, models=())

    def disable(self, upstream: str, key: str | None, now: float) -> None:
        self.told.append(("disable", upstream, key))
        self._change(upstream, key, state="disabled", why="by the operator", until=None)

    def _change(self, upstream: str, key: str | None, **changes: Any) -> None:
        for i, one in enumerate(self.doors):
            if one.upstream == upstream and key in (None, one.key):
                self.doors[i] = one._replace(**changes)


class ListedProber:
    """Finds well what is not named in `bad`, where it stands why."""

    def __init__(self, upstreams: ListedUpstreams, bad: dict[str, str] | None = None) -> None:
        self.upstreams = upstreams
        self.bad = bad or {}

    async def probe(self, upstream: str, key: str | None) -> list[ProbeResult]:
        await asyncio.sleep(0)
        return [
            ProbeResult(
                upstream, one.key, one.name not in self.bad, self.bad.get(one.name, ""), 0.2
            )
            for one in self.upstreams.doors
            if one.upstream == upstream and key in (None, one.key)
        ]


class AdminDesk:
    """A listener that answers the admin API and nothing else. Owns its thread.

    Arguments:
        doors: the upstreams' reports.
        bad: doors that a probe finds unwell, and why.
    """

    def __init__(self, doors: Sequence[DoorReport], bad: dict[str, str] | None = None) -> None:
        self.upstreams = ListedUpstreams(doors)
        self.prober = ListedProber(self.upstreams, bad)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> AdminDesk:
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the desk does not open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the desk does not close"

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._admin = admin.Admin(
            self.upstreams,
            self.prober,
            own_token=Secret(OWN_TOKEN),
            token=Secret(TOKEN),
            clock=self._loop.time,
        )
        listener = Listener(self)
        server = await self._loop.create_server(listener, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        listener.pre_shutdown()
        await listener.cut()

    async def handle(self, client: HttpClient) -> None:
        client.admit(b"", admin.BODY)
        await self._admin.answer(client)

    def bad_http(self, exc: BaseException | None) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
