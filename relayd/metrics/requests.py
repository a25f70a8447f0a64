"""What requests add to: one record of numbers for each kind of request, found by one lookup.

Recording happens once, at a request's end, and nothing is recorded for a chunk. A kind is what the
labels of `relayd_requests_total` say; its record knows the histograms and sums that it shares with
other kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from relayd.errors import LIMITS
from relayd.faults import UPSTREAM_FAULTS
from relayd.metrics import consumed, words
from relayd.metrics.consumed import Consumption
from relayd.metrics.series import (
    BETWEEN,
    HOURS,
    OTHER,
    SHORT,
    Counts,
    Labels,
    Spread,
    histogram,
    simple,
)
from relayd.model import Entry, FormatName

# Outcomes that the operator has to answer for: neither clients' mistakes nor refusals.
FAILURES = UPSTREAM_FAULTS | {"no_upstream", "relay_error"}

FORMAT_NAMES = get_args(FormatName)
# The fuses: beyond so many of each, all further ones are `other` together. What a configuration
# names comes nowhere near them, and the page stays under 10 MB whatever happens.
MOST_KINDS = 5000
MOST_WAYS = 300
MOST_MODELS = 1000

# Operation, the client's format, the upstream's, model rule, upstream, class of status, outcome.
_Kind = tuple[str, str, str, str, str, int, str]


class Series:
    """What one kind of request adds to. `labels` are those of `relayd_requests_total`."""

    __slots__ = (
        *("consumed", "duration", "first_byte", "labels", "per_token", "received", "requests"),
        "sent",
    )

    def __init__(self, kind: _Kind, shared: tuple[Spread, Spread, Spread, Consumption]) -> None:
        self.requests = self.received = self.sent = 0
        self.labels = (*kind[:5], f"{kind[5]}xx" if kind[5] else "", kind[6])
        self.duration, self.first_byte, self.per_token, self.consumed = shared

    def __repr__(self) -> str:
        return f"<Series of {self.requests} requests>"


class RequestMetrics:
    """The numbers of all requests. Owns them; they start at 0 with the process."""

    def __init__(self) -> None:
        self._series: dict[_Kind, Series] = {}
        self._durations: dict[Labels, Spread] = {}
        self._first_bytes: dict[Labels, Spread] = {}
        self._per_token: dict[Labels, Spread] = {}
        self._overheads: dict[Labels, Spread] = {(n,): Spread(SHORT) for n in FORMAT_NAMES}
        self._consumed: dict[Labels, Consumption] = {}
        self._waits = Spread()
        self._sessions = Counts()
        self._session_times = Spread(HOURS)
        self._errors = Counts()
        self._attempts = Counts()
        self._retries = Counts()
        self._hedges = Counts()
        self._fallbacks = Counts()
        self._alerts = Counts()
        self._translations = Counts()
        self._dropped = Counts()
        self._limited = Counts()
        for limit in LIMITS:  # from 0 on, so that the first one is seen to be an increase
            self._limited.add((limit,), 0)

    def __repr__(self) -> str:
        return f"<RequestMetrics {len(self._series)} kinds>"

    # --- what the relay tells ---------------------------------------------------------------------

    def settle(
        self,
        entry: Entry,
        rule: str,
        waited: float | None = None,
    ) -> None:
        """Count one ended request.

        Arguments:
            entry: its row in the usage log.
            rule: the configured model rule that it matched, or "" when it matched none.
            waited: seconds for an upstream key, None for one that did not have to.
        """
        kind = (
            entry.operation,
            entry.format_in,
            entry.format_out,
            rule,
            entry.upstream,
            entry.status // 100,
            entry.outcome,
        )
        series = self._series.get(kind) or self._new_series(kind)
        series.requests += 1
        series.received += entry.bytes_in
        series.sent += entry.bytes_out
        series.duration.observe(entry.duration)
        if entry.first_byte is not None:
            series.first_byte.observe(entry.first_byte)
        if entry.usage_source != "none":
            self._consume(series, entry)
        if waited is not None:
            self._waits.observe(waited)
        if entry.outcome in UPSTREAM_FAULTS:
            self._errors.add((entry.upstream, words.reason(entry.error_code)))

    @staticmethod
    def _consume(series: Series, entry: Entry) -> None:
        series.consumed.add(entry)
        tokens = entry.usage.out_total or 0
        if entry.stream and tokens > 1 and entry.first_byte is not None:
            if entry.usage_source == "reported":
                series.per_token.observe((entry.duration - entry.first_byte) / (tokens - 1))

    def session(self, by: str, outcome: str, seconds: float) -> None:
        """Count a realtime session that has ended.

        Arguments:
            by: who ended it: `client`, `upstream` or `relay`.
            outcome: as in the usage log.
            seconds: how long it was open.
        """
        self._sessions.add((by, outcome))
        self._session_times.observe(seconds)

    def overhead(self, format_name: str, seconds: float) -> None:
        """Count what one request took in relayd itself."""
        self._overheads[(format_name,)].observe(seconds)

    def attempt(self, upstream: str, key: str, result: str) -> None:
        """Count one attempt at an upstream key: `ok`, or the code of what it failed with."""
        self._attempts.add((upstream, key, words.reason(result)))

    def retry(self, reason: str) -> None:
        """Count an attempt that follows a failure, by the failure's code."""
        self._retries.add((words.reason(reason),))

    def hedge(self, *, won: bool) -> None:
        """Count a second attempt beside a slow first; `won` says whether it was the faster one."""
        self._hedges.add(("second" if won else "first",))

    def limited(self, limit: str) -> None:
        """Count a request that was refused over a limit of its key or account, by the limit."""
        self._limited.add((limit,))

    def translated(self, client: str, upstream: str, outcome: str, dropped: Sequence[str]) -> None:
        """Count one translation.

        Arguments:
            client, upstream: the formats.
            outcome: as in the usage log; `refused` where one upstream had no words for the request.
            dropped: paths of the fields that were left out. Clients write them: what no format
                knows is `other`.
        """
        self._translations.add((client, upstream, outcome))
        for field in set(map(words.field, dropped)):
            self._dropped.add((field,))

    def alerts(self, webhook: str, result: str, number: int) -> None:
        """Count alerts to a webhook: `sent`, `failed` or `dropped`."""
        self._alerts.add((webhook, result), number)

    @property
    def totals(self) -> tuple[int, int]:
        """Requests since the start that were relayed, or should have been, and of them the ones
        that upstreams or we failed. What is refused is neither: strangers are not to hide them."""
        kinds = self._series.items()
        failed = sum(one.requests for kind, one in kinds if kind[-1] in FAILURES)
        went_well = sum(one.requests for kind, one in kinds if kind[-1] in ("ok", OTHER))
        return went_well + failed, failed

    def fallback(self, upstream: str) -> None:
        """Count a request that a fallback model answered."""
        self._fallbacks.add((upstream,))

    def _new_series(self, kind: _Kind) -> Series:
        if len(self._series) >= MOST_KINDS:
            kind = (*(OTHER,) * 5, 0, OTHER)
            if kind in self._series:
                return self._series[kind]
        operation, _, _, rule, upstream, status, _ = kind
        way = _within(self._durations, (operation, upstream), MOST_WAYS)
        model = _within(self._consumed, (rule, upstream), MOST_MODELS)
        series = self._series[kind] = Series(
            kind,
            (
                # A session (1xx) is no request of an hour: `session` counts how long it was.
                self._durations.setdefault(way, Spread()) if status != 1 else Spread(),
                self._first_bytes.setdefault(way, Spread()),
                self._per_token.setdefault(model, Spread(BETWEEN)),
                self._consumed.setdefault(model, Consumption()),
            ),
        )
        return series

    # --- what a scrape sees -----------------------------------------------------------------------

    def collect(self) -> Iterator[str]:
        """The text of it, with what was counted until now."""
        yield simple(
            "relayd_requests_total",
            ((series.labels, series.requests) for series in self._series.values()),
        )
        yield histogram("relayd_request_duration_seconds", self._durations)
        yield histogram("relayd_time_to_first_byte_seconds", self._first_bytes)
        yield histogram("relayd_time_per_output_token_seconds", self._per_token)
        yield histogram("relayd_overhead_seconds", self._overheads)
        yield histogram("relayd_queue_wait_seconds", {(): self._waits})
        received, sent = self._bytes()
        yield simple("relayd_received_bytes_total", received.items())
        yield simple("relayd_sent_bytes_total", sent.items())
        yield simple("relayd_realtime_sessions_total", self._sessions.items())
        yield histogram("relayd_realtime_session_duration_seconds", {(): self._session_times})
        yield from consumed.collect(self._consumed)
        yield simple("relayd_upstream_attempts_total", self._attempts.items())
        yield simple("relayd_upstream_errors_total", self._errors.items())
        yield simple("relayd_retries_total", self._retries.items())
        yield simple("relayd_hedges_total", self._hedges.items())
        yield simple("relayd_fallbacks_total", self._fallbacks.items())
        yield simple("relayd_limited_requests_total", self._limited.items())
        yield simple("relayd_alerts_total", self._alerts.items())
        yield simple("relayd_translations_total", self._translations.items())
        yield simple("relayd_dropped_fields_total", self._dropped.items())

    def _bytes(self) -> tuple[dict[Labels, int], dict[Labels, int]]:
        """Received and sent, by operation and the client's format."""
        received: dict[Labels, int] = {}
        sent: dict[Labels, int] = {}
        for series in self._series.values():
            asked = series.labels[:2]
            received[asked] = received.get(asked, 0) + series.received
            sent[asked] = sent.get(asked, 0) + series.sent
        return received, sent


def _within(known: Mapping[Labels, object], labels: Labels, most: int) -> Labels:
    """Those, or `other` where there are too many."""
    if labels in known or len(known) < most:
        return labels
    return (OTHER,) * len(labels)
