"""A receiver of OpenTelemetry's spans over HTTP, in a thread: it keeps what it gets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class Received(NamedTuple):
    """One span."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    error: bool
    attributes: dict[str, object]


class Collector:
    """What came, in order. `headers` are those of the last request; `status` and `answer` are what
    it hears, once `go_on` is set, as it is at first."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.headers: dict[str, str] = {}
        self.raw = b""
        self.status = 200
        self.statuses: list[int] = []  # answers before those
        self.answer = b""
        self.requests = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = ""

    def named(self, beginning: str) -> list[Received]:
        """The spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        self.raw += body
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Received(
                            span.name,
                            span.kind,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.status.code == 2,
                            {pair.key: _value(pair.value) for pair in span.attributes},
                        )
                    )


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens until the block ends."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.headers = {name.lower(): value for name, value in self.headers.items()}
            if self.headers.get("content-encoding") == "gzip":
                raise AssertionError("not asked for")
            kept.take(body)
            kept.requests += 1
            kept.go_on.wait(60)
            with contextlib.suppress(OSError):  # nobody waits for it any more
                self.send_response(kept.statuses.pop(0) if kept.statuses else kept.status)
                self.send_header("location", kept.url)
                self.send_header("content-length", str(len(kept.answer)))
                self.end_headers()
                self.wfile.write(kept.answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        serve = partial(server.serve_forever, poll_interval=0.02)
        thread = threading.Thread(target=serve, name="collector", daemon=True)
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind is not None else None
