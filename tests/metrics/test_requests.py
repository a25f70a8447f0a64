"""What one ended request adds to, as a scrape shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from relayd.metrics.collector import Metrics
from relayd.metrics.requests import MOST_KINDS, MOST_MODELS, MOST_WAYS, RequestMetrics
from relayd.metrics.series import MOST_SERIES
from relayd.metrics.states import Sources
from relayd.model import Entry, Usage
from relayd.money import pico
from tests.support.exposition import Samples

SERVED = Entry(
    "req_1",
    0.0,
    operation="generate",
    format_in="chat",
    format_out="messages",
    upstream="up",
    status=200,
    outcome="ok",
    stream=True,
    usage=Usage(in_uncached=10, cache_read=5, out_total=21, reasoning=4),
    usage_source="reported",
    bytes_in=100,
    bytes_out=2000,
    first_byte=0.5,
    duration=2.5,
    cost=pico("0.25"),
)
KIND = {
    "operation": "generate",
    "format": "chat",
    "upstream_format": "messages",
    "model": "claude-*",
    "upstream": "up",
    "outcome": "ok",
}
MODEL = {"model": "claude-*", "upstream": "up"}


class Page:
    """The metrics, and what a scrape would show."""

    def __init__(self) -> None:
        self._metrics = Metrics(Sources())
        self.requests: RequestMetrics = self._metrics.requests

    def settle(self, rule: str = "claude-*", **changes: Any) -> None:
        waited = changes.pop("waited", None)
        self.requests.settle(replace(SERVED, **changes), rule, waited)

    def value(self, name: str, **labels: str) -> float | None:
        return Samples(self._metrics.page()).value(name, **labels)

    def total(self, name: str) -> float:
        """The sum over all labels."""
        return Samples(self.text).total(name)

    @property
    def text(self) -> str:
        """All of it."""
        return self._metrics.page().decode()


@pytest.fixture
def page() -> Page:
    return Page()


def test_requests_are_counted_by_how_they_ended(page: Page) -> None:
    page.settle()
    page.settle(status=204)
    page.settle(status=502, outcome="upstream_error", error_code="upstream_500")
    assert page.value("relayd_requests_total", **KIND, status="2xx") == 2
    failed = {**KIND, "outcome": "upstream_error"}
    assert page.value("relayd_requests_total", **failed, status="5xx") == 1
    reason = {"upstream": "up", "reason": "upstream_500"}
    assert page.value("relayd_upstream_errors_total", **reason) == 1


def test_who_left_before_any_status_has_no_class(page: Page) -> None:
    page.settle(status=0, outcome="client_gone")
    assert page.value("relayd_requests_total", **{**KIND, "outcome": "client_gone"}, status="") == 1


def test_times_fall_into_buckets_and_are_summed(page: Page) -> None:
    page.settle()
    page.settle(duration=7.0, first_byte=None)
    way = {"operation": "generate", "upstream": "up"}
    name = "relayd_request_duration_seconds"
    assert page.value(f"{name}_sum", **way) == 9.5
    buckets = {
        le: page.value(f"{name}_bucket", **way, le=le) for le in ("1.0", "2.5", "10.0", "+Inf")
    }
    assert buckets == {"1.0": 0, "2.5": 1, "10.0": 2, "+Inf": 2}
    assert page.value("relayd_time_to_first_byte_seconds_count", **way) == 1


def test_the_gap_between_tokens_is_that_of_streams_whose_tokens_are_known(page: Page) -> None:
    page.settle()  # 20 gaps in 2 seconds
    page.settle(stream=False)
    page.settle(usage_source="estimated")
    page.settle(first_byte=None)
    page.settle(usage=Usage(out_total=1))
    page.settle(usage=Usage())
    name = "relayd_time_per_output_token_seconds"
    assert page.value(f"{name}_count", **MODEL) == 1
    assert page.value(f"{name}_sum", **MODEL) == pytest.approx(0.1)


def test_overhead_and_waiting_are_counted_where_there_was_any(page: Page) -> None:
    page.settle()
    page.requests.overhead("chat", 0.0004)
    page.settle()
    page.settle(waited=3.0)
    assert page.value("relayd_overhead_seconds_count", format="chat") == 1
    assert page.value("relayd_overhead_seconds_sum", format="chat") == 0.0004
    assert page.value("relayd_queue_wait_seconds_sum") == 3.0


def test_tokens_and_money_are_counted_where_they_are_known(page: Page) -> None:
    page.settle(uncharged=pico("0.5"))
    page.settle(usage=Usage(), usage_source="none", cost=0)
    kinds = ("input", "cache_read", "cache_write", "output", "reasoning")
    counted = [page.value("relayd_tokens_total", **MODEL, kind=kind) for kind in kinds]
    assert counted == [10, 5, 0, 21, 4]
    assert page.value("relayd_cost_dollars_total", **MODEL) == 0.25
    assert page.value("relayd_uncharged_dollars_total", **MODEL) == 0.5


def test_bodies_are_counted_by_what_they_were_for(page: Page) -> None:
    page.settle()
    page.settle(status=502, outcome="upstream_error")
    page.settle(operation="transcribe", bytes_in=5_000_000, bytes_out=0)
    asked = {"operation": "generate", "format": "chat"}
    assert page.value("relayd_received_bytes_total", **asked) == 200
    assert page.value("relayd_sent_bytes_total", **asked) == 4000
    heard = {**asked, "operation": "transcribe"}
    assert page.value("relayd_received_bytes_total", **heard) == 5_000_000


def test_sessions_are_counted_by_who_ended_them(page: Page) -> None:
    page.requests.session("client", "ok", 40.0)
    page.requests.session("client", "ok", 4000.0)
    page.requests.session("relay", "no_upstream", 2.0)
    ended = {"by": "client", "outcome": "ok"}
    assert page.value("relayd_realtime_sessions_total", **ended) == 2
    name = "relayd_realtime_session_duration_seconds"
    assert page.value(f"{name}_sum") == 4042
    assert page.value(f"{name}_bucket", le="60.0") == 2


def test_a_session_is_no_request_of_an_hour(page: Page) -> None:
    page.settle(status=101, duration=3600.0)
    page.settle()
    assert page.total("relayd_requests_total") == 2
    assert page.total("relayd_request_duration_seconds_sum") == 2.5


def test_the_way_of_a_request_is_counted(page: Page) -> None:
    page.requests.attempt("up", "1", "ok")
    page.requests.retry("upstream_timeout")
    page.requests.hedge(won=True)
    page.requests.hedge(won=False)
    page.requests.fallback("spare")
    page.requests.limited("tokens")
    attempt = {"upstream": "up", "key": "1", "result": "ok"}
    assert page.value("relayd_upstream_attempts_total", **attempt) == 1
    assert page.value("relayd_retries_total", reason="upstream_timeout") == 1
    assert page.value("relayd_hedges_total", won_by="second") == 1
    assert page.value("relayd_hedges_total", won_by="first") == 1
    assert page.value("relayd_fallbacks_total", upstream="spare") == 1
    assert page.value("relayd_limited_requests_total", limit="tokens") == 1
    assert page.value("relayd_limited_requests_total", limit="balance") == 0


def test_translations_are_counted_with_the_fields_that_they_left_out(page: Page) -> None:
    page.requests.translated("chat", "messages", "ok", ("top_k", "tools[0].strict", "tools[1].x"))
    page.requests.translated("chat", "messages", "ok", ("sk-proj-123", "x" * 99))
    way = {"client": "chat", "upstream": "messages", "outcome": "ok"}
    assert page.value("relayd_translations_total", **way) == 2
    for field in ("top_k", "tools", "other"):
        assert page.value("relayd_dropped_fields_total", field=field) == 1
    assert page.total("relayd_dropped_fields_total") == 3


def test_however_many_reasons_there_are_the_series_are_bounded(page: Page) -> None:
    for number in range(3 * MOST_SERIES):
        page.requests.retry(f"reason-{number}")
    assert page.value("relayd_retries_total", reason="other") == 2 * MOST_SERIES
    assert page.total("relayd_retries_total") == 3 * MOST_SERIES


def test_however_many_names_there_were_the_page_is_bounded(page: Page) -> None:
    """A configuration may be reloaded with other names for years."""
    for number in range(MOST_KINDS + 50):
        page.settle(f"rule-{number}", upstream=f"up-{number}")
    text = page.text
    assert len(text) < 10 * 2**20
    kept = [line for line in text.splitlines() if not re.search(r"(rule|up)-|_bucket", line)]
    seen = Samples("\n".join(kept))
    asked = {"operation": "other", "format": "other"}
    kind = {**asked, "upstream_format": "other", "model": "other", "upstream": "other"}
    assert seen.value("relayd_requests_total", **kind, status="", outcome="other") == 50
    beyond = MOST_KINDS + 50 - MOST_WAYS
    name = "relayd_request_duration_seconds_count"
    assert seen.value(name, operation="other", upstream="other") == beyond
    model = {"model": "other", "upstream": "other"}
    beyond = MOST_KINDS + 50 - MOST_MODELS
    assert seen.value("relayd_tokens_total", **model, kind="output") == 21 * beyond
    assert page.requests.totals == (MOST_KINDS + 50, 0)


def test_what_is_refused_hides_no_failure(page: Page) -> None:
    for outcome in ("ok", "ok", "upstream_error", "no_upstream", *["refused"] * 9, "client_gone"):
        page.settle(outcome=outcome)
    assert page.requests.totals == (4, 2)


def test_the_parts_say_what_they_are(page: Page) -> None:
    page.settle()
    assert repr(page.requests) == "<RequestMetrics 1 kinds>"
