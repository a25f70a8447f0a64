"""Traces by OpenTelemetry's SDK: one span for a request, one for each attempt at an upstream.

What they say is in `conventions`. A client's `traceparent` is taken up, and each upstream gets one
that names its attempt.

While a request is served there are only ids and times. What its spans say is put together out of
its row once its last byte is on its way, and then the SDK has them: its batch processor and its
exporter (`shipping`). Its tracer is left out: a span of that takes a lock and cleans its values for
each attribute, on the path of the reply.

Only imported where tracing is configured: the SDK is an extra (`otel`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from random import getrandbits
from time import time_ns
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from relayd import __version__
from relayd.conventions import (
    LONGEST,
    Attributes,
    of_place,
    of_request,
    operation_named,
    operation_of,
)
from relayd.errors import RelayError
from relayd.model import Entry
from relayd.shipping import Shipping, shipping
from relayd.tracing import Place, RawHeaders, TracingTerms
from relayd.wire import tracecontext
from relayd.wire.head import without_key
from relayd.wire.tracecontext import Parent

_LOW: Final = 2**64 - 1  # the part of a trace's id that sampling goes by
_UNSET: Final = Status(StatusCode.UNSET)


class OpenTelemetry:
    """A tracer that sends its spans to an OTLP receiver. Owns what sends them.

    Arguments:
        terms: where to, and which; the endpoint is not empty.
    """

    def __init__(self, terms: TracingTerms) -> None:
        said = {"service.name": terms.service, "service.version": __version__}
        self.resource = Resource.create(said)
        self.scope = InstrumentationScope("relayd", __version__)
        self._bound = TraceIdRatioBased.get_bound_for_rate(terms.sample)
        headers = {name: value.reveal() for name, value in terms.headers}
        self.shipping: Shipping = shipping(terms.endpoint, headers)
        self._over: deque[RequestTrace | UpstreamSpan] = deque()
        self._due = False  # they are about to be put together

    def __repr__(self) -> str:
        return f"<OpenTelemetry over={len(self._over)} by {self.shipping!r}>"

    @property
    def sent(self) -> int:
        """Spans that the receiver has, since the start."""
        return self.shipping.sent

    @property
    def dropped(self) -> int:
        """Spans that nobody got, since the start."""
        return self.shipping.dropped

    def begin(self, headers: Iterable[tuple[bytes, bytes]], verb: str, method: str) -> RequestTrace:
        """The span of a request, within its client's trace if it has one: then that decides whether
        it is recorded."""
        parent = tracecontext.read(headers)
        if parent is None:
            trace_id = getrandbits(128) or 1
            flags = tracecontext.RANDOM | (trace_id & _LOW < self._bound)
            own = Parent(trace_id, _span_id(), flags)
        else:
            own = parent._replace(span_id=_span_id())
        return RequestTrace(self, own, parent, verb, method)

    def over(self, span: RequestTrace | UpstreamSpan) -> None:
        """A span has ended. The loop has something better to do first: a reply's last bytes."""
        self._over.append(span)
        if self._due:
            return
        try:
            asyncio.get_running_loop().call_soon(self._ship)
            self._due = True
        except RuntimeError:  # there is no loop
            self._ship()

    def close(self) -> None:
        """Send what waits, as far as the receiver lets us; blocks for some seconds at most."""
        self._ship()
        self.shipping.close()

    def _ship(self) -> None:
        """Put together the spans that have ended. `close` does so from another thread."""
        self._due = False
        while True:
            try:
                span = self._over.popleft()
            except IndexError:
                return
            self.shipping.put(span.readable())


class RequestTrace:
    """One request's span; or, with a `place`, that of a response within a session.

    Arguments:
        tracer: takes it when it is over.
        own: its ids.
        parent: whose part it is; None where it is the first of its trace.
        verb, method: what was asked for, and how.
    """

    __slots__ = (
        "_attempts",
        "_began",
        "_ended",
        "_entry",
        "_key",
        "_method",
        "_parent",
        "_place",
        "_tracer",
        "_verb",
        "own",
    )

    def __init__(
        self, tracer: OpenTelemetry, own: Parent, parent: Parent | None, verb: str, method: str
    ) -> None:
        self.own = own
        self._tracer = tracer
        self._parent = parent
        self._verb = verb
        self._method = method
        self._attempts = 0
        self._place: Place | None = None
        self._entry: Entry | None = None
        self._key = ""
        self._began = time_ns()
        self._ended = 0

    def __repr__(self) -> str:
        return f"<RequestTrace {self.own.trace_id:032x}>"

    def attempt(self, place: Place, operation: str) -> UpstreamSpan:
        """The span of one attempt."""
        self._attempts += 1
        name = operation_named(
            operation, place.format, self._verb if place.format == "chat" else ""
        )
        return UpstreamSpan(self._tracer, self.own, place, name, self._attempts)

    def part(self, place: Place) -> RequestTrace:
        """The span of one response of a session."""
        own = self.own._replace(span_id=_span_id())
        part = RequestTrace(self._tracer, own, self.own, self._verb, "")
        part._place = place
        return part

    def end(self, entry: Entry, key: str) -> None:
        """Say what became of it; once."""
        if self.own.sampled and not self._ended:
            self._ended, self._entry, self._key = time_ns(), entry, key
            self._tracer.over(self)

    def readable(self) -> ReadableSpan:
        """All that its row says."""
        entry, place = self._entry, self._place
        assert entry is not None
        operation = operation_of(entry, self._verb)
        said = of_request(entry, self._key, operation)
        if place is not None:
            said = of_place(place) | said
        if self._verb:
            said["http.route"] = self._verb
        if self._method:
            said["http.request.method"] = self._method
        failed = entry.status >= 500 or entry.outcome in ("broken_stream", "upstream_error")
        return ReadableSpan(
            f"{operation} {entry.model_asked[:LONGEST]}".rstrip(),
            _context(self.own),
            None if self._parent is None else _context(self._parent, remote=place is None),
            self._tracer.resource,
            said,
            kind=SpanKind.SERVER if place is None else SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, entry.error_code) if failed else _UNSET,
            start_time=self._began,
            end_time=self._ended,
            instrumentation_scope=self._tracer.scope,
        )


class UpstreamSpan:
    """One attempt's span.

    Arguments:
        tracer: takes it when it is over.
        parent: the request's ids.
        place: who is asked.
        operation: by the conventions' name.
        number: of the attempt, from 1.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_number",
        "_operation",
        "_parent",
        "_place",
        "_problem",
        "_status",
        "_tracer",
        "own",
    )

    def __init__(
        self, tracer: OpenTelemetry, parent: Parent, place: Place, operation: str, number: int
    ) -> None:
        self.own = parent._replace(span_id=_span_id())
        self._tracer = tracer
        self._parent = parent
        self._place = place
        self._operation = operation
        self._number = number
        self._status = 0
        self._problem = ""
        self._began = time_ns()
        self._ended = 0

    def __repr__(self) -> str:
        return f"<UpstreamSpan {self.own.span_id:016x}>"

    @property
    def headers(self) -> RawHeaders:
        """`traceparent`, and what the client's own vendor put beside it."""
        return tracecontext.written(self.own)

    def end(self, status: int, problem: RelayError | None) -> None:
        """Say what became of the attempt; once."""
        if self._ended or not self.own.sampled:
            return
        self._ended, self._status = time_ns(), status
        self._problem = "" if problem is None else problem.code
        self._tracer.over(self)

    def readable(self) -> ReadableSpan:
        """Whom it asked, and what came of it."""
        said: Attributes = {"gen_ai.operation.name": self._operation, **of_place(self._place)}
        if self._status:
            said["http.response.status_code"] = self._status
        if self._problem:
            said["error.type"] = self._problem
        if self._number > 1:
            said["http.request.resend_count"] = self._number - 1
        return ReadableSpan(
            f"{self._operation} {without_key(self._place.model)[:LONGEST]}".rstrip(),
            _context(self.own),
            _context(self._parent),
            self._tracer.resource,
            said,
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, self._problem) if self._problem else _UNSET,
            start_time=self._began,
            end_time=self._ended,
            instrumentation_scope=self._tracer.scope,
        )


def _span_id() -> int:
    return getrandbits(64) or 1


def _context(ids: Parent, *, remote: bool = False) -> SpanContext:
    state = TraceState(ids.state) if ids.state else None
    return SpanContext(ids.trace_id, ids.span_id, remote, TraceFlags(ids.flags), state)
