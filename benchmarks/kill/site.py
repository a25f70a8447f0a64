"""A relayd to be killed, and the provider behind it: both real processes, started as an operator
would.

One account with money, one key, one price for every model, everything in one folder. The processes'
output goes to files there. Only what was started here is ever signalled, by its own pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.processes import free_port, is_listening
from relayd.money import DOLLAR, pico
from relayd.store.questions import NewKey
from relayd.store.sqlite import SqliteStore

PATIENCE = 30.0
GRANTED = 1000 * DOLLAR
PER_INPUT, PER_OUTPUT = 2_500_000, 10_000_000  # pico-dollars a token
PROVIDER_KEY = "provider-key"
ACCOUNT = "load"

CONFIG = """\
listen: 127.0.0.1:{port}
database: {folder}/relayd.db
demo: "off"
drain_timeout: 3s
routing: {{retries: {{attempts: 1}}, breaker: {{enabled: off}}}}
prices: {{"*": {{input: 2.5, output: 10}}}}
upstreams:
  provider:
    dialect: relay
    base_url: http://127.0.0.1:{provider}
    key: {provider_key}
    models: ["*"]
"""

LOCKER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
db.execute("ROLLBACK")
"""


class NotWell(Exception):
    """A process did not do what it must; the message holds what it said."""


class Program:
    """One started process. Owns it and the file that its output goes to."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        self._output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def __repr__(self) -> str:
        return f"<Program {self._process.pid} {'running' if self.is_running else 'ended'}>"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for_port(self, port: int, within: float = PATIENCE) -> None:
        """Wait until it listens. Raises NotWell when it ends or takes too long."""
        deadline = time.monotonic() + within
        while not is_listening(port):
            if not self.is_running or time.monotonic() > deadline:
                self.kill()
                said = self._output.read_text(errors="replace")[-2000:]
                raise NotWell(f"{self._process.args!r} did not come up:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power switch would."""
        if self.is_running:
            self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for its end, and return its exit status."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotWell(f"{self._process.args!r} does not end") from None


class Site:
    """The folder, the provider and, while it runs, the relay. `close` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "relayd.db"
        self.journal = folder / "relayd.db.journal"
        self.config = folder / "config.yaml"
        self.port, provider_port = free_port(), free_port()
        self.config.write_text(
            CONFIG.format(
                port=self.port,
                folder=folder,
                provider=provider_port,
                provider_key=PROVIDER_KEY,
            )
        )
        self.key = asyncio.run(_prepare(self.database))
        provider = ["-m", "relayd.demo", "--listen", f"127.0.0.1:{provider_port}"]
        self._provider = Program(
            [*provider, "--key", PROVIDER_KEY, "--uvloop"], folder / "provider.log"
        )
        self._provider.wait_for_port(provider_port)
        self.relay: Program | None = None

    def __repr__(self) -> str:
        return f"<Site {self.folder} {self.relay!r}>"

    def launch(self) -> Program:
        """Start the relay, and do not wait for it."""
        command = ["-m", "relayd", "serve", "--config", str(self.config)]
        self.relay = Program(command, self.folder / "relay.log")
        return self.relay

    def start(self, within: float = PATIENCE) -> Program:
        """Start the relay and wait until it serves."""
        relay = self.launch()
        relay.wait_for_port(self.port, within)
        return relay

    def lock(self, seconds: float) -> Program:
        """Another process that holds the database's write lock for so long."""
        said = self.folder / "locker.log"
        said.unlink(missing_ok=True)
        locker = Program(["-c", LOCKER, str(self.database), str(seconds)], said)
        deadline = time.monotonic() + PATIENCE
        while b"locked" not in said.read_bytes():
            if time.monotonic() > deadline or not locker.is_running:
                raise NotWell(f"the database could not be locked: {said.read_text()}")
            time.sleep(0.01)
        return locker

    def balance(self) -> int:
        """What is left of the grant, as the command line says."""
        shown = self.command("account", "show", ACCOUNT, "--json")
        document: dict[str, Any] = orjson.loads(shown.stdout)
        return pico(document["balance"])

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `relayd words…` on this database."""
        return subprocess.run(
            [sys.executable, "-m", "relayd", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def close(self) -> None:
        """End both processes."""
        if self.relay is not None:
            self.relay.kill()
        self._provider.kill()


async def _prepare(database: Path) -> str:
    store = await SqliteStore.open(database)
    try:
        now, actor = 0.0, "kill-test"
        _, secret = await store.create_key(NewKey("load", ACCOUNT), now=now, actor=actor)
        await store.add_credit(
            ACCOUNT, GRANTED, kind="grant", reason="to be spent", actor=actor, now=now
        )
    finally:
        await store.close()
    return secret


def can_mount() -> bool:
    """Whether this process may make a small file system to fill up."""
    return os.geteuid() == 0 and Path("/bin/mount").exists()
