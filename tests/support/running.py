"""A whole daemon in a thread of its own, on uvloop as in production.

Tests talk to it through sockets from the outside, and may look inside with `call`, which runs a
coroutine on the daemon's loop. `left_over` names whatever a request should have taken away with it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from relayd.config.config import load
from relayd.daemon.daemon import Daemon
from relayd.model import Entry, Secret
from relayd.store.questions import NewKey
from tests.support.databases import prepare
from tests.support.raw_client import RawClient, Reply, request_bytes

T = TypeVar("T")

PATIENCE = 30.0
QUIET_WITHIN = 20.0
# What a daemon may always have running.
OWN_TASKS = (
    "ledger",
    "probing",
    "collecting",
    "watch-keys",
    "upkeep",
    "watchdog",
    "watch-loop",
    "lookout",
    "courier",
    "captures",
    "serve",
    "reload",
)
CONFIG = """\
listen: "127.0.0.1:0"
drain_timeout: 2s
keys_poll_interval: 50ms
ledger: {interval: 10ms}
routing: {retries: {attempts: 1}, breaker: {enabled: off}, longest_cooldown: 0}
"""


class Running:
    """A started daemon with one key. Owns its thread; `stop` ends it.

    Arguments:
        folder: for the configuration and the database.
        config: YAML lines beside the usual ones; a line given here replaces the usual one.
    """

    def __init__(
        self,
        folder: Path,
        config: str = 'demo: "on"\n',
        environ: Mapping[str, str] | None = None,
        admin_token: str = "",
    ) -> None:
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(usual_lines(config) + config)
        prepare(folder / "relayd.db")
        self._environ = dict(environ or {})
        self._admin_token = Secret(admin_token)
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self.daemon: Daemon
        self.key = ""
        self._told: list[str] = []
        self._thread = threading.Thread(target=self._run, name="relayd", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the daemon does not start"
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                self._problem = error
                self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        task.set_name("serve")
        config = load(self.config_path, self._environ)
        self.daemon = Daemon(config, self.config_path, self._environ, self._admin_token)
        await self.daemon.start()
        _, self.key = await self.daemon.books.store.create_key(
            NewKey("test", "tests"), now=time.monotonic(), actor="test"
        )
        await self.daemon.refresh_keys()
        self._ready.set()
        await self._stop.wait()
        await self.daemon.close()

    def stop(self) -> None:
        """Drain and stop, as a SIGTERM would."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the daemon does not stop"
        if self._problem is not None:
            raise self._problem

    # --- from the outside
    # -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.daemon.addresses[0]

    @property
    def address(self) -> tuple[str, int]:
        """Its host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def auth(self) -> dict[str, str]:
        """The headers of a client with a good key."""
        return {"Authorization": f"Bearer {self.key}"}

    def connect(self, *, patience: float = PATIENCE) -> RawClient:
        """A new connection."""
        return RawClient(self.address, patience=patience)

    def ask(
        self,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        """One request with the key, on a connection of its own."""
        with self.connect() as client:
            client.send(request_bytes(path, body, {**self.auth, **(headers or {})}, method=method))
            return client.reply(bodiless=method == "HEAD")

    # --- from the inside
    # ------------------------------------------------------------------------------

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine on the daemon's loop and return its result."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def change_key(self, **changes: object) -> None:
        """Change what the key may do, and have the daemon see it."""

        async def change() -> None:
            store = self.daemon.books.store
            await store.change_key("test", changes, now=time.monotonic(), actor="test")
            await self.daemon.refresh_keys()

        self.call(change)

    def rows(self) -> list[Entry]:
        """The newest rows of the usage log, newest first, nothing waiting."""

        async def read() -> list[Entry]:
            await self.daemon.ledger.flush()
            return await self.daemon.books.store.rows(limit=30)

        return self.call(read)

    def mark(self) -> int:
        """How many rows there are: for `new_rows`."""

        async def count() -> int:
            await self.daemon.ledger.flush()
            report = await self.daemon.books.store.usage(0.0, None, ())
            return report[0].requests if report else 0

        return self.call(count)

    def row(self, request_id: str) -> Entry:
        """The one row of a request, waited for: the end of a cancelled request is not told to a
        client.
        """
        found = self.wait_for(lambda: [r for r in self.rows() if r.request_id == request_id])
        assert len(found) == 1, found
        return found[0]

    def new_rows(self, before: int, number: int = 1) -> list[Entry]:
        """The rows since there were `before`, once there are `number` of them; exactly so many."""
        self.wait_for(lambda: self.mark() >= before + number)
        self.wait_until_quiet()
        more = self.mark() - before
        rows = self.rows()
        assert more == number, rows[:more]
        return rows[:number]

    def wait_for(self, condition: Callable[[], T], within: float = QUIET_WITHIN) -> T:
        """Wait until something is true; its last value either way."""
        end = time.monotonic() + within
        while not (value := condition()) and time.monotonic() < end:
            time.sleep(0.005)
        return value

    def wait_until_quiet(self) -> None:
        """Wait until no request is in flight."""
        self.wait_for(lambda: self.daemon.front.active == 0)

    def left_over(self) -> list[str]:
        """What is left of the requests so far, given a moment to go away; [] is as it must be.

        What was told once is not told again: one leak is one failed test, not all that follow.
        """
        found: list[str] = []

        def quiet() -> bool:
            found[:] = [one for one in self.call(self._look) if one not in self._told]
            return not found

        self.wait_for(quiet)
        self._told += found
        return found

    async def _look(self) -> list[str]:
        daemon = self.daemon
        me = asyncio.current_task()
        found = [
            f"task {task.get_name()}"
            for task in asyncio.all_tasks()
            if task is not me and task.get_name() not in OWN_TASKS
        ]
        if daemon.front.active:
            found.append(f"{daemon.front.active} requests in flight")
        listener: Any = daemon._listener
        found += [f"client connection {c!r}" for c in listener.connections]
        for name, provider in daemon.relay.providers.items():
            for client in provider.clients:
                if client.open_connections != client.idle_connections:
                    found.append(repr(client))
            if daemon.relay.pools.in_flight(name):
                found.append(f"{name}: {daemon.relay.pools.in_flight(name)} leases")
        for watch in daemon.relay.asking.watches.values():
            found += [f"watched {exchange!r}" for exchange in watch._live]
        if daemon.relay.lobby.waiting:
            found.append(repr(daemon.relay.lobby))
        return found


def usual_lines(config: str) -> str:
    """The usual lines of a configuration that the given one does not have itself."""
    given = {line.partition(":")[0] for line in config.splitlines()}
    lines = CONFIG.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition(":")[0] not in given)
