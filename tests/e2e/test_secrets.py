"""Whatever fails: no key, no token and no word of a prompt in the log, the database or the metrics.

One daemon with everything switched on that writes anything but captures, at level DEBUG, asked for
every misbehaviour that the demo provider has, in every format, and for what no provider ever sees;
beside it an upstream that repeats in its errors all that it was sent, prompt and key. Then all that
the daemon wrote is searched.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from relayd.demo.names import MISBEHAVIOURS
from tests.demo.serving import Serving
from tests.support import forms
from tests.support.answering import AnsweringUpstream
from tests.support.kept_log import METRICS_TOKEN, Watched
from tests.support.scripted_upstream import Asked, chunk, reply, stream_head
from tests.support.sessions import MASK, frame, knock, opened
from tests.support.speech import SPEECHES

UPSTREAM_KEY = "sk-upstream-5ecretpr0vider"
ADMIN_TOKEN = "adm1n-t0ken-of-the-operator"
HOOK = "h00k-t0ken"
PROMPT = "the butler hid the emerald"
# They never end, or take long to say nothing new.
SAID = orjson.dumps(PROMPT)
SLOW = ("demo-stall", "demo-slow-first-byte", "demo-huge-event", "demo-stale")
CONFIG = """\
demo: "off"
logs: {{format: json, level: debug}}
admin: {{token: {admin}}}
alerts: {{webhooks: [{{url: "http://127.0.0.1:9/{hook}"}}]}}
routing: {{retries: {{attempts: 2}}, breaker: {{consecutive: 8, volume: 50, open_for: 20ms}}}}
upstreams:
  one: {{dialect: demo, base_url: "{url}", key: {key}, models: ["demo*"], weight: 1000000}}
  uno: {{dialect: demo, base_url: "{url}", key: {key}, models: ["demo*"], weight: 1000000}}
  two: {{dialect: demo, base_url: "{url}", key: {key}-2, models: ["demo*"]}}
  echo: {{dialect: relay, base_url: "{echo}", keys: [{key}-3, {key}-4], models: ["echo*"]}}
"""
# How the echo answers, by what the model is called.
STATUSES = [f"echo-{status}" for status in (200, 400, 404, 422, 429, 500, 503)]
BREAKING = ["echo-in-stream", "echo-first", "echo-cut", "echo-not-json"]
REFUSING = ["echo-403", "echo-401"]  # last: then the key is out


def echo(asked: Asked) -> bytes:
    """All that was asked, in the message of an error: also what a terminal would obey."""
    said = f"\x1b[31m\n{asked.headers} {asked.body.decode('latin-1')}"
    error = orjson.dumps({"error": {"message": said, "type": "server_error", "code": said[:100]}})
    model = re.search(rb"echo[-a-z0-9]*", asked.path.encode() + asked.body)
    kind = model[0].decode() if model else ""
    event = b"data: " + error + b"\n\n"
    if kind == "echo-in-stream":
        first = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
        return stream_head() + chunk(first + event) + b"0\r\n\r\n"
    if kind == "echo-first":
        return stream_head() + chunk(event) + b"0\r\n\r\n"
    if kind == "echo-cut":
        return stream_head() + chunk(event[: len(event) // 2]) + b"zz"
    if kind == "echo-not-json":
        return reply(said.encode())
    return reply(error, status=f"{kind.rpartition('-')[2] or 200} X")


@pytest.fixture(scope="module")
def provider() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop, key=UPSTREAM_KEY)
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def parrot() -> Iterator[AnsweringUpstream]:
    upstream = AnsweringUpstream(echo)
    yield upstream
    upstream.close()


def misbehaviours(relay: Watched) -> None:
    """All that the demo provider can do wrong."""
    for model in MISBEHAVIOURS:
        if model.startswith(SLOW):
            continue
        for speech in SPEECHES.values():
            for stream in (False, True):
                path, body = speech.ask(model, stream=stream)
                relay.send(path, body.replace(b'"Hi"', SAID))


def echoes(relay: Watched) -> None:
    """All ways to repeat what was said, until breakers open and nobody serves the model."""
    for model in STATUSES + BREAKING + REFUSING:
        for speech in SPEECHES.values():
            for stream in (False, True):
                path, body = speech.ask(model, stream=stream)
                relay.send(path, body.replace(b'"Hi"', SAID))


def mistakes(relay: Watched) -> None:
    """What no provider ever sees."""
    path, body = SPEECHES["chat"].ask("demo")
    said = body.replace(b'"Hi"', SAID)
    relay.send(path, said[:-5])  # broken
    relay.send(path, said.replace(b'"demo"', b"17"))
    relay.send(path, said.replace(b'"demo"', orjson.dumps(relay.key)))
    relay.send(path, said, {"Authorization": f"Bearer {relay.key}x"})
    relay.send(path, said, {"Content-Encoding": "gzip"})
    relay.send(path, said, {"Expect": "nonsense", "Cookie": relay.key})
    relay.send("/no/such/route?key=" + relay.key, said)
    relay.send(f"/v1beta/models/demo:nonsense?key={relay.key}", said)
    relay.send(f"/v1beta/models/demo-500:generateContent?key={relay.key}", said)
    relay.send(f"/v1beta/models/{relay.key}:generateContent", said)
    relay.send(f"/v1/{relay.key}/chat/completions", said)
    relay.send("/admin/api/keys", said, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    relay.send("/admin/api/keys", said, {"Authorization": f"Bearer {ADMIN_TOKEN}x"})
    relay.send(f"/admin/api/keys/{relay.key}", b"", {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    with relay.connect() as client:
        client.send(b"%s %s\r\n\r\n" % (relay.key.encode(), SAID))
        client.read_all()


def other_kinds(relay: Watched) -> None:
    """Pictures, uploads, what is there already, sessions: asked for, and asked for wrongly."""
    for model in ("demo-image", "echo-500", "demo-500"):
        words = orjson.dumps({"model": model, "prompt": PROMPT, "input": PROMPT})
        for path in ("images/generations", "embeddings", "audio/speech", "moderations", "rerank"):
            relay.send(f"/v1/{path}", words)
        file = [forms.model(model), forms.audio(SAID), forms.Part("prompt", SAID)]
        for path in ("audio/transcriptions", "images/edits"):
            relay.send(f"/v1/{path}", forms.form(*file), forms.HEADERS)
            relay.send(f"/v1/{path}", forms.form(*file)[:-20], forms.HEADERS)
    for path in (f"responses/{relay.key}", f"responses/resp_1/cancel?key={relay.key}"):
        relay.send(f"/v1/{path}", b"")
    follows = {"model": "demo", "input": PROMPT, "previous_response_id": relay.key}
    relay.send("/v1/responses", orjson.dumps(follows))
    session: Any = relay
    knock(session, "/v1/realtime?model=echo-500")
    knock(session, f"/v1/realtime?model=demo&key={relay.key}x", {"Authorization": None})
    secret = f"realtime, openai-insecure-api-key.{relay.key}"
    knock(session, "/v1/realtime?model=nobody", {"Sec-WebSocket-Protocol": secret})
    for message in (SAID, b'{"type":"response.create","x":%b' % SAID, relay.key.encode()):
        with opened(session) as client:
            client.send(frame(1, message, mask=MASK))
            client.send(frame(1, b"\xff" + SAID, mask=MASK))


def test_nothing_that_is_written_holds_a_secret(
    tmp_path: Path, provider: Serving, parrot: AnsweringUpstream
) -> None:
    config = CONFIG.format(
        url=provider.url, echo=parrot.url, key=UPSTREAM_KEY, admin=ADMIN_TOKEN, hook=HOOK
    )
    with Watched(tmp_path, config) as relay:
        for ask in (misbehaviours, echoes, mistakes, other_kinds):
            ask(relay)
        page = relay.page()
        assert relay.stop() == 0
    assert any(SAID in request.body for request in provider.provider.seen)
    assert any(SAID in request.body for request in parrot.asked)
    written = {**relay.written(), "/metrics": page}
    log = written["log"]
    assert log.count(b"\n") > 300 and not (tmp_path / "captures").exists()
    for words in (b"demo-500", b"echo-500: breaker opens", b"is taken out", b"no upstream serves"):
        assert words in log
    secrets = (relay.key, UPSTREAM_KEY, ADMIN_TOKEN, METRICS_TOKEN, HOOK, PROMPT, "emerald")
    found = [
        (name, secret)
        for name, data in written.items()
        for secret in secrets
        if secret.encode() in data
    ]
    assert found == []
    assert all(line.isprintable() for line in log.decode().splitlines())
