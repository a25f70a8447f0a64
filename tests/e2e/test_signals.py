"""A daemon as a process: SIGTERM drains, a second one cuts, SIGHUP reloads, keys made beside it
work."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from benchmarks.processes import free_port
from tests.support.commands import Commands
from tests.support.process import Process, command, refuses
from tests.support.raw_client import RawClient, request_bytes
from tests.support.scripted_upstream import LAST_CHUNK, ScriptedUpstream, chunk, reply, stream_head
from tests.support.speech import SPEECHES

CONFIG = """\
listen: "127.0.0.1:{port}"
demo: "off"
drain_timeout: {drain}
keys_poll_interval: 50ms
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: [{models}]}}
"""
CHAT = SPEECHES["chat"]


class Served:
    """One `relayd serve` in a folder of its own, with a key."""

    def __init__(self, folder: Path, upstream: ScriptedUpstream, drain: str = "5s") -> None:
        self._upstream = upstream
        self._drain = drain
        self.config = folder / "config.yaml"
        self.database = folder / "relayd.db"
        self.port = free_port()
        self.write("first")
        self.key = Commands(self.database).json("key", "create", "tester")["secret"]
        self.process = Process("serve", "--config", str(self.config))
        self.process.logged("listens on")

    def write(self, models: str) -> None:
        """Write the configuration with these models."""
        self.config.write_text(
            CONFIG.format(port=self.port, drain=self._drain, url=self._upstream.url, models=models)
        )

    def make_key(self, name: str) -> str:
        """Create a key by a process of its own."""
        made = command("key", "create", name, "--database", str(self.database), "--json")
        assert made.returncode == 0, made.stderr
        found = orjson.loads(made.stdout)
        secret = found.get("secret") or found.get("key")
        assert isinstance(secret, str)
        assert secret.startswith("sk-relayd-")
        return secret

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def ask(self, model: str, key: str = "", *, stream: bool = False) -> RawClient:
        """A request under way."""
        path, body = CHAT.ask(model, stream=stream)
        client = RawClient(self.address)
        client.send(request_bytes(path, body, {"Authorization": f"Bearer {key or self.key}"}))
        return client

    def status(self, model: str, key: str = "") -> int:
        """The status of a whole request."""
        with self.ask(model, key) as client:
            return client.reply().status

    def outcomes(self) -> list[str]:
        """What the usage log says, once the process is gone or has flushed."""
        with sqlite3.connect(self.database) as db:
            rows = db.execute("SELECT outcome FROM usage ORDER BY started_at").fetchall()
        db.close()
        return [row[0] for row in rows]


@pytest.fixture
def serve(tmp_path: Path, upstream: ScriptedUpstream) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(drain: str = "5s") -> Served:
        started.append(Served(tmp_path, upstream, drain))
        return started[-1]

    yield start
    for served in started:
        with served.process:
            pass


def eventually(condition: Callable[[], bool], within: float) -> bool:
    end = time.monotonic() + within
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_sigterm_lets_a_stream_finish_and_exits_0(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve()
    client = served.ask("first", stream=True)
    peer = upstream.accept()
    peer.read_request()
    peer.send(stream_head() + chunk(CHAT.opening))
    client.read_until(CHAT.opening)

    served.process.signal(signal.SIGTERM)
    assert refuses(served.address)
    assert served.process.running
    peer.send(chunk(CHAT.ending) + LAST_CHUNK)
    client.read_until(CHAT.ending)
    client.close()
    assert served.process.exit_code() == 0
    assert served.outcomes() == ["ok"]


def test_a_second_sigterm_cuts_what_is_still_in_flight(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve("60s")
    with served.ask("first", stream=True) as client:
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(CHAT.opening))
        client.read_until(CHAT.opening)
        served.process.signal(signal.SIGTERM)
        assert refuses(served.address)
        served.process.signal(signal.SIGTERM)
        assert served.process.exit_code(5.0) == 0
        client.read_all()
    assert peer.hung_up()
    assert len(served.outcomes()) == 1


def test_the_drain_timeout_ends_the_waiting(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve("200ms")
    with served.ask("first", stream=True):
        peer = upstream.accept()
        peer.read_request()
        served.process.signal(signal.SIGTERM)
        assert served.process.exit_code() == 0
    assert len(served.outcomes()) == 1


def test_an_idle_daemon_stops_at_once_even_with_idle_connections(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve("60s")
    upstream.answer_with(reply(CHAT.reply), then=lambda peer: None)
    with served.ask("first") as client:
        assert client.reply().status == 200
        served.process.signal(signal.SIGINT)
        assert served.process.exit_code() == 0  # long before the drain timeout
        assert client.ended()
    assert served.outcomes() == ["ok"]


def test_sighup_takes_a_good_config_and_keeps_the_old_one_over_a_bad_one(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve()
    assert served.status("second") == 404

    served.write("second")
    served.process.signal(signal.SIGHUP)
    served.process.logged("reloaded")
    upstream.answer_with(reply(CHAT.reply))
    assert served.status("second") == 200
    assert served.status("first") == 404

    served.config.write_text("listen: 5\nno_such_line: yes\nupstreams: 7\n")
    served.process.signal(signal.SIGHUP)
    assert "no_such_line" in served.process.logged("refused") + served.process.logged(
        "no_such_line"
    )
    upstream.answer_with(reply(CHAT.reply))
    assert served.status("second") == 200


def test_a_reload_drops_no_request_in_flight(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve()
    with served.ask("first", stream=True) as client:
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(CHAT.opening))
        client.read_until(CHAT.opening)
        served.write("second")
        served.process.signal(signal.SIGHUP)
        served.process.logged("reloaded")
        peer.send(chunk(CHAT.ending) + LAST_CHUNK)
        client.read_until(CHAT.ending)


def test_keys_made_and_disabled_beside_a_running_daemon_count_within_a_second(
    serve: Callable[..., Served], upstream: ScriptedUpstream
) -> None:
    served = serve()
    key = served.make_key("late")
    # An unknown model is a 404 to those who have a key, and a 401 to those who have none.
    assert eventually(lambda: served.status("nothing", key) == 404, 1.0)

    disabled = command("key", "disable", "late", "--database", str(served.database))
    assert disabled.returncode == 0, disabled.stderr
    assert eventually(lambda: served.status("nothing", key) == 401, 1.0)


def test_an_address_in_use_is_said_in_one_line(serve: Callable[..., Served]) -> None:
    served = serve()
    again = command("serve", "--config", str(served.config))
    assert again.returncode == 1
    assert "Traceback" not in again.stderr
    assert "cannot start" in again.stderr
