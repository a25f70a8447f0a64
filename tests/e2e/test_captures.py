"""Captures of a whole daemon: of the keys that are named, and of nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from relayd.relay.capture import SUFFIX
from tests.conftest import Daemons
from tests.support.running import Running

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
