"""Spans as a receiver gets them."""

from __future__ import annotations

import asyncio

import pytest

from relayd.errors import NoAnswer
from relayd.model import Entry, ModelRule, Secret, UpstreamKey, UpstreamSpec, Usage
from relayd.tracing import Place, TracingTerms

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from relayd.spans import OpenTelemetry
from tests.support.collector import Collector, Received, collector

SPEC = UpstreamSpec(
    "google",
    "gemini",
    ("https://one.example/v1", "http://two.example:81/v1"),
    (UpstreamKey("1", Secret("sk-up")),),
    (ModelRule("*"),),
    ("gemini",),
)
PLACE = Place(SPEC, "1", 0, "m")
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-%02d"


def entry(**values: object) -> Entry:
    """A row of a chat request that went well."""
    found = Entry("req_1", 0.0, operation="generate", model_asked="gpt-x", format_in="chat")
    found.status, found.outcome = 200, "ok"
    for name, value in values.items():
        setattr(found, name, value)
    return found


def sent(kept: Collector, row: Entry, *headers: tuple[bytes, bytes], sample: float = 1.0) -> None:
    """Trace one request with one attempt that went well, and send it."""
    tracer = OpenTelemetry(TracingTerms(kept.url, (("x-team", Secret("t0k3n")),), sample))
    trace = tracer.begin(headers, "chat/completions", "POST")
    trace.attempt(Place(SPEC, "1", 1, "gemini-x"), "generate").end(200, None)
    trace.end(row, "laptop")
    tracer.close()


def both(kept: Collector) -> tuple[Received, Received]:
    [server] = [span for span in kept.spans if span.kind == 2]
    [client] = [span for span in kept.spans if span.kind == 3]
    return server, client


def test_a_request_and_its_attempt_are_one_trace() -> None:
    with collector() as kept:
        sent(kept, entry())
    server, client = both(kept)
    assert (server.name, client.name) == ("chat gpt-x", "chat gemini-x")
    assert client.parent_id == server.span_id and client.trace_id == server.trace_id
    assert server.parent_id == ""
    assert kept.headers["x-team"] == "t0k3n"


def test_usage_is_told_in_the_conventions_words() -> None:
    usage = Usage(in_uncached=7, cache_read=3, cache_write_5m=2, out_total=5, reasoning=1)
    with collector() as kept:
        sent(kept, entry(usage=usage, usage_source="reported", cost=2_000_000_000_000))
    server, _ = both(kept)
    said = server.attributes
    assert said["gen_ai.usage.input_tokens"] == 12
    assert said["gen_ai.usage.output_tokens"] == 5
    assert said["gen_ai.usage.cache_read.input_tokens"] == 3
    assert said["gen_ai.usage.cache_creation.input_tokens"] == 2
    assert said["gen_ai.usage.reasoning.output_tokens"] == 1
    assert said["relayd.cost_dollars"] == 2.0
    assert said["relayd.key"] == "laptop"


def test_what_nobody_knows_is_not_said() -> None:
    with collector() as kept:
        sent(kept, entry())
    server, _ = both(kept)
    assert not [name for name in server.attributes if name.startswith("gen_ai.usage")]


def test_an_attempt_says_where_it_went_and_with_whose_key() -> None:
    with collector() as kept:
        sent(kept, entry())
    _, client = both(kept)
    assert client.attributes["server.address"] == "two.example"
    assert client.attributes["server.port"] == 81
    assert client.attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert client.attributes["relayd.upstream"] == "google"
    assert client.attributes["http.response.status_code"] == 200
    assert b"sk-up" not in kept.raw


def test_a_clients_trace_is_taken_up_and_passed_on() -> None:
    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        headers = [(b"Traceparent", PARENT % 1), (b"tracestate", b"vendor=1"), (b"x", b"y")]
        trace = tracer.begin(headers, "messages", "POST")
        attempt = trace.attempt(PLACE, "generate")
        passed = dict(attempt.headers)
        attempt.end(200, None)
        trace.end(entry(), "")
        tracer.close()
    server, client = both(kept)
    assert server.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert server.parent_id == "b7ad6b7169203331"
    assert passed[b"traceparent"].decode() == f"00-{server.trace_id}-{client.span_id}-01"
    assert passed[b"tracestate"] == b"vendor=1"


@pytest.mark.parametrize(("sampled", "share", "count"), [(0, 1.0, 0), (1, 0.0, 2)])
def test_a_clients_trace_decides_whether_it_is_sampled(
    sampled: int, share: float, count: int
) -> None:
    with collector() as kept:
        sent(kept, entry(), (b"traceparent", PARENT % sampled), sample=share)
    assert len(kept.spans) == count


def test_nothing_is_sampled_at_a_share_of_none() -> None:
    with collector() as kept:
        sent(kept, entry(), sample=0.0)
    assert not kept.spans


def test_a_traceparent_that_is_none_begins_a_trace_of_our_own() -> None:
    with collector() as kept:
        sent(kept, entry(), (b"traceparent", b"\xff nonsense"))
    server, _ = both(kept)
    assert server.parent_id == ""


def test_failures_are_errors_in_both_spans() -> None:
    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        trace = tracer.begin((), "chat/completions", "POST")
        attempt = trace.attempt(PLACE, "generate")
        attempt.end(0, NoAnswer("too late"))
        attempt.end(200, None)  # a second end changes nothing
        trace.end(entry(status=504, outcome="upstream_error", error_code="timeout"), "")
        tracer.close()
    server, client = both(kept)
    assert server.error and client.error
    assert server.attributes["error.type"] == "timeout"
    assert "http.response.status_code" not in client.attributes


def test_a_clients_mistake_is_no_error_of_ours() -> None:
    with collector() as kept:
        sent(kept, entry(status=400, outcome="bad_request", error_code="invalid_json"))
    server, _ = both(kept)
    assert not server.error
    assert server.attributes["error.type"] == "invalid_json"


def test_what_is_made_is_told_where_it_is_not_as_usual() -> None:
    with collector() as kept:
        sent(kept, entry(operation="speech"))
    server, _ = both(kept)
    assert server.attributes["gen_ai.output.type"] == "speech"
    assert server.attributes["relayd.operation"] == "speech"


def test_later_attempts_are_numbered() -> None:
    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        trace = tracer.begin((), "chat/completions", "POST")
        for _ in range(3):
            trace.attempt(PLACE, "generate").end(503, NoAnswer("away"))
        trace.end(entry(), "")
        tracer.close()
    numbers = [span.attributes.get("http.request.resend_count") for span in kept.spans[:3]]
    assert numbers == [None, 1, 2]
    assert len({span.parent_id for span in kept.spans[:3]}) == 1


def test_a_response_of_a_session_is_a_span_within_the_sessions() -> None:
    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        session = tracer.begin((), "realtime", "GET")
        part = session.part(PLACE)
        part.end(entry(operation="realtime", usage=Usage(in_uncached=1, out_total=2)), "")
        session.end(entry(operation="realtime", status=101), "")
        tracer.close()
    server, client = both(kept)
    assert client.parent_id == server.span_id
    assert client.attributes["gen_ai.usage.output_tokens"] == 2
    assert client.attributes["gen_ai.request.model"] == "gpt-x"
    assert client.attributes["server.address"] == "one.example"
    assert server.attributes["http.request.method"] == "GET"


def test_a_span_that_ends_twice_is_sent_once() -> None:
    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        trace = tracer.begin((), "", "")
        for _ in range(2):
            trace.end(entry(operation="", model_asked=""), "")
        tracer.close()
    [span] = kept.spans
    assert span.name == "request"
    assert "http.route" not in span.attributes


def test_a_share_is_taken_as_the_sdk_takes_it() -> None:
    tracer = OpenTelemetry(TracingTerms("http://127.0.0.1:9/v1/traces", sample=0.3))
    theirs = TraceIdRatioBased(0.3)
    for _ in range(300):
        own = tracer.begin((), "", "").own
        decision = theirs.should_sample(None, own.trace_id, "").decision
        assert own.sampled is (decision is Decision.RECORD_AND_SAMPLE)
    tracer.close()


def test_ids_are_never_zero_nor_the_same() -> None:
    tracer = OpenTelemetry(TracingTerms("http://127.0.0.1:9/v1/traces", sample=0.0))
    ids = {tracer.begin((), "", "").own for _ in range(1000)}
    assert len({own.trace_id for own in ids}) == len({own.span_id for own in ids}) == 1000
    tracer.close()


def test_a_span_is_put_together_when_the_loop_is_done_with_the_reply() -> None:
    async def run(tracer: OpenTelemetry) -> tuple[str, str]:
        trace = tracer.begin((), "chat/completions", "POST")
        trace.attempt(PLACE, "generate").end(200, None)
        trace.end(entry(), "")
        during = repr(tracer)
        await asyncio.sleep(0)
        return during, repr(tracer)

    with collector() as kept:
        tracer = OpenTelemetry(TracingTerms(kept.url))
        during, after = asyncio.run(run(tracer))
        tracer.close()
    assert "over=2" in during and "over=0" in after
    assert [span.kind for span in kept.spans] == [3, 2]


def test_a_span_that_ends_as_the_daemon_does_is_sent() -> None:
    async def run(tracer: OpenTelemetry) -> None:
        tracer.begin((), "chat/completions", "POST").end(entry(), "")
        tracer.close()

    with collector() as kept:
        asyncio.run(run(OpenTelemetry(TracingTerms(kept.url))))
    assert len(kept.spans) == 1


def test_a_repr_shows_where_to_but_no_token() -> None:
    terms = TracingTerms("http://127.0.0.1:9/v1/traces", (("x-team", Secret("t0k3n")),))
    tracer = OpenTelemetry(terms)
    assert repr(tracer) == "<OpenTelemetry over=0 by <Shipping to 127.0.0.1:9 sent=0 dropped=0>>"
    assert "t0k3n" not in repr(terms)
    tracer.close()
