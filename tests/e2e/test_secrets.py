"""Whatever fails: no key, no token and no word of a prompt in the log, the database or the metrics.

One daemon with everything switched on that writes anything, asked for every misbehaviour that the
demo provider has, in every format, and for what no provider ever sees. Then all that it wrote is
searched.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from relayd.demo.names import MISBEHAVIOURS
from tests.demo.serving import Serving
from tests.e2e.test_signals import free_port
from tests.support.process import PATIENCE, command, environment
from tests.support.raw_client import RawClient, request_bytes
from tests.support.speech import SPEECHES

UPSTREAM_KEY = "sk-upstream-5ecretpr0vider"
ADMIN_TOKEN = "adm1n-t0ken-of-the-operator"
METRICS_TOKEN = "metr1cs-t0ken-of-the-operator"
HOOK = "h00k-t0ken"
PROMPT = "the butler hid the emerald"
# They never end, or take long to say nothing new.
SAID = orjson.dumps(PROMPT)
SLOW = ("demo-stall", "demo-slow-first-byte", "demo-huge-event", "demo-stale")
CONFIG = """\
listen: "127.0.0.1:{port}"
demo: "off"
keys_poll_interval: 50ms
logs: {{format: json, level: debug}}
metrics: {{token: {metrics}}}
admin: {{token: {admin}}}
alerts: {{webhooks: [{{url: "http://127.0.0.1:9/{hook}"}}]}}
routing: {{retries: {{attempts: 2}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
  one: {{dialect: demo, base_url: "{url}", key: {key}, models: ["*"], weight: 1000000}}
  two: {{dialect: demo, base_url: "{url}", key: {key}-2, models: ["*"]}}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop, key=UPSTREAM_KEY)
    yield serving
    serving.stop()


class Watched:
    """A `relayd serve` whose every word is kept."""

    def __init__(self, folder: Path, provider: Serving) -> None:
        self.folder = folder
        self.port = free_port()
        config = folder / "config.yaml"
        config.write_text(
            CONFIG.format(
                port=self.port,
                url=provider.url,
                key=UPSTREAM_KEY,
                admin=ADMIN_TOKEN,
                metrics=METRICS_TOKEN,
                hook=HOOK,
            )
        )
        made = command("key", "create", "k", "--database", str(folder / "relayd.db"), "--json")
        self.key: str = orjson.loads(made.stdout)["secret"]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relayd", "serve", "--config", str(config)],
            stdout=self._log,
            stderr=self._log,
            env=environment(),
        )

    def stop(self) -> None:
        """End it, with all that it has to say."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        self._log.close()

    def send(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """One request, to whatever end it comes."""
        told = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        with RawClient(("127.0.0.1", self.port)) as client:
            client.send(request_bytes(path, body, told))
            with contextlib.suppress(OSError, AssertionError, EOFError):
                client.reply()

    def is_up(self) -> bool:
        """Whether it listens."""
        try:
            RawClient(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def page(self) -> bytes:
        """Its metrics."""
        with RawClient(("127.0.0.1", self.port)) as client:
            told = {"Authorization": f"Bearer {METRICS_TOKEN}"}
            client.send(request_bytes("/metrics", b"", told, method="GET"))
            return client.reply().body

    def written(self) -> dict[str, bytes]:
        """All files that it has written."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files if path.name != "config.yaml"}


def everything(relay: Watched) -> None:
    """Ask for all that can go wrong."""
    for model in MISBEHAVIOURS:
        if model.startswith(SLOW):
            continue
        for speech in SPEECHES.values():
            for stream in (False, True):
                path, body = speech.ask(model, stream=stream)
                relay.send(path, body.replace(b'"Hi"', SAID))
    path, body = SPEECHES["chat"].ask("demo")
    said = body.replace(b'"Hi"', SAID)
    relay.send(path, said[:-5])  # broken
    relay.send(path, said.replace(b'"demo"', b"17"))
    relay.send(path, said, {"Authorization": f"Bearer {relay.key}x"})
    relay.send(path, said, {"Content-Encoding": "gzip"})
    relay.send(path, said, {"Expect": "nonsense", "Cookie": relay.key})
    relay.send("/no/such/route?key=" + relay.key, said)
    relay.send(f"/v1beta/models/demo:nonsense?key={relay.key}", said)
    relay.send(f"/v1beta/models/demo-500:generateContent?key={relay.key}", said)
    relay.send(f"/v1/{relay.key}/chat/completions", said)
    relay.send("/admin/api/keys", said, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    relay.send("/admin/api/keys", said, {"Authorization": f"Bearer {ADMIN_TOKEN}x"})
    with RawClient(("127.0.0.1", relay.port)) as client:
        client.send(b"%s %s\r\n\r\n" % (relay.key.encode(), SAID))
        client.read_all()


def test_nothing_that_is_written_holds_a_secret(tmp_path: Path, provider: Serving) -> None:
    relay = Watched(tmp_path, provider)
    try:
        end = time.monotonic() + PATIENCE
        while not relay.is_up() and time.monotonic() < end:
            time.sleep(0.02)
        everything(relay)
        page = relay.page()
    finally:
        relay.stop()
    assert any(SAID in request.body for request in provider.provider.seen)
    written = {**relay.written(), "/metrics": page}
    assert written["log"].count(b"\n") > 100 and b"demo-500" in written["log"]
    secrets = (relay.key, UPSTREAM_KEY, ADMIN_TOKEN, METRICS_TOKEN, HOOK, PROMPT, "emerald")
    found = [
        (name, secret)
        for name, data in written.items()
        for secret in secrets
        if secret.encode() in data
    ]
    assert found == []
