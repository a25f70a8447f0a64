"""A real Prometheus that scrapes a real daemon; skipped where there is none."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.speech import FORMATS, SPEECHES

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".prometheus" / "usr" / "bin"
RULES = ROOT / "grafana" / "prometheus" / "rules.yml"
ABSENT = "no Prometheus here: `.ci/prometheus` fetches one"
PATIENCE = 60.0
DAEMON = """\
demo: "on"
prices: {demo*: {input: 3, output: 15}}
routing: {retries: {attempts: 2}}
upstreams:
  dead: {dialect: relay, base_url: "http://127.0.0.1:9", keys: [one-key, another], models: [dead]}
"""
PROMETHEUS = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: relayd
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Here something is: Prometheus keeps its connection."""


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Where a program of Prometheus' is."""

    def find(name: str) -> str:
        found = shutil.which(name, path=str(UNPACKED)) or shutil.which(name)
        if found is None:
            pytest.skip(ABSENT)
        return found

    return find


class Prometheus:
    """A server that scrapes one target every second. Owns its process."""

    def __init__(self, program: str, folder: Path, target: str) -> None:
        config = folder / "prometheus.yml"
        config.write_text(PROMETHEUS.format(rules=RULES, target=target))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address: tuple[str, int] = free.getsockname()[:2]
        listen = f"127.0.0.1:{self._address[1]}"
        self._log = (folder / "prometheus.log").open("w+b")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={listen}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def get(self, path: str, **query: str) -> Any:
        """The data of a page of its API."""
        with RawClient(self._address) as client:
            client.send(request_bytes(f"/api/v1/{path}?{urlencode(query)}", b"", method="GET"))
            reply = orjson.loads(client.reply().body)
        assert reply["status"] == "success", reply
        return reply["data"]

    def ask(self, expr: str) -> list[Any]:
        """What a query finds now."""
        found = self.get("query", query=expr)["result"]
        return list(found)

    def is_scraping(self) -> bool:
        """Whether it has seen the target often enough for rates."""
        try:
            return any(
                float(one["value"][1]) > 4 for one in self.ask("sum(count_over_time(up[1m]))")
            )
        except OSError:  # it is still starting
            return False


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(DAEMON)


@pytest.fixture(scope="module")
def prometheus(
    relay: Running, tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """One that has seen the daemon at work."""
    host, port = relay.address
    server = Prometheus(tool("prometheus"), tmp_path_factory.mktemp("prometheus"), f"{host}:{port}")
    try:
        customer = Customer(relay, credit="5")
        relay.wait_for(lambda: work(customer) and server.is_scraping(), PATIENCE)
        yield server
    finally:
        server.stop()


def work(customer: Customer) -> bool:
    """Some of everything that clients do, and that goes wrong."""
    for name in FORMATS:
        for stream in (False, True):
            customer.ask(SPEECHES[name], "demo", stream=stream)
            customer.ask(SPEECHES[name], "demo-500", stream=stream)
    customer.ask(SPEECHES["chat"], "dead")
    return True
