"""`python -m benchmarks.sustain`: a thousand paid requests a second for minutes on end.

Real processes: the relay on one core, with prices, limits, a strict balance, journal and database
on a real disk; the mock upstream and the load on the other. The load is paced by the clock, not by
the replies, so that a relay that falls behind is seen to. Every second it is noted how much memory
the relay holds, how many answered requests have no row in the database yet, and how much of its
core is used. At the end the books are held against what the clients got, and `relayd ledger verify`
is asked. Last, what it costs to ask the database whether another process has changed it
(`SELECT value FROM keys_version`), which the relay does once a second.

Everything is bounded in time and count and ended by its own pid. Exits with 1 when a goal is
missed, with 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import NamedTuple, cast

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.asking import request
from benchmarks.load import LoadFailed
from benchmarks.processes import (
    Child,
    NotStarted,
    cpu_seconds,
    free_port,
    is_listening,
    raise_file_limit,
    resident_bytes,
)
from benchmarks.servers import COMMAND_TIMEOUT, RELAY_CONFIG, Server, create_key, start_mock
from benchmarks.stage import LOAD_CORE, RELAY_CORE, Goal, percentile

MONEY = """\
prices:
  demo: {input: 2.5, output: 10, cache_read: 0.25}
groups:
  default: {balance: on, strict: on, rpm: 10000000, tpm: 10000000000, concurrency: 100000}
"""
GRANT = "1000000"
TICK = 0.01
PAUSE = 0.1
OPENED_AT_ONCE = 64
MOST_CONNECTIONS = 2000
SETTLE_TIMEOUT = 30.0  # for the last rows, and for the last replies
POLLS = 2000
MEBI = 2**20
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Second(NamedTuple):
    """What was noted at the end of one second."""

    answered: int
    behind: int
    waiting: int
    memory: int
    cpu: float


@dataclass(slots=True)
class Outcome:
    """All that was noted, and what the books say after it."""

    seconds: list[Second] = field(default_factory=list)
    sent: int = 0
    answered: int = 0
    refused: int = 0
    rows: int = 0
    unpaid: int = 0
    unbalanced: int = 0
    verified: str = ""
    poll: float = 0.0

    def goals(self, rate: float) -> list[Goal]:
        """What is promised of it."""
        memory = [second.memory / MEBI for second in self.seconds]
        fifth = max(1, len(memory) // 5)
        early, late = mean(memory[fifth : 2 * fifth] or memory), mean(memory[-fifth:])
        lags = [second.behind / rate for second in self.seconds]
        return [
            Goal("replies a second", self.answered / len(self.seconds), 0.99 * rate, "/s", True),
            Goal("memory, last fifth against second", (late / early - 1) * 100, 5.0, "%"),
            Goal("rows behind the replies, 99 %", percentile(lags, 0.99), 2.0, "s"),
            Goal("requests refused", self.refused, 0, ""),
            Goal("replies without a row", self.answered - self.rows, 0, ""),
            Goal("replies that nobody paid", self.unpaid, 0, ""),
            Goal("pico-dollars out of balance", self.unbalanced, 0, ""),
            Goal("asking for changes, a second", self.poll * 1e6, 500.0, "us"),
        ]


# --- the load -------------------------------------------------------------------------------------


class Load:
    """Paced requests over as many connections as it takes. Owns the connections and the counts."""

    def __init__(self, server: Server, asked: bytes) -> None:
        self.server = server
        self.asked = asked
        self.sent = self.answered = self.refused = 0
        self.idle: deque[_Client] = deque()
        self._all: list[_Client] = []

    def __repr__(self) -> str:
        return f"<Load {self.answered} of {self.sent} answered, {len(self._all)} connections>"

    async def run(self, rate: float, seconds: float) -> None:
        """Send at the rate. Raises LoadFailed when the relay falls behind without end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (passed := loop.time() - began) < seconds:
            for _ in range(int(passed * rate) - self.sent):
                if not self.idle:
                    await self._open_more()
                self.idle.popleft().send(self.asked)
                self.sent += 1
            await asyncio.sleep(TICK)

    async def finish(self) -> None:
        """Wait for the last replies, and hang up."""
        await _until(lambda: self.answered + self.refused >= self.sent)
        for client in self._all:
            client.leave()

    async def _open_more(self) -> None:
        if len(self._all) >= MOST_CONNECTIONS:
            raise LoadFailed(f"{MOST_CONNECTIONS} requests are in flight: the relay falls behind")
        loop, port = asyncio.get_running_loop(), self.server.port
        for _ in range(OPENED_AT_ONCE):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
            self._all.append(client)
            self.idle.append(client)


class _Client(asyncio.Protocol):
    """One connection: a request, its whole reply, then idle again."""

    __slots__ = ("_load", "_missing", "_transport")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._missing = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop has a class of its own

    def send(self, asked: bytes) -> None:
        assert self._transport is not None
        self._transport.write(asked)

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        load = self._load
        if not self._missing:
            found = _LENGTH.search(data)
            if found is None or not data.startswith(b"HTTP/1.1 200"):
                load.refused += 1
                self.leave()
                return
            self._missing = data.find(b"\r\n\r\n") + 4 + int(found[1])
        self._missing -= len(data)
        if not self._missing:
            load.answered += 1
            load.idle.append(self)


# --- the run --------------------------------------------------------------------------------------


def start_paid_relay(folder: Path, upstream: int) -> Server:
    """relayd with prices, a strict group, and an account with a balance."""
    folder.mkdir(parents=True, exist_ok=True)
    port, config, database = free_port(), folder / "config.yaml", folder / "relayd.db"
    config.write_text(
        RELAY_CONFIG.format(port=port, folder=folder, upstream=upstream, formats="") + MONEY
    )
    key = create_key(database)
    _command("account", "topup", "default", GRANT, "--database", str(database))
    command = [sys.executable, "-m", "relayd", "serve", "--config", str(config)]
    child = Child(command, RELAY_CORE, folder / "relayd.out")
    child.wait_until(lambda: is_listening(port))
    return Server("relayd", port, key, child, (child.pid,), database)


def _command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "relayd", *words], capture_output=True, timeout=COMMAND_TIMEOUT
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise NotStarted(f"`relayd {' '.join(words)}` failed:\n{said}")
    return done.stdout.decode().strip()


async def sustain(server: Server, rate: float, seconds: float) -> Outcome:
    """Put the load on, and note every second what it does."""
    outcome, load = Outcome(), Load(server, request(server, "chat", "demo"))
    running = asyncio.get_running_loop().create_task(load.run(rate, seconds))
    with closing(_database(server)) as file:
        used = cpu_seconds(server.pids)
        while not running.done():
            await asyncio.wait([running], timeout=1.0)
            before, used = used, cpu_seconds(server.pids)
            rows = _rows(file)
            waiting = load.sent - load.answered - load.refused
            memory = resident_bytes(server.pids[0])
            lag = max(load.answered - rows, 0)
            outcome.seconds.append(Second(load.answered, lag, waiting, memory, used - before))
        running.result()
        await load.finish()
        outcome.sent, outcome.answered, outcome.refused = load.sent, load.answered, load.refused
        await _until(lambda: _rows(file) >= load.answered)
    return outcome


async def _until(reached: Callable[[], bool]) -> None:
    """Wait for it, but not for ever: what is missing then is seen in the figures."""
    for _ in range(int(SETTLE_TIMEOUT / PAUSE)):
        if reached():
            return
        await asyncio.sleep(PAUSE)


def look_at_books(server: Server, outcome: Outcome) -> None:
    """What the database says when the relay has stopped."""
    with closing(_database(server)) as file:
        outcome.rows, outcome.unpaid, cost = file.execute(
            "SELECT count(*), coalesce(sum(cost = 0), 0), coalesce(sum(cost), 0)"
            " FROM usage WHERE status = 200"
        ).fetchone()
        [spent] = file.execute(
            "SELECT coalesce(sum(cost_micro) * 1000000 + sum(cost_rest), 0) FROM account_spend"
        ).fetchone()
        outcome.unbalanced = abs(cost - spent)
        started = time.perf_counter()
        for _ in range(POLLS):
            file.execute("SELECT value FROM keys_version").fetchone()
        outcome.poll = (time.perf_counter() - started) / POLLS
    outcome.verified = _command("ledger", "verify", "--database", str(server.database))


def _database(server: Server) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{server.database}?mode=ro", uri=True, timeout=COMMAND_TIMEOUT)


def _rows(file: sqlite3.Connection) -> int:
    """How many rows there are, by their sums: counting a million would disturb what is measured."""
    [count] = file.execute("SELECT coalesce(sum(requests), 0) FROM usage_daily").fetchone()
    return int(count)


def table_of(outcome: Outcome, lines: int = 12) -> Table:
    """Some of the seconds, evenly spread."""
    table = Table("second", "answered", "in flight", "rows behind", "MiB", "core", box=None)
    for column in table.columns:
        column.justify = "right"
    for number, second in _spread(outcome.seconds, lines):
        table.add_row(
            str(number),
            f"{second.answered:,}",
            str(second.waiting),
            f"{second.behind:,}",
            f"{second.memory / MEBI:.1f}",
            f"{second.cpu:.0%}",
        )
    return table


def _spread(seconds: list[Second], lines: int) -> Iterator[tuple[int, Second]]:
    step = max(1, len(seconds) // lines)
    return ((n, second) for n, second in enumerate(seconds, 1) if n % step == 0)


def _measure(rate: float, seconds: float) -> Outcome:
    raise_file_limit()
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="relayd-sustain-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = start_mock(folder, LOAD_CORE)
        stack.callback(mock.stop)
        relay = start_paid_relay(folder / "relayd", mock.port)
        stack.callback(relay.stop)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(sustain(relay, rate, seconds))
        relay.stop()
        look_at_books(relay, outcome)
        return outcome


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.sustain", description="a steady load, paid")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long")
    options = parser.parse_args(arguments)
    console = Console(width=max(100, Console().width))
    try:
        outcome = _measure(options.rate, options.seconds)
    except (LoadFailed, NotStarted) as exc:
        print(f"sustain: {exc}", file=sys.stderr)
        return 2
    console.print(table_of(outcome))
    goals = outcome.goals(options.rate)
    table = Table("goal", "measured", "promised", "met", box=None)
    for goal in goals:
        table.add_row(*goal.row())
    console.print("", table, f"\nledger verify: {outcome.verified}", highlight=False)
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
