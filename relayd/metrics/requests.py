"""What requests add to: one record of numbers for each kind of request, found by one lookup.

Recording happens once, at a request's end, and nothing is recorded for a chunk. A kind is what the
labels of `relayd_requests_total` say; its record knows the histograms and sums that it shares with
other kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import get_args

from relayd.errors import LIMITS
from relayd.faults import UPSTREAM_FAULTS
from relayd.metrics.series import BETWEEN, OTHER, SHORT, Counts, Labels, Spread, histogram, simple
from relayd.model import Entry, FormatName, Usage
from relayd.money import DOLLAR

# Outcomes that the operator has to answer for: neither clients' mistakes nor refusals.
FAILURES = UPSTREAM_FAULTS | {"no_upstream", "relay_error"}

FORMAT_NAMES = get_args(FormatName)
MOST_FIELDS = 200
FIELD = re.compile("[A-Za-z_]{1,32}")

_Kind = tuple[str, str, str, str, int, str]


class Consumption:
    """Tokens and money of one model rule at one upstream."""

    __slots__ = ("cache_read", "cache_write", "cost", "input", "output", "reasoning", "uncharged")

    KINDS = ("input", "cache_read", "cache_write", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.cache_read = self.cache_write = self.output = self.reasoning = 0
        self.cost = self.uncharged = 0  # pico-dollars

    def __repr__(self) -> str:
        return f"<Consumption {self.input} in, {self.output} out>"

    def add(self, usage: Usage) -> None:
        """Count one request's tokens; unknown counts as nothing."""
        self.input += usage.in_uncached or 0
        self.cache_read += usage.cache_read or 0
        self.cache_write += usage.cache_write
        self.output += usage.out_total or 0
        self.reasoning += usage.reasoning or 0


class Series:
    """What one kind of request adds to."""

    __slots__ = ("consumed", "duration", "first_byte", "per_token", "requests")

    def __init__(self, shared: tuple[Spread, Spread, Spread, Consumption]) -> None:
        self.requests = 0
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
        self._errors = Counts()
        self._attempts = Counts()
        self._retries = Counts()
        self._hedges = Counts()
        self._fallbacks = Counts()
        self._alerts = Counts()
        self._translations = Counts()
        self._dropped = Counts(MOST_FIELDS)  # what clients write
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
            entry.format_in,
            entry.format_out,
            rule,
            entry.upstream,
            entry.status // 100,
            entry.outcome,
        )
        series = self._series.get(kind) or self._new_series(kind)
        series.requests += 1
        series.duration.observe(entry.duration)
        if entry.first_byte is not None:
            series.first_byte.observe(entry.first_byte)
        if entry.usage_source != "none":
            self._consume(series, entry)
        if waited is not None:
            self._waits.observe(waited)
        if entry.outcome in UPSTREAM_FAULTS:
            self._errors.add((entry.upstream, entry.error_code))

    def _consume(self, series: Series, entry: Entry) -> None:
        consumed, tokens = series.consumed, entry.usage.out_total or 0
        consumed.add(entry.usage)
        consumed.cost += entry.cost
        consumed.uncharged += entry.uncharged
        if entry.stream and tokens > 1 and entry.first_byte is not None:
            if entry.usage_source == "reported":
                series.per_token.observe((entry.duration - entry.first_byte) / (tokens - 1))

    def overhead(self, format_name: str, seconds: float) -> None:
        """Count what one request took in relayd itself."""
        self._overheads[(format_name,)].observe(seconds)

    def attempt(self, upstream: str, key: str, result: str) -> None:
        """Count one attempt at an upstream key: `ok`, or the code of what it failed with."""
        self._attempts.add((upstream, key, result))

    def retry(self, reason: str) -> None:
        """Count an attempt that follows a failure, by the failure's code."""
        self._retries.add((reason,))

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
            dropped: paths of the fields that were left out. Clients write them: what does not look
                like the name of a field is `other`.
        """
        self._translations.add((client, upstream, outcome))
        for field in set(map(_first_name, dropped)):
            self._dropped.add((field,))

    def alerts(self, webhook: str, result: str, number: int) -> None:
        """Count alerts to a webhook: `sent`, `failed` or `dropped`."""
        self._alerts.add((webhook, result), number)

    @property
    def totals(self) -> tuple[int, int]:
        """Requests since the start, and of them the ones that upstreams or we failed."""
        kinds = self._series.items()
        failed = sum(one.requests for kind, one in kinds if kind[5] in FAILURES)
        return sum(one.requests for one in self._series.values()), failed

    def fallback(self, upstream: str) -> None:
        """Count a request that a fallback model answered."""
        self._fallbacks.add((upstream,))

    def _new_series(self, kind: _Kind) -> Series:
        format_name, _, rule, upstream, _, _ = kind
        way, model = (format_name, upstream), (rule, upstream)
        series = self._series[kind] = Series(
            (
                self._durations.setdefault(way, Spread()),
                self._first_bytes.setdefault(way, Spread()),
                self._per_token.setdefault(model, Spread(BETWEEN)),
                self._consumed.setdefault(model, Consumption()),
            )
        )
        return series

    # --- what a scrape sees -----------------------------------------------------------------------

    def collect(self) -> Iterator[str]:
        """The text of it, with what was counted until now."""
        yield simple(
            "relayd_requests_total",
            (
                ((*kind[:4], f"{kind[4]}xx" if kind[4] else "", kind[5]), series.requests)
                for kind, series in self._series.items()
            ),
        )
        yield histogram("relayd_request_duration_seconds", self._durations)
        yield histogram("relayd_time_to_first_byte_seconds", self._first_bytes)
        yield histogram("relayd_time_per_output_token_seconds", self._per_token)
        yield histogram("relayd_overhead_seconds", self._overheads)
        yield histogram("relayd_queue_wait_seconds", {(): self._waits})
        yield simple(
            "relayd_tokens_total",
            (
                ((*model, kind), getattr(consumed, kind))
                for model, consumed in self._consumed.items()
                for kind in Consumption.KINDS
            ),
        )
        yield simple("relayd_cost_dollars_total", self._dollars("cost"))
        yield simple("relayd_uncharged_dollars_total", self._dollars("uncharged"))
        yield simple("relayd_upstream_attempts_total", self._attempts.items())
        yield simple("relayd_upstream_errors_total", self._errors.items())
        yield simple("relayd_retries_total", self._retries.items())
        yield simple("relayd_hedges_total", self._hedges.items())
        yield simple("relayd_fallbacks_total", self._fallbacks.items())
        yield simple("relayd_limited_requests_total", self._limited.items())
        yield simple("relayd_alerts_total", self._alerts.items())
        yield simple("relayd_translations_total", self._translations.items())
        yield simple("relayd_dropped_fields_total", self._dropped.items())

    def _dollars(self, what: str) -> Iterator[tuple[Labels, float]]:
        for model, consumed in self._consumed.items():
            yield model, getattr(consumed, what) / DOLLAR


def _first_name(path: str) -> str:
    name = path.partition(".")[0].partition("[")[0]
    return name if FIELD.fullmatch(name) else OTHER
