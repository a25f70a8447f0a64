"""Captures of a whole daemon: of the keys that are named, and of nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from relayd.realtime.noting import Minutes, Side
from relayd.realtime.tunnel import STEP
from relayd.relay.filing import SUFFIX
from tests.conftest import Daemons
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.sessions import MASK, Talk, close, frame, opened

CONFIG = 'demo: "on"\ncapture: {keys: [%s], largest: 4KiB}\n'
PATHS = ["/v1/chat/completions", "/v1/messages"]


def body(model: str = "demo", *, stream: bool = False) -> bytes:
    turns = [{"role": "user", "content": "what was said"}]
    return orjson.dumps({"model": model, "max_tokens": 50, "messages": turns, "stream": stream})


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG % "test")


def captured(relay: Running, request_id: str) -> dict[str, Any]:
    path = relay.config_path.parent / "captures" / f"{request_id}{SUFFIX}"
    assert relay.wait_for(path.exists)
    found: dict[str, Any] = relay.wait_for(lambda: _read(path))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:  # it is just being written
        return {}
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_both_sides_of_a_request_are_kept(relay: Running, path: str, stream: bool) -> None:
    asked = body(stream=stream)
    reply = relay.ask(path, asked)
    kept = captured(relay, reply.headers["x-request-id"])
    assert kept["request"] == {"bytes": len(asked), "text": asked.decode()}
    assert kept["reply"]["text"].encode() == reply.body[: len(kept["reply"]["text"].encode())]
    assert kept["reply"]["bytes"] == len(reply.body)
    assert (kept["status"], kept["outcome"], kept["model"]) == (200, "ok", "demo")
    assert relay.key not in orjson.dumps(kept).decode()


def test_failures_are_kept_with_what_the_client_was_told(relay: Running) -> None:
    reply = relay.ask("/v1/chat/completions", body("demo-500"))
    kept = captured(relay, reply.headers["x-request-id"])
    assert (kept["status"], kept["error"]) == (reply.status, "upstream_500")
    assert kept["reply"]["text"].encode() == reply.body


def test_what_is_long_is_cut(relay: Running) -> None:
    turns = [{"role": "user", "content": "x" * 8000}]
    asked = orjson.dumps({"model": "demo", "messages": turns})
    reply = relay.ask("/v1/chat/completions", asked)
    kept = captured(relay, reply.headers["x-request-id"])["request"]
    assert (kept["bytes"], kept["cut_at"], len(kept["text"])) == (len(asked), 4096, 4096)


def test_nobody_elses_requests_are_kept(start: Daemons) -> None:
    relay = start(CONFIG % "another")
    assert relay.ask("/v1/chat/completions", body()).status == 200
    assert not (relay.config_path.parent / "captures").exists()


def test_a_session_is_kept_as_the_messages_of_both_sides(relay: Running) -> None:
    with Talk(relay) as talk:
        talk.respond("said in a session")
    kept = captured(relay, talk.request_id)
    assert (kept["verb"], kept["status"], kept["outcome"]) == ("realtime", 101, "ok")
    assert (kept["ended_by"], kept["close"]) == ("client", 1000)
    first = next(line for line in kept["messages"] if line["from"] == "client")
    assert "said in a session" in first["text"]
    assert {line["from"] for line in kept["messages"]} == {"client", "upstream"}
    assert relay.key not in orjson.dumps(kept).decode()


def test_a_reload_begins_it_and_ends_it(start: Daemons) -> None:
    relay = start(CONFIG % "another")
    folder = relay.config_path.parent / "captures"
    usual = relay.config_path.read_text()
    relay.config_path.write_text(usual.replace("another", "test"))
    relay.call(relay.daemon.reload)
    captured(relay, relay.ask("/v1/chat/completions", body()).headers["x-request-id"])
    relay.config_path.write_text(usual)
    relay.call(relay.daemon.reload)
    assert relay.ask("/v1/chat/completions", body()).status == 200
    with Talk(relay) as talk:
        talk.respond()
    relay.wait_until_quiet()
    assert not relay.daemon.captures._waiting and len(list(folder.iterdir())) == 1


def test_a_session_is_heard_no_faster_than_its_frames_may_pass(
    start: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start('demo: "on"\ncapture: {keys: [test], largest: 8MiB}\n')
    steps: list[int] = []
    real = Minutes.hear

    def hear(self: Minutes, side: Side, data: bytes, now: float, most: int = 0) -> None:
        real(self, side, data, now, most)
        frames = self._sides[side]
        steps.append(0 if frames is None else frames.frames)

    monkeypatch.setattr(Minutes, "hear", hear)
    with opened(relay) as client:
        client.send(frame(1, b"{}", mask=MASK) * 5000 + close(1000, mask=MASK))
        client.read_all()
    relay.wait_until_quiet()
    [path] = relay.wait_for(lambda: list((relay.config_path.parent / "captures").glob("*")))
    lines = relay.wait_for(lambda: _read(path))["messages"]
    assert max(steps) <= STEP
    assert sum(line.get("text") == "{}" for line in lines) == 5000


def size(path: Path) -> int:
    """Of a file, which may just have been removed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_under_load_the_folder_stays_within_its_bound(start: Daemons) -> None:
    relay = start('demo: "on"\ncapture: {keys: [test], total: 1MiB}\n')
    folder = relay.config_path.parent / "captures"
    turns = [{"role": "user", "content": "x" * 50_000}]
    asked = request_bytes(
        "/v1/chat/completions", orjson.dumps({"model": "demo", "messages": turns}), relay.auth
    )
    most = 0
    with relay.connect() as client:
        for _ in range(60):
            client.send(asked)
            assert client.reply().status == 200
            most = max(most, sum(map(size, folder.glob("*"))))
    captures = relay.daemon.captures
    assert relay.wait_for(lambda: captures.kept + captures.lost == 60)
    assert 2**19 < most <= 2**20
    assert captures.kept > 20


def test_a_folder_that_cannot_be_written_costs_no_request(start: Daemons) -> None:
    relay = start(CONFIG % "test")
    (relay.config_path.parent / "captures").write_text("a file stands in the way")
    for _ in range(3):
        assert relay.ask("/v1/chat/completions", body()).status == 200
    assert relay.wait_for(lambda: relay.daemon.captures.lost == 3)
