"""Traces of a whole daemon, as a receiver gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from tests.demo.serving import Serving
from tests.support.running import Running

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs relayd[otel]")

from tests.support.collector import Collector, collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
CONFIG = """\
demo: "off"
routing: {{retries: {{attempts: 2}}}}
tracing: {{endpoint: "{collector}"}}
upstreams:
  bad: {{dialect: demo, base_url: "{url}", key: demo-key, models: {{demo: demo-500}}}}
  good: {{dialect: demo, base_url: "{url}", key: demo-key, models: [demo, demo-404], tier: 2}}
"""


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


def traced(folder: Path, provider: Serving, *requests: Callable[[Running], int]) -> Collector:
    """What a receiver has after a daemon served these requests, and ended."""
    with collector() as kept:
        relay = Running(folder, CONFIG.format(collector=kept.url, url=provider.url))
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


def test_a_receiver_that_is_away_costs_no_request(tmp_path: Path, provider: Serving) -> None:
    config = CONFIG.format(collector="http://127.0.0.1:9/v1/traces", url=provider.url)
    relay = Running(tmp_path, config)
    try:
        assert ask(relay, "demo") == 200
    finally:
        relay.stop()
