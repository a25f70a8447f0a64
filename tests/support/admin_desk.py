"""The admin API over a real socket, with upstreams that are a list in memory and, where a test
wants them, accounts and keys in a database; then also what clients may ask of their account.

For the command line, which blocks: the desk runs in a thread of its own, and stands where the whole
daemon would, with the daemon's own listener and the daemon's own admin API.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import orjson

from relayd.accounts import DEFAULT_GROUP, Group
from relayd.model import Secret
from relayd.policy.admission import Admission
from relayd.policy.balances import Balances
from relayd.policy.calendar import Calendar
from relayd.policy.keys import Caller, Directory
from relayd.policy.reports import DoorReport, ProbeResult
from relayd.store.sqlite import SqliteStore
from relayd.web import admin
from relayd.web.account import AccountPages, Books
from relayd.web.admin_desk import Bureau
from relayd.web.client import HttpClient
from relayd.web.connection import Listener
from relayd.web.credentials import credential
from tests.support.databases import prepare
from tests.support.raw_client import RawClient, Reply, request_bytes

T = TypeVar("T")

PATIENCE = 30.0
TODAY = 20261121
NOW = 1_795_273_200.0  # what the desk takes for the present: a Saturday afternoon in November 2026
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
        database: of accounts and keys; without it there are none.
        groups: of the configuration, beside the default one.
    """

    def __init__(
        self,
        doors: Sequence[DoorReport],
        bad: dict[str, str] | None = None,
        database: Path | None = None,
        groups: Sequence[Group] = (),
    ) -> None:
        self.groups = {group.name: group for group in (DEFAULT_GROUP, *groups)}
        self.changes = 0
        self._database = database
        self._maybe_store: SqliteStore | None = None
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
        bureau = None
        if self._database is not None:
            self._maybe_store = await SqliteStore.open(prepare(self._database))
            bureau = Bureau(self._maybe_store, self._groups, self._changed, lambda: NOW)
            self._open_account(self._maybe_store)
        self._admin = admin.Admin(
            self.upstreams,
            self.prober,
            own_token=Secret(OWN_TOKEN),
            token=Secret(TOKEN),
            clock=self._loop.time,
            bureau=bureau,
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
        if self._maybe_store is not None:
            await self._maybe_store.close()

    def _open_account(self, store: SqliteStore) -> None:
        self.directory, self.balances = Directory(()), Balances()
        admission = Admission(self.balances, Calendar())
        books = Books(self.balances, admission.needs_balance, lambda: TODAY, store)
        self._account = AccountPages(self._find, books, self._loop.time)

    def _find(self, client: HttpClient) -> Caller:
        path, _, query = client.raw_path.partition("?")
        secret = credential(client.headers, path, query)
        return self.directory.find(secret, moment=NOW, address=client.peer)

    def _groups(self) -> Mapping[str, Group]:
        return self.groups

    async def _changed(self) -> None:
        """As the daemon does, look at keys, credits and tokens again."""
        self.changes += 1
        self.directory = Directory(await self.store.keys(), self.groups.values())
        self.balances.set_granted(await self.store.granted())
        self._admin.know(await self.store.admin_tokens())

    @property
    def store(self) -> SqliteStore:
        """The store, to be used on the desk's loop: see `call`."""
        assert self._maybe_store is not None, "this desk has no database"
        return self._maybe_store

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine on the desk's loop and return its result."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = TOKEN
    ) -> Reply:
        """One request below `/admin/api`, on a connection of its own.

        Arguments:
            body: bytes as they are, anything else but None as JSON.
        """
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return self.send(request_bytes(admin.ROOT + path, sent, headers, method=method))

    def send(self, request: bytes) -> Reply:
        """One request, whatever it is, on a connection of its own."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        with RawClient((host, int(port))) as client:
            client.send(request)
            return client.reply(bodiless=request.startswith(b"HEAD "))

    async def handle(self, client: HttpClient) -> None:
        client.admit(b"", admin.BODY)
        path = client.raw_path.partition("?")[0]
        if self._maybe_store is not None and self._account.serves(path):
            await self._account.answer(client, path, "req_1")
        else:
            await self._admin.answer(client)

    def bad_http(self, exc: BaseException | None) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
