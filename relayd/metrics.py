"""Every metric of relayd, in one list, on a registry that is passed in.

Strategy: prometheus_client's own counters take a lock and a float object per increment, and a
request touches ten of them. So a request adds to plain numbers (one dict lookup, a few additions),
and the registry asks for the families when somebody scrapes. Labels are bounded by the
configuration: a model's label is the configured rule it matched, never what a client wrote. The
one thing that clients do write, the fields that a translation dropped, is bounded here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from relayd.faults import UPSTREAM_FAULTS
from relayd.model import Entry, Usage
from relayd.policy.reports import DoorReport

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

MOST_FIELDS = 200  # names of dropped fields; any more are counted as one
OTHER = "(other)"

_RequestKey = tuple[str, str, str, int, str]
_Pair = tuple[str, str]


class Spread:
    """A histogram of seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.total += seconds
        self.counts[bisect_left(BUCKETS, seconds)] += 1

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: how many took at most so long."""
        sums, so_far = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            sums.append((bound, float(so_far)))
        return sums


class TokenCounts:
    """Tokens of one model rule at one upstream, by kind."""

    __slots__ = ("cache_read", "cache_write", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.cache_read = self.cache_write = self.output = self.reasoning = 0

    def add(self, usage: Usage) -> None:
        """Count one request's usage; unknown counts as nothing."""
        self.input += usage.in_uncached or 0
        self.cache_read += usage.cache_read or 0
        self.cache_write += usage.cache_write
        self.output += usage.out_total or 0
        self.reasoning += usage.reasoning or 0


class Series:
    """What one kind of request adds to."""

    __slots__ = ("duration", "first_byte", "requests", "tokens")

    def __init__(self, duration: Spread, first_byte: Spread, tokens: TokenCounts) -> None:
        self.requests = 0
        self.duration = duration
        self.first_byte = first_byte
        self.tokens = tokens


class Metrics(Collector):
    """All series. Owns the numbers; they start at 0 with the process.

    Arguments:
        registry: where they are shown.
        in_flight: how many requests are under way now.
        ledger_waiting: how many usage rows are not yet stored.
        doors: how every upstream key does now.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        in_flight: Callable[[], float] = float,
        ledger_waiting: Callable[[], float] = float,
        doors: Callable[[], Iterable[DoorReport]] = tuple,
    ) -> None:
        self._doors = doors
        self._gauges = {
            "relayd_in_flight_requests": ("Requests in flight.", in_flight),
            "relayd_ledger_waiting_rows": ("Usage rows not yet in the store.", ledger_waiting),
        }
        self._series: dict[_RequestKey, Series] = {}
        self._durations: dict[_Pair, Spread] = {}
        self._first_bytes: dict[_Pair, Spread] = {}
        self._tokens: dict[_Pair, TokenCounts] = {}
        self._errors: dict[_Pair, int] = {}
        self._attempts: dict[tuple[str, str, str], int] = {}
        self._translations: dict[tuple[str, str, str], int] = {}
        self._dropped: dict[str, int] = {}
        registry.register(self)

    def settle(self, entry: Entry, rule: str) -> None:
        """Count one ended request.

        Arguments:
            entry: its row in the usage log.
            rule: the configured model rule that it matched, or "" when it matched none.
        """
        key = (entry.format_in, rule, entry.upstream, entry.status, entry.outcome)
        series = self._series.get(key) or self._new_series(key)
        series.requests += 1
        series.duration.observe(entry.duration)
        if entry.first_byte is not None:
            series.first_byte.observe(entry.first_byte)
        if entry.usage_source != "none":
            series.tokens.add(entry.usage)
        if entry.outcome in UPSTREAM_FAULTS:
            fault = (entry.upstream, entry.error_code)
            self._errors[fault] = self._errors.get(fault, 0) + 1

    def attempt(self, upstream: str, key: str, result: str) -> None:
        """Count one attempt at an upstream key: `ok`, or the code of what it failed with."""
        labels = (upstream, key, result)
        self._attempts[labels] = self._attempts.get(labels, 0) + 1

    def translated(self, client: str, upstream: str, outcome: str, dropped: Sequence[str]) -> None:
        """Count one translation.

        Arguments:
            client, upstream: the formats.
            outcome: as in the usage log; `refused` where one upstream had no words for the request.
            dropped: paths of the fields that were left out.
        """
        labels = (client, upstream, outcome)
        self._translations[labels] = self._translations.get(labels, 0) + 1
        for field in {path.partition(".")[0].partition("[")[0] for path in dropped}:
            known = field in self._dropped or len(self._dropped) < MOST_FIELDS
            name = field if known else OTHER
            self._dropped[name] = self._dropped.get(name, 0) + 1

    def _new_series(self, key: _RequestKey) -> Series:
        format_name, rule, upstream, _, _ = key
        pair = (format_name, upstream)
        series = self._series[key] = Series(
            self._durations.setdefault(pair, Spread()),
            self._first_bytes.setdefault(pair, Spread()),
            self._tokens.setdefault((rule, upstream), TokenCounts()),
        )
        return series

    # --- what a scrape sees -----------------------------------------------------------------------

    def describe(self) -> list[Metric]:
        """Nothing in advance: the families are known by their names below."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, with what was counted until now."""
        yield self._request_family()
        yield _spread_family(
            "relayd_request_duration_seconds",
            "From the request's head to the end of the reply.",
            self._durations,
        )
        yield _spread_family(
            "relayd_time_to_first_byte_seconds",
            "From the request's head to the first byte of the upstream's reply.",
            self._first_bytes,
        )
        yield self._token_family()
        yield self._error_family()
        yield self._attempt_family()
        yield from self._translation_families()
        yield from self._door_families()
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())

    def _request_family(self) -> Metric:
        labels = ("format", "model", "upstream", "status", "outcome")
        family = CounterMetricFamily(
            "relayd_requests", "Requests ended, by how they ended.", labels=labels
        )
        for key, series in self._series.items():
            family.add_metric([str(part) for part in key], series.requests)
        return family

    def _token_family(self) -> Metric:
        family = CounterMetricFamily(
            "relayd_tokens",
            "Tokens by kind; input is what no cache served, reasoning is part of output.",
            labels=("model", "upstream", "kind"),
        )
        for (rule, upstream), tokens in self._tokens.items():
            for kind in TokenCounts.__slots__:
                family.add_metric([rule, upstream, kind], getattr(tokens, kind))
        return family

    def _error_family(self) -> Metric:
        family = CounterMetricFamily(
            "relayd_upstream_errors",
            "Failures that are the upstream's, by the reason in the usage log.",
            labels=("upstream", "reason"),
        )
        for pair, count in self._errors.items():
            family.add_metric(list(pair), count)
        return family

    def _attempt_family(self) -> Metric:
        family = CounterMetricFamily(
            "relayd_upstream_attempts",
            "Attempts at an upstream key, by what came of them: ok, or the code of the failure.",
            labels=("upstream", "key", "result"),
        )
        for labels, count in self._attempts.items():
            family.add_metric(list(labels), count)
        return family

    def _translation_families(self) -> Iterator[Metric]:
        translations = CounterMetricFamily(
            "relayd_translations",
            "Requests put into another format, by what came of them.",
            labels=("client", "upstream", "outcome"),
        )
        for labels, count in self._translations.items():
            translations.add_metric(list(labels), count)
        dropped = CounterMetricFamily(
            "relayd_dropped_fields",
            "Translations that left a field of the client's out, by its first name.",
            labels=("field",),
        )
        for name, count in self._dropped.items():
            dropped.add_metric([name], count)
        yield translations
        yield dropped

    def _door_families(self) -> Iterator[Metric]:
        labels = ("upstream", "key")
        up = GaugeMetricFamily(
            "relayd_upstream_key_up", "Whether the upstream key takes requests.", labels=labels
        )
        held = GaugeMetricFamily(
            "relayd_upstream_key_in_flight", "Requests the upstream key holds.", labels=labels
        )
        for door in self._doors():
            up.add_metric([door.upstream, door.key], door.state in ("up", "full"))
            held.add_metric([door.upstream, door.key], door.in_flight)
        yield up
        yield held


def _spread_family(name: str, text: str, spreads: dict[_Pair, Spread]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("format", "upstream"))
    for pair, spread in spreads.items():
        if not any(spread.counts):
            continue
        family.add_metric(list(pair), buckets=spread.cumulative(), sum_value=spread.total)
    return family
