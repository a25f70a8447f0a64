"""Spans on their way out, by OpenTelemetry's own batch processor and exporter: these queue, gather,
encode, post and try again, in a thread of the SDK's. Here is what they lack.

They count nothing: so each span that is put in, handed on and taken is counted. Bounding what waits
by the same numbers means that the processor's queue, which drops in silence, never overflows.
They follow a receiver wherever it leads: so they post with a session that hears a few bytes of an
answer and follows no redirect.
And they say what is wrong in lines that quote the receiver and its whole URL, for every batch: so
those are silenced, and one line says that it begins and one that it is over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from relayd.lines import say

MOST_WAITING: Final = 4096  # spans; more are dropped
BATCH: Final = 64  # sent at one time; while they are encoded, the event loop waits for its turn
GATHERED: Final = 1.0  # seconds that a span may wait for others
TIMEOUT: Final = 5.0  # seconds for one batch
LATE: Final = 3 * TIMEOUT  # after which a batch is said not to come through
ENDING: Final = 5.0  # seconds that the last spans may take
SHORTEST: Final = 0.01  # seconds; `requests` takes no timeout of 0
LONGEST_ANSWER: Final = 1024  # bytes of an answer that are heard
LIBRARIES: Final = ("opentelemetry", "urllib3", "requests")


class Session(requests.Session):
    """What the exporter posts with. `problem` is what was wrong the last time, in our own words, ""
    being nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.problem = ""

    def __repr__(self) -> str:
        return f"<Session problem={self.problem!r}>"

    def send(self, request: requests.PreparedRequest, **terms: Any) -> requests.Response:
        """Send one request. By what comes of it the exporter decides whether it tries again.

        Raises:
            requests.RequestException: there is no answer, or it leads elsewhere.
        """
        seconds = max(terms["timeout"], SHORTEST)
        deadline = monotonic() + seconds
        terms |= {"timeout": seconds, "allow_redirects": False, "stream": True}
        try:
            with super().send(request, **terms) as answer:
                _hear_out(answer, deadline)
        except requests.RequestException as exc:
            self.problem = type(exc).__name__
            raise
        status = answer.status_code
        self.problem = "" if 200 <= status < 300 else f"it answers {status}"
        if 300 <= status < 400:  # the exporter would take it for a yes
            raise requests.RequestException(self.problem)
        return answer


class Shipping(SpanExporter):
    """Takes spans that are over. Owns the SDK's processor, and stands on both its sides: what goes
    in and what comes out is counted. `close` ends it.

    Arguments:
        exporter: sends batches.
        session: what it posts with.
        name: of the receiver, for the log.
    """

    def __init__(self, exporter: SpanExporter, session: Session, name: str) -> None:
        self.sent = 0
        self._exporter = exporter
        self._session = session
        self._name = name
        # Each is counted by one thread only.
        self._accepted = self._overflowed = self._handed_on = self._failed = 0
        self._failing = self._closed = False
        self._since: float | None = None  # when the batch was handed on that is under way
        self._processor = BatchSpanProcessor(
            self,
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=GATHERED * 1000,
            max_export_batch_size=BATCH,
        )

    def __repr__(self) -> str:
        return f"<Shipping to {self._name} sent={self.sent} dropped={self.dropped}>"

    @property
    def dropped(self) -> int:
        """Spans that nobody got, since the start."""
        failed = self._accepted - self.sent if self._closed else self._failed
        return self._overflowed + failed

    def put(self, span: ReadableSpan) -> None:
        """Take a span; one that finds no room is dropped, and counted."""
        if self._accepted - self._handed_on >= MOST_WAITING:
            self._overflowed += 1
            self._fail("it does not take them in time")
            return
        since = self._since
        if since is not None and monotonic() - since > LATE:
            # Each read has a timeout, but who says one byte of a header at a time is in time.
            self._fail("it does not come to the end of an answer")
        self._accepted += 1
        self._processor.on_end(span)

    def close(self) -> None:
        """Send what waits, in `ENDING` seconds at most; what is left then is dropped. A receiver
        that is in trouble is not asked again."""
        if self._failing:
            self._exporter.shutdown()
        # By itself the processor would wait for half a minute.
        thread = threading.Thread(target=self._processor.shutdown, name="spans' end", daemon=True)
        thread.start()
        thread.join(ENDING)
        self._closed = True
        if self.dropped:
            say(logging.INFO, "spans", receiver=self._name, sent=self.sent, dropped=self.dropped)

    # --- the processor's thread -------------------------------------------------------------------

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        self._handed_on += len(spans)
        self._since = monotonic()
        self._session.problem = ""
        try:
            result = self._exporter.export(spans)
        except Exception as exc:  # a bug, of ours or a library's: the processor goes on
            result, self._session.problem = SpanExportResult.FAILURE, type(exc).__name__
        self._since = None
        if result is not SpanExportResult.SUCCESS:
            self._failed += len(spans)
            self._fail(self._session.problem or "they cannot be encoded")
            return result
        self.sent += len(spans)
        if self._failing:
            self._failing = False
            words = "spans are sent again"
            say(logging.INFO, words, receiver=self._name, dropped=self.dropped)
        return result

    def shutdown(self) -> None:
        """The processor has ended."""
        self._exporter.shutdown()

    def _fail(self, why: str) -> None:
        """Say so, where that was not said already."""
        if not self._failing:
            self._failing = True
            say(logging.WARNING, "spans do not get through", receiver=self._name, why=why)


def shipping(endpoint: str, headers: Mapping[str, str]) -> Shipping:
    """Sends spans to a receiver of OTLP over HTTP.

    Arguments:
        endpoint: its whole URL.
        headers: what it wants, such as a token.
    """
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    session = Session()
    exporter = OTLPSpanExporter(endpoint, headers=headers, timeout=TIMEOUT, session=session)
    return Shipping(exporter, session, urlsplit(endpoint).netloc)


def _hear_out(answer: requests.Response, deadline: float) -> None:
    """Read a short answer, so that the connection can be used again; of a longer one no more."""
    for heard, _ in enumerate(answer.iter_content(1), 1):
        if heard == LONGEST_ANSWER or monotonic() > deadline:
            return
