"""Spans on their way: what is sent, what is dropped, what is said of it, and how long it takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from relayd import shipping as module
from relayd.shipping import BATCH, MOST_WAITING, Session, Shipping, shipping
from tests.support.collector import Collector, collector

PATIENCE = 20.0
IDS = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
SPAN = ReadableSpan("x", IDS, resource=Resource.get_empty(), start_time=1, end_time=2)


class Noting(SpanExporter):
    """Notes batches; takes them, refuses them, breaks or waits."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.session = Session()
        self.problem: str | None = ""  # None: it breaks
        self.go_on = threading.Event()
        self.go_on.set()
        self.ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        self.go_on.wait(PATIENCE)
        if self.problem is None:
            raise RuntimeError("a bug")
        self.session.problem = self.problem
        failed = self.ended or self.problem
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for others to send."""
    monkeypatch.setattr(module, "GATHERED", 0.002)


@pytest.fixture
def exporter() -> Noting:
    return Noting()


@pytest.fixture
def ship(exporter: Noting) -> Iterator[Shipping]:
    made = Shipping(exporter, exporter.session, "tempo:4318")
    yield made
    exporter.go_on.set()
    made.close()


def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The fields of all lines."""
    return [record.__dict__["fields"] for record in caplog.records]


def ship_has_dropped(ship: Shipping, number: int) -> bool:
    return ship.dropped == number


def test_spans_are_sent_in_batches(ship: Shipping, exporter: Noting) -> None:
    exporter.go_on.clear()
    for _ in range(4 * BATCH):
        ship.put(SPAN)
    exporter.go_on.set()
    until(lambda: ship.sent == 4 * BATCH)
    assert max(exporter.sizes) <= BATCH and ship.dropped == 0
    assert repr(ship) == f"<Shipping to tempo:4318 sent={4 * BATCH} dropped=0>"


def test_what_waits_at_the_end_is_sent(exporter: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHERED", 1000.0)
    ship = Shipping(exporter, exporter.session, "tempo")
    ship.put(SPAN)
    ship.close()
    assert ship.sent == 1 and ship.dropped == 0
    assert exporter.ended


def test_beyond_the_bound_spans_are_dropped_and_that_is_said_once(
    ship: Shipping, exporter: Noting, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.go_on.clear()
    for _ in range(MOST_WAITING + BATCH + 10):
        ship.put(SPAN)
    dropped = ship.dropped
    assert 10 <= dropped <= BATCH + 10
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert told(caplog) == [{"receiver": "tempo:4318", "why": "it does not take them in time"}]
    exporter.go_on.set()
    until(lambda: ship.sent + dropped == MOST_WAITING + BATCH + 10)  # none is lost uncounted
    assert ship.dropped == dropped


def test_an_answer_that_does_not_end_is_said_once(
    ship: Shipping,
    exporter: Noting,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "LATE", 0.0)
    exporter.go_on.clear()
    ship.put(SPAN)
    until(lambda: exporter.sizes)
    for _ in range(3):
        ship.put(SPAN)
    assert [fields["why"] for fields in told(caplog)] == [
        "it does not come to the end of an answer"
    ]


def test_failures_are_counted_said_once_and_said_to_be_over(
    ship: Shipping, exporter: Noting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exporter.problem = "it answers 500"
    for number in range(1, 4):
        ship.put(SPAN)
        until(partial(ship_has_dropped, ship, number))
    exporter.problem = ""
    ship.put(SPAN)
    until(lambda: ship.sent == 1 and len(caplog.records) == 2)
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert "spans are sent again" in caplog.text
    assert told(caplog)[0]["why"] == "it answers 500"
    assert told(caplog)[1] == {"receiver": "tempo:4318", "dropped": 3}


def test_a_bug_in_the_exporter_costs_its_batch(
    ship: Shipping, exporter: Noting, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.problem = None
    ship.put(SPAN)
    until(lambda: ship.dropped == 1 and caplog.records)
    assert told(caplog)[0]["why"] == "RuntimeError"
    exporter.problem = ""
    ship.put(SPAN)
    until(lambda: ship.sent == 1)


def test_the_end_waits_for_no_receiver_for_ever(
    exporter: Noting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "ENDING", 0.05)
    ship = Shipping(exporter, exporter.session, "tempo")
    exporter.go_on.clear()
    ship.put(SPAN)
    until(lambda: exporter.sizes)
    ship.put(SPAN)
    ship.close()
    assert ship.dropped == 2
    assert told(caplog) == [{"receiver": "tempo", "sent": 0, "dropped": 2}]
    ship.put(SPAN)
    assert ship.dropped == 3
    exporter.go_on.set()


def test_at_the_end_a_receiver_in_trouble_is_not_asked_again(exporter: Noting) -> None:
    ship = Shipping(exporter, exporter.session, "tempo")
    exporter.problem = "it answers 500"
    ship.put(SPAN)
    until(lambda: ship.dropped == 1)
    exporter.problem = ""
    exporter.go_on.clear()
    for _ in range(BATCH + 2):
        ship.put(SPAN)
    closing = threading.Thread(target=ship.close)
    closing.start()
    until(lambda: exporter.ended)
    exporter.go_on.set()
    closing.join(PATIENCE)
    assert (ship.sent, ship.dropped) == (0, BATCH + 3)


# --- the real exporter, and receivers that misbehave ----------------------------------------------


def sent_to(kept: Collector) -> Shipping:
    """What became of one span."""
    ship = shipping(kept.url + "?token=t0k3n", {"x-team": "s3cret"})
    ship.put(SPAN)
    until(lambda: ship.sent + ship.dropped)
    ship.close()
    return ship


@pytest.mark.parametrize(
    ("status", "why"), [(500, "it answers 500"), (400, "it answers 400"), (307, "it answers 307")]
)
def test_an_answer_that_is_no_yes_drops_spans(
    status: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with collector() as kept:
        kept.status = status
        ship = sent_to(kept)
        assert (ship.sent, ship.dropped) == (0, 1)
        # A redirect is not followed. Some exporters try again after a 500.
        assert kept.requests == 1 or status == 500
    assert told(caplog)[0]["why"] == why
    everything = caplog.text + repr(told(caplog))
    assert "t0k3n" not in everything and "s3cret" not in everything


def test_nobody_at_the_address_drops_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.5)  # the exporter tries again until then
    caplog.set_level(logging.DEBUG)
    nobody = Collector()
    nobody.url = "http://127.0.0.1:9/v1/traces"
    assert sent_to(nobody).dropped == 1
    assert told(caplog)[0] == {"receiver": "127.0.0.1:9", "why": "ConnectionError"}
    assert "t0k3n" not in caplog.text + repr(told(caplog))


def test_a_receiver_that_hangs_drops_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with collector() as kept:
        kept.go_on.clear()
        assert sent_to(kept).dropped == 1
        kept.go_on.set()
    assert told(caplog)[0]["why"] in ("ReadTimeout", "ConnectTimeout")


def test_of_a_long_answer_only_the_beginning_is_heard() -> None:
    with collector() as kept:
        kept.answer = b"x" * 10_000_000
        assert sent_to(kept).sent == 1


def test_a_span_that_cannot_be_encoded_costs_its_batch(caplog: pytest.LogCaptureFixture) -> None:
    with collector() as kept:
        ship = shipping(kept.url, {})
        ship.put(ReadableSpan("x", IDS, start_time=-1, end_time=2))
        until(lambda: ship.dropped)
        ship.close()
    # Some exporters raise it.
    assert told(caplog)[0]["why"] in ("they cannot be encoded", "ValueError")


def test_an_answer_that_may_be_another_soon_is_asked_for_again() -> None:
    with collector() as kept:
        kept.statuses = [503]  # then the exporter waits for a second
        assert sent_to(kept).sent == 1
        assert kept.requests == 2


def test_who_never_comes_to_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 1.5)
    with collector() as kept:
        kept.status = 503
        assert sent_to(kept).dropped == 1
        assert 1 <= kept.requests <= 3


def test_a_token_is_in_no_repr() -> None:
    ship = shipping("http://127.0.0.1:9/v1/traces?token=t0k3n", {"x-team": "s3cret"})
    assert repr(ship) == "<Shipping to 127.0.0.1:9 sent=0 dropped=0>"
    assert repr(ship._session) == "<Session problem=''>"
    ship.close()
