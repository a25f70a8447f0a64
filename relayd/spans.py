"""Traces by OpenTelemetry's own SDK: one span for a request, one for each attempt at an upstream.

Attributes follow the GenAI and HTTP conventions where these have a word, and begin with `relayd.`
where they have none. No prompt, no reply and no secret is ever one. A client's `traceparent` is
taken up and each upstream gets one that names its attempt. Spans are sent over HTTP by the SDK's
batch processor, in a thread and from a bounded queue: a receiver that is slow or away costs spans,
never requests.

Only imported where tracing is configured: the SDK is an extra (`pip install 'relayd[otel]'`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from relayd import __version__
from relayd.errors import RelayError
from relayd.model import Entry, UpstreamSpec
from relayd.money import DOLLAR
from relayd.tracing import RawHeaders, TracingTerms

EXPORT_TIMEOUT: Final = 5.0  # seconds for one batch
MOST_WAITING: Final = 4096  # spans that wait to be sent; more are dropped
LONGEST: Final = 256  # characters of what clients may have made up
CARRIED: Final = frozenset({b"traceparent", b"tracestate"})
# Dialects whose provider the conventions have another name for.
PROVIDERS: Final[Mapping[str, str]] = {
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
OPERATIONS: Final[Mapping[str, str]] = {"embed": "embeddings", "generate": "chat"}
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A tracer that sends its spans to an OTLP receiver. Owns the SDK's provider and its thread.

    Arguments:
        terms: where to, and which; the endpoint is not empty.
    """

    def __init__(self, terms: TracingTerms) -> None:
        self._endpoint = terms.endpoint
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(terms.sample)),
            resource=Resource.create(
                {"service.name": terms.service, "service.version": __version__}
            ),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=terms.endpoint,
            headers={name: value.reveal() for name, value in terms.headers},
            timeout=EXPORT_TIMEOUT,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MOST_WAITING))
        self._tracer = self._provider.get_tracer("relayd", __version__)

    def __repr__(self) -> str:
        return f"<OpenTelemetry to {urlsplit(self._endpoint).netloc}>"

    def begin(self, headers: Iterable[tuple[bytes, bytes]], path: str) -> RequestTrace:
        """The span of a request, within its client's trace if it has one."""
        carrier = {
            name.lower().decode(): value.decode("latin-1")
            for name, value in headers
            if name.lower() in CARRIED
        }
        parent = _PROPAGATOR.extract(carrier) if carrier else Context()
        span = self._tracer.start_span(
            "request", context=parent, kind=SpanKind.SERVER, attributes={"url.path": path[:LONGEST]}
        )
        return RequestTrace(self, span)

    def child(self, span: Span, name: str) -> Span:
        """A span within another, of something asked of another server."""
        context = set_span_in_context(span, Context())
        return self._tracer.start_span(name, context=context, kind=SpanKind.CLIENT)

    def close(self) -> None:
        """Send what waits, as far as the receiver lets us; blocks."""
        self._provider.shutdown()


class RequestTrace:
    """One request's span."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OpenTelemetry, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def __repr__(self) -> str:
        return f"<RequestTrace {self._span.get_span_context().trace_id:032x}>"

    def attempt(self, spec: UpstreamSpec, key: str, site: int, model: str) -> UpstreamSpan:
        """The span of one attempt."""
        span = self._tracer.child(self._span, f"chat {model[:LONGEST]}")
        if span.is_recording():
            where = urlsplit(spec.base_urls[site])
            span.set_attributes(
                {
                    "gen_ai.provider.name": provider_of(spec.dialect),
                    "gen_ai.request.model": model[:LONGEST],
                    "server.address": where.hostname or "",
                    "server.port": where.port or (443 if where.scheme == "https" else 80),
                    "relayd.upstream": spec.name,
                    "relayd.upstream.key": key,
                }
            )
        return UpstreamSpan(span)

    def end(self, entry: Entry, key: str) -> None:
        """Say what became of the request."""
        span = self._span
        if span.is_recording():
            operation = operation_of(entry)
            span.update_name(f"{operation} {entry.model_asked[:LONGEST]}".rstrip())
            span.set_attributes(_attributes(entry, key, operation))
            if entry.status >= 500 or entry.outcome in ("broken_stream", "upstream_error"):
                span.set_status(Status(StatusCode.ERROR, entry.error_code))
        span.end()


class UpstreamSpan:
    """One attempt's span."""

    __slots__ = ("_ended", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False

    def __repr__(self) -> str:
        return f"<UpstreamSpan {self._span.get_span_context().span_id:016x}>"

    @property
    def headers(self) -> RawHeaders:
        """`traceparent`, and what the client's own vendor put beside it."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(self._span, Context()))
        return [(name.encode(), value.encode("latin-1")) for name, value in carrier.items()]

    def end(self, status: int, problem: RelayError | None) -> None:
        """Say what became of the attempt; once."""
        if self._ended:
            return
        self._ended = True
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if problem is not None:
            self._span.set_attribute("error.type", problem.code)
            self._span.set_status(Status(StatusCode.ERROR, problem.code))
        self._span.end()


def provider_of(dialect: str) -> str:
    """The conventions' name of a dialect's provider."""
    return PROVIDERS.get(dialect, dialect)


def operation_of(entry: Entry) -> str:
    """The conventions' name of what was asked."""
    if entry.operation == "generate" and entry.format_in == "gemini":
        return "generate_content"
    return OPERATIONS.get(entry.operation, entry.operation or "request")


def _attributes(entry: Entry, key: str, operation: str) -> dict[str, str | int | float | bool]:
    """All that the row of a request says, without what nobody knows."""
    usage = entry.usage
    known: dict[str, str | int | float | bool | None] = {
        "http.response.status_code": entry.status or None,
        "error.type": entry.error_code or None,
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": entry.model_asked[:LONGEST] or None,
        "gen_ai.request.stream": entry.stream or None,
        "gen_ai.response.model": entry.model_used or None,
        "gen_ai.response.time_to_first_chunk": entry.first_byte,
        "gen_ai.usage.output_tokens": usage.out_total,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "relayd.request_id": entry.request_id,
        "relayd.outcome": entry.outcome,
        "relayd.key": key or None,
        "relayd.upstream": entry.upstream or None,
        "relayd.format_in": entry.format_in or None,
        "relayd.format_out": entry.format_out or None,
        "relayd.attempts": entry.attempts or None,
        "relayd.usage_source": entry.usage_source,
        "relayd.cost_dollars": entry.cost / DOLLAR if entry.cost else None,
    }
    if usage.in_uncached is not None:
        whole = usage.in_uncached + (usage.cache_read or 0) + usage.cache_write
        known["gen_ai.usage.input_tokens"] = whole + (usage.tool_prompt or 0)
    return {name: value for name, value in known.items() if value is not None}
