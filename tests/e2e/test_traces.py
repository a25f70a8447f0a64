"""Traces of a whole daemon, as a receiver gets them: what each kind of request says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.demo.serving import Serving
from tests.support.forms import HEADERS, audio, form, model
from tests.support.running import Running
from tests.support.sessions import Talk, knock

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from relayd import shipping
from tests.support.collector import Collector, collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SAID = [{"role": "user", "content": "a prompt that nobody else may see"}]
PARTS = {"contents": [{"role": "user", "parts": [{"text": "nobody else may see"}]}]}
CONFIG = """\
demo: "off"
routing: {{retries: {{attempts: 2}}}}
tracing: {{endpoint: "{collector}"}}
upstreams:
  bad: {{dialect: demo, base_url: "{url}", key: demo-key, models: {{demo: demo-500}}}}
  good: {{dialect: demo, base_url: "{url}", key: demo-key, models: [demo, demo-404], tier: 2}}
"""
ALL_KINDS = """\
demo: "off"
tracing: {{endpoint: "{collector}"}}
upstreams:
  one: {{dialect: demo, base_url: "{url}", key: demo-key, models: ["*"], passthrough: [/v1/files]}}
"""
# What is asked, the name of its span, and what it makes, where that is no text.
KINDS: list[tuple[str, Any, str, str | None]] = [
    ("/v1/chat/completions", {"messages": SAID}, "chat demo", None),
    ("/v1/completions", {"prompt": "x"}, "text_completion demo", None),
    ("/v1/messages", {"messages": SAID, "max_tokens": 9}, "chat demo", None),
    ("/v1/messages/count_tokens", {"messages": SAID}, "count_tokens demo", None),
    ("/v1beta/models/demo:generateContent", PARTS, "generate_content demo", None),
    ("/v1/embeddings", {"input": "x"}, "embeddings demo", None),
    ("/v1/images/generations", {"prompt": "a cat"}, "generate_content demo", "image"),
    ("/v1/audio/speech", {"input": "hi", "voice": "alloy"}, "generate_content demo", "speech"),
    ("/v1/audio/transcriptions", None, "transcribe demo", "text"),
    ("/v1/moderations", {"input": "x"}, "moderate demo", None),
    ("/v1/rerank", {"query": "x", "documents": ["a", "b"]}, "rerank demo", None),
]


@pytest.fixture
def provider() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop, key="demo-key")
    yield serving
    serving.stop()


def ask(relay: Running, model: str, *, stream: bool = False, **headers: str) -> int:
    body = {
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": "a prompt that nobody else may see"}],
    }
    return relay.ask("/v1/chat/completions", orjson.dumps(body), headers).status


def followed(relay: Running) -> int:
    """A request of a client that traces as well."""
    return ask(relay, "demo", traceparent=PARENT)


def traced(
    folder: Path,
    provider: Serving,
    *requests: Callable[[Running], object],
    config: str = CONFIG,
) -> Collector:
    """What a receiver has after a daemon served these requests, and ended."""
    with collector() as kept:
        relay = Running(folder, config.format(collector=kept.url, url=provider.url))
        try:
            for request in requests:
                request(relay)
        finally:
            relay.stop()
    assert b"nobody else may see" not in kept.raw
    assert relay.key.encode() not in kept.raw and b"demo-key" not in kept.raw
    return kept


def test_each_attempt_is_a_span_within_the_requests(tmp_path: Path, provider: Serving) -> None:
    kept = traced(tmp_path, provider, followed)
    [server] = [span for span in kept.spans if span.kind == 2]
    first, second = [span for span in kept.spans if span.kind == 3]
    assert {span.trace_id for span in kept.spans} == {TRACE}
    assert {first.parent_id, second.parent_id} == {server.span_id}
    assert (first.error, second.error, server.error) == (True, False, False)
    assert first.attributes["relayd.upstream"] == "bad"
    assert second.attributes["relayd.upstream"] == server.attributes["relayd.upstream"] == "good"
    assert server.attributes["relayd.attempts"] == 2
    assert second.attributes["http.request.resend_count"] == 1
    assert server.attributes["relayd.key"] == "test"
    assert server.attributes["gen_ai.usage.output_tokens"]


def test_each_upstream_is_told_which_attempt_it_works_for(
    tmp_path: Path, provider: Serving
) -> None:
    kept = traced(tmp_path, provider, followed)
    told = [request.headers["traceparent"] for request in provider.provider.seen]
    spans = [span.span_id for span in kept.spans if span.kind == 3]
    assert told == [f"00-{TRACE}-{span}-01" for span in spans]


def test_streams_and_refusals_are_traced_too(tmp_path: Path, provider: Serving) -> None:
    kept = traced(
        tmp_path,
        provider,
        lambda relay: ask(relay, "demo", stream=True),
        lambda relay: ask(relay, "unknown"),
    )
    stream, refused = [span for span in kept.spans if span.kind == 2]
    assert stream.attributes["gen_ai.request.stream"] is True
    assert isinstance(stream.attributes["gen_ai.response.time_to_first_chunk"], float)
    assert refused.attributes["http.response.status_code"] == 404
    assert refused.attributes["error.type"] == "model_not_found"


def ask_all(relay: Running) -> None:
    """One request of each kind, and one for what such a request has made."""
    for path, document, _, _ in KINDS:
        if document is None:
            body, headers = form(model("demo"), audio(b"sound")), HEADERS
        else:
            body, headers = orjson.dumps({"model": "demo", **document}), {}
        assert relay.ask(path, body, headers).status == 200, path
    made = relay.ask("/v1/responses", orjson.dumps({"model": "demo", "input": "x"}))
    assert relay.ask(f"/v1/responses/{orjson.loads(made.body)['id']}", method="GET").status == 200
    relay.ask("/v1/files", method="GET")


def test_every_kind_of_request_has_a_span_and_one_for_its_upstream(
    tmp_path: Path, provider: Serving
) -> None:
    kept = traced(tmp_path, provider, ask_all, config=ALL_KINDS)
    server = [span for span in kept.spans if span.kind == 2]
    client = {span.parent_id: span for span in kept.spans if span.kind == 3}
    said = [(span.name, span.attributes.get("gen_ai.output.type")) for span in server]
    assert said[: len(KINDS)] == [(name, makes) for _, _, name, makes in KINDS]
    assert [name for name, _ in said[len(KINDS) :]] == ["chat demo", "follow_up demo", "other"]
    for span in server:
        attempt = client[span.span_id]
        assert attempt.attributes["server.address"] == "127.0.0.1"
        assert attempt.name.partition(" ")[0] == span.name.partition(" ")[0]
        assert span.attributes["http.request.method"] in ("GET", "POST")
        assert span.attributes["relayd.operation"] and span.attributes["relayd.request_id"]


def talk(relay: Running) -> None:
    with Talk(relay, "demo", headers={"traceparent": PARENT}) as session:
        session.respond()
        session.respond()


def test_a_session_is_a_span_with_its_handshake_and_its_responses(
    tmp_path: Path, provider: Serving
) -> None:
    kept = traced(tmp_path, provider, talk, config=ALL_KINDS)
    [session] = [span for span in kept.spans if span.kind == 2]
    handshake, first, second = [span for span in kept.spans if span.kind == 3]
    assert session.name == "realtime demo" and session.trace_id == TRACE
    assert session.attributes["http.response.status_code"] == 101
    assert session.attributes["relayd.outcome"] == "ok"
    assert handshake.attributes["http.response.status_code"] == 101
    for response in (first, second):
        assert response.parent_id == session.span_id
        assert response.attributes["gen_ai.usage.output_tokens"]
        assert response.attributes["relayd.upstream"] == "one"
    told = [request.headers.get("traceparent") for request in provider.provider.seen]
    assert told == [f"00-{TRACE}-{handshake.span_id}-01"]


def test_a_session_that_is_refused_is_a_span_too(tmp_path: Path, provider: Serving) -> None:
    kept = traced(
        tmp_path,
        provider,
        lambda relay: knock(relay, headers={"Authorization": "Bearer wrong"}),
        lambda relay: knock(relay, "/v1/realtime?model=demo-429"),
        config=ALL_KINDS,
    )
    stranger, limited = [span for span in kept.spans if span.kind == 2]
    assert stranger.attributes["http.response.status_code"] == 401
    assert limited.attributes["http.response.status_code"] == 429
    handshakes = [span for span in kept.spans if span.kind == 3]
    assert handshakes and all(span.error for span in handshakes)


def test_a_key_at_the_wrong_place_is_in_no_span(tmp_path: Path, provider: Serving) -> None:
    """`traced` looks for it."""
    kept = traced(
        tmp_path,
        provider,
        lambda relay: relay.ask(f"/{relay.key}/v1/models/x/y"),
        lambda relay: relay.ask(f"/v1beta/models/m:generateContent/{relay.key}", b"{}"),
        lambda relay: ask(relay, relay.key),
        lambda relay: Talk(relay, relay.key).__enter__().respond(),
        config=ALL_KINDS,
    )
    assert len([span for span in kept.spans if span.kind == 2]) == 4
    assert kept.named("chat sk-***") and kept.named("realtime sk-***")


@pytest.mark.parametrize("trouble", ["nobody", "hangs", "500", "redirects"])
def test_a_receiver_in_trouble_costs_no_request_and_the_end_does_not_wait(
    tmp_path: Path, provider: Serving, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(shipping, "TIMEOUT", 0.5)
    monkeypatch.setattr(shipping, "ENDING", 1.0)
    with collector() as kept:
        kept.status = {"500": 500, "redirects": 307}.get(trouble, 200)
        if trouble == "hangs":
            kept.go_on.clear()
        url = "http://127.0.0.1:9/v1/traces" if trouble == "nobody" else kept.url
        relay = Running(tmp_path, CONFIG.format(collector=url, url=provider.url))
        try:
            assert ask(relay, "demo") == 200
            tracer = relay.daemon.relay.tracer
        finally:
            relay.stop()  # within its patience
        assert tracer is not None and (tracer.sent, tracer.dropped) == (0, 3)
        kept.go_on.set()


def test_without_tracing_nothing_of_it_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys; import relayd.daemon.daemon, relayd.cli.main;"
        "from relayd.daemon import instruments; from relayd.tracing import TracingTerms;"
        "assert instruments.tracer(TracingTerms()) is None;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "[]", done.stderr
