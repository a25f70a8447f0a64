"""`python -m benchmarks.alerts`: how long until a webhook hears of an upstream that is down.

Real processes, started as an operator would: relayd, and three providers behind it, each under load
from clients in this process, which also is the webhook. In each round one provider is killed by its
pid; as soon as its alert has arrived, a second one, whose alert so comes right after another; then
clients ask the third for what it answers with 500. In every other round there is a second webhook,
which takes connections and never answers. At the end twelve upstreams at which nobody listens are
asked, one in a second: a storm.

An opening is noted from outside, by asking for the metrics again and again: it counts from the
moment when the last answer was asked for in which the key was still up, so that no figure is better
than the truth. What the third provider's clients waited meanwhile is noted, too. Everything is
bounded in time. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.asking import chat_body
from benchmarks.machine import describe
from benchmarks.processes import Child, free_port, is_listening
from benchmarks.servers import create_key
from benchmarks.stage import LOAD_CORE, RELAY_CORE, median, percentile

ROUNDS = 10
GOAL = 5.0  # seconds from the breaker's opening to the alert
PATIENCE = 30.0
CLIENTS = 4  # of each provider
WARM = 0.5  # seconds of load before anything is killed
NAP = 0.005  # seconds between two requests of a client, and between two looks

CONFIG = """\
listen: 127.0.0.1:{port}
database: {folder}/relayd.db
demo: "off"
drain_timeout: 1s
alerts: {{webhooks: [{webhooks}]}}
upstreams:
"""
UPSTREAM = """\
  {name}: {{dialect: relay, base_url: "http://127.0.0.1:{port}", key: mock-upstream-key,
    models: {{{name}: demo, {name}-500: demo-500}}}}
"""
NAMES = ("first", "second", "third")
DEAD = """\
  {name}: {{dialect: relay, base_url: "http://127.0.0.1:{port}", key: x, models: [{name}]}}
"""
STORM = [f"storm-{number}" for number in range(12)]


class Heard(NamedTuple):
    """One alert of one round: seconds from what was done to the opening, and from that to the
    webhook."""

    what: str
    hanging: bool
    opened: float
    arrived: float


class Webhook:
    """Takes messages and notes when. Owns its server and its thread."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """Takes one message."""

            def do_POST(self) -> None:
                now = time.monotonic()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for alert in orjson.loads(body)["alerts"]:
                    outer.came.setdefault(f"{alert['state']} {alert['subject']}", now)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


class Load:
    """Clients that ask for one model again and again. Owns their threads, and how long each good
    answer took."""

    def __init__(self, port: int, key: str, model: str) -> None:
        self.model = model
        self.took: list[float] = []
        self._port, self._key = port, key
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Let the last answers come, and ask no more."""
        self._ends.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        while not self._ends.is_set():
            connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
                while not self._ends.wait(NAP):
                    begun = time.monotonic()
                    body = chat_body(self.model, 20)
                    connection.request("POST", "/v1/chat/completions", body, headers)
                    reply = connection.getresponse()
                    reply.read()
                    if reply.status == 200:
                        self.took.append(time.monotonic() - begun)


class Round:
    """One relayd with its providers, under load."""

    def __init__(self, folder: Path, stack: ExitStack, *, hanging: bool) -> None:
        self._hanging = hanging
        self.webhook = Webhook()
        stack.callback(self.webhook.close)
        self.providers = {name: self._provider(folder, name, stack) for name in NAMES}
        self.port = free_port()
        hooks = [f'{{name: good, url: "http://127.0.0.1:{self.webhook.port}/x"}}']
        if hanging:
            deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"http://127.0.0.1:{deaf.getsockname()[1]}/x"
            hooks.insert(0, f'{{name: deaf, url: "{address}"}}')
        self._start(folder, hooks, stack)

    def _provider(self, folder: Path, name: str, stack: ExitStack) -> tuple[Child, int]:
        port = free_port()
        command = [sys.executable, "-m", "relayd.demo", "--uvloop", "--listen"]
        child = Child([*command, f"127.0.0.1:{port}"], LOAD_CORE, folder / f"{name}.out")
        stack.callback(child.stop)
        return child, port

    def _start(self, folder: Path, hooks: list[str], stack: ExitStack) -> None:
        config = folder / "config.yaml"
        head = CONFIG.format(port=self.port, folder=folder, webhooks=", ".join(hooks))
        upstreams = [UPSTREAM.format(name=n, port=p) for n, (_, p) in self.providers.items()]
        upstreams += [DEAD.format(name=name, port=free_port()) for name in STORM]
        config.write_text(head + "".join(upstreams))
        self._key = key = create_key(folder / "relayd.db")
        for child, port in self.providers.values():
            child.wait_until(partial(is_listening, port))
        command = [sys.executable, "-m", "relayd", "serve", "--config", str(config)]
        relay = Child(command, RELAY_CORE, folder / "relayd.out")
        stack.callback(relay.stop)
        relay.wait_until(lambda: is_listening(self.port))
        self.load = {name: Load(self.port, key, name) for name in NAMES}
        for load in self.load.values():
            stack.callback(load.close)
        time.sleep(WARM)

    def measure(self) -> Iterator[Heard]:
        """Each provider in turn."""
        yield self._heard("killed", "first", lambda: self._kill("first"))
        yield self._heard("killed, right after another", "second", lambda: self._kill("second"))
        yield self._heard("answers 500", "third", self._ask_for_failures)
        yield from self._storm()

    def _storm(self) -> Iterator[Heard]:
        opened = {}
        for name in STORM:
            opened[name] = time.monotonic()  # and a little later, in truth
            ask(self.port, self._key, name)
            time.sleep(1.0)
        for name, moment in opened.items():
            yield Heard("one of a storm", self._hanging, 0.0, self._wait(name) - moment)

    def _kill(self, name: str) -> None:
        os.kill(self.providers[name][0].pid, signal.SIGKILL)

    def _ask_for_failures(self) -> None:
        self.load["third"].model = "third-500"

    def _heard(self, what: str, name: str, act: Any) -> Heard:
        act()
        done = time.monotonic()
        opened = self._opening(name)
        return Heard(what, self._hanging, opened - done, self._wait(name) - opened)

    def _wait(self, name: str) -> float:
        """When the webhook has heard of an upstream."""
        begun, subject = time.monotonic(), f"raised {name}"
        while subject not in self.webhook.came:
            if time.monotonic() - begun > PATIENCE:
                raise TimeoutError(f"no alert of {name}")
            time.sleep(NAP)
        return self.webhook.came[subject]

    def _opening(self, name: str) -> float:
        """When the key of an upstream was seen last that it was up."""
        down = re.compile(rf'relayd_upstream_key_(troubled_models|up)\{{upstream="{name}",.*')
        begun = asked = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            before, asked = asked, time.monotonic()
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics")
                page = connection.getresponse().read().decode()
            if any(_is_down(line[0]) for line in down.finditer(page)):
                return before
            time.sleep(NAP)
        raise TimeoutError(f"{name} does not go down")


def ask(port: int, key: str, model: str) -> None:
    """One request on a connection of its own, whatever comes of it."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", chat_body(model, 20), headers)
        connection.getresponse().read()


def _is_down(line: str) -> bool:
    """Whether a line of the metrics says that the key is out, or one of its models."""
    value = float(line.rpartition(" ")[2])
    return value == 0 if "key_up{" in line else 'state="open"' in line and value > 0


def measured(rounds: int) -> tuple[list[Heard], dict[bool, list[float]]]:
    """All rounds: the alerts, and how long the third provider's good answers took, without and
    with a webhook that hangs."""
    heard: list[Heard] = []
    took: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        hanging = number % 2 == 1
        with tempfile.TemporaryDirectory(prefix="relayd-alerts-") as name, ExitStack() as stack:
            one = Round(Path(name), stack, hanging=hanging)
            heard += one.measure()
            took[hanging] += one.load["third"].took
    return heard, took


def table(heard: list[Heard]) -> Table:
    """The figures, for people."""
    drawn = Table(
        "a provider", "times", "opens after", "least", "median", "most until the webhook hears"
    )
    for what in dict.fromkeys(one.what for one in heard):
        of_it = [one for one in heard if one.what == what]
        opened, arrived = [one.opened for one in of_it], [one.arrived for one in of_it]
        figures = [median(opened), min(arrived), median(arrived), max(arrived)]
        drawn.add_row(what, str(len(of_it)), *(f"{seconds:.2f} s" for seconds in figures))
    return drawn


def main() -> int:
    """Measure and print; 1 where the goal is missed."""
    asked = argparse.ArgumentParser(prog="benchmarks.alerts", description=__doc__)
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    heard, took = measured(asked.parse_args().rounds)
    known, console = describe(), Console(width=120)
    console.print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    console.print(table(heard))
    for hanging, times in took.items():
        if times:
            beside = "with a webhook that hangs" if hanging else "without"
            spread = f"median {median(times) * 1e3:.1f} ms, p99 {percentile(times, 0.99) * 1e3:.1f}"
            console.print(f"small replies meanwhile, {beside}: {len(times)}, {spread} ms")
    most = max(one.arrived for one in heard)
    console.print(f"the latest alert: {most:.2f} s after the opening (at most {GOAL:g})")
    return int(most > GOAL)


if __name__ == "__main__":
    sys.exit(main())
