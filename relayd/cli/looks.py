"""What the metrics page of a running daemon says, and what happened between two looks at it.

Whoever answers there may be anybody: nothing is taken for granted of the page. A sample that is no
number, or beyond what any relay counts, is left out; a label that is missing is empty; and a page
without relayd's own name on it is `NoMetrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

FAILED: Final = ("upstream_error", "broken_stream", "no_upstream", "relay_error")
MOST: Final = 1e15  # of anything
COOLDOWN: Final = "relayd_upstream_key_cooldown_seconds"
NEVER: Final = 1e9  # seconds
# Counters that should not grow, and what it is called if they do.
WORRIES: Final = {
    "relayd_store_errors_total": "batches of rows that the database did not take",
    "relayd_log_lines_lost_total": "lines of the log lost",
    "relayd_spans_dropped_total": "spans dropped",
}

Labels = Mapping[str, str]


class NoMetrics(ValueError):
    """What was read is no metrics page of relayd."""


class Look:
    """One look at the metrics.

    Arguments:
        text: the page. Raises NoMetrics where it is another.
        moment: when it was read, in Unix seconds.
    """

    def __init__(self, text: str, moment: float) -> None:
        self.moment = moment
        self._samples = _parsed(text)
        if "relayd_build_info" not in self._samples:
            raise NoMetrics("it says nothing of relayd")

    def __repr__(self) -> str:
        return f"<Look at {len(self._samples)} series>"

    def of(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """The samples of a series that carry these labels."""
        samples = self._samples.get(name, [])
        return [(had, value) for had, value in samples if labels.items() <= had.items()]

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(value for _, value in self.of(name, **labels))

    def values(self, name: str, label: str) -> list[str]:
        """What a label is anywhere in a series."""
        return list(dict.fromkeys(labels.get(label, "") for labels, _ in self.of(name)))

    def label(self, name: str, label: str) -> str:
        """What a label is in the one sample of a series."""
        return next((labels.get(label, "") for labels, _ in self.of(name)), "")


def _parsed(text: str) -> dict[str, list[tuple[Labels, float]]]:
    from prometheus_client.parser import text_string_to_metric_families

    samples: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                value = sample.value
                if sample.name == COOLDOWN and value > NEVER:
                    value = math.inf
                elif not abs(value) <= MOST:  # nor NaN
                    continue
                samples.setdefault(sample.name, []).append((sample.labels, value))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise NoMetrics("it is no metrics page") from None
    return samples


class Between(NamedTuple):
    """What happened between two looks; before the first there was nothing."""

    before: Look | None
    after: Look

    @property
    def uptime(self) -> float:
        """Seconds since the daemon started."""
        return max(self.after.moment - self.after.total("process_start_time_seconds"), 0.0)

    @property
    def seconds(self) -> float:
        """How long that was: without a look before, since the daemon started."""
        if self.before is not None:
            return max(self.after.moment - self.before.moment, 1e-9)
        return max(self.uptime, 1e-9)

    def grown(self, name: str, **labels: str) -> float:
        """How much a counter grew; one that is smaller than before began anew."""
        now = self.after.total(name, **labels)
        then = self.before.total(name, **labels) if self.before is not None else 0.0
        return now - then if now >= then else now

    def rate(self, name: str, **labels: str) -> float:
        """The same, a second."""
        return self.grown(name, **labels) / self.seconds

    def quantile(self, share: float, name: str) -> float | None:
        """Of a histogram over all labels, to the upper bound of its bucket; None without any."""
        counts: dict[float, float] = {}
        for le in self.after.values(f"{name}_bucket", "le"):
            bound = _number(le)
            if bound is not None:
                counts[bound] = counts.get(bound, 0.0) + self.grown(f"{name}_bucket", le=le)
        total = counts.get(math.inf, 0.0)
        return next((b for b in sorted(counts) if total and counts[b] >= share * total), None)


class KeyLook(NamedTuple):
    """How one upstream key does.

    Arguments:
        attempts: since the look before.
        ok: the share of those that came to their end which went well; None without any.
        again_in: seconds until it is tried again; 0 for one that is, infinite for never.
        troubled: models that it does not take, by why.
    """

    name: str
    state: str
    in_flight: int
    attempts: float
    ok: float | None
    again_in: float
    troubled: dict[str, int]


def keys(seen: Between) -> list[KeyLook]:
    """All upstream keys, as the daemon lists them."""
    states = seen.after.of("relayd_upstream_key_state")
    return [_key(seen, labels) for labels, value in states if value]


def _key(seen: Between, labels: Labels) -> KeyLook:
    names = {"upstream": labels.get("upstream", ""), "key": labels.get("key", "")}
    counter = "relayd_upstream_attempts_total"
    asked = seen.grown(counter, **names)
    unjudged = sum(seen.grown(counter, **names, result=r) for r in ("client_gone", "lost_race"))
    judged = asked - unjudged
    troubled = seen.after.of("relayd_upstream_key_troubled_models", **names)
    return KeyLook(
        f"{names['upstream']}/{names['key']}",
        labels.get("state", ""),
        int(seen.after.total("relayd_upstream_key_in_flight", **names)),
        asked,
        seen.grown(counter, **names, result="ok") / judged if judged > 0 else None,
        seen.after.total(COOLDOWN, **names),
        {had.get("state", ""): int(number) for had, number in troubled if number},
    )


def figures(seen: Between) -> dict[str, Any]:
    """The figures of the first lines, for programs."""
    after = seen.after
    requests = seen.grown("relayd_requests_total")
    up = after.of("relayd_upstream_key_up")
    return {
        "version": after.label("relayd_build_info", "version"),
        "uptime": round(seen.uptime),
        "seconds": round(seen.seconds, 3),
        "in_flight": int(after.total("relayd_in_flight_requests")),
        "waiting": int(after.total("relayd_waiting_requests")),
        "realtime_sessions": int(after.total("relayd_realtime_open_sessions")),
        "requests": int(requests),
        "requests_per_second": round(requests / seen.seconds, 3),
        "failed": int(sum(seen.grown("relayd_requests_total", outcome=one) for one in FAILED)),
        "limited": int(seen.grown("relayd_limited_requests_total")),
        **_consumed(seen),
        **_times(seen),
        "keys_up": int(sum(value for _, value in up)),
        "keys": len(up),
        **_process(seen),
    }


def _consumed(seen: Between) -> dict[str, Any]:
    def rate(kind: str) -> float:
        return seen.rate("relayd_tokens_total", kind=kind)

    return {
        "tokens_per_second": round(rate("input") + rate("output"), 1),
        "input_per_second": round(rate("input"), 1),
        "cached_per_second": round(rate("cache_read") + rate("cache_write"), 1),
        "output_per_second": round(rate("output"), 1),
        "dollars_per_hour": round(3600 * seen.rate("relayd_cost_dollars_total"), 4),
    }


def _times(seen: Between) -> dict[str, Any]:
    return {
        "first_byte_p50": seen.quantile(0.5, "relayd_time_to_first_byte_seconds"),
        "first_byte_p95": seen.quantile(0.95, "relayd_time_to_first_byte_seconds"),
        "overhead_p95": seen.quantile(0.95, "relayd_overhead_seconds"),
        "loop_lag_p99": seen.quantile(0.99, "relayd_event_loop_lag_seconds"),
    }


def _process(seen: Between) -> dict[str, Any]:
    after = seen.after
    return {
        "memory": int(after.total("process_resident_memory_bytes")),
        "clients": int(after.total("relayd_client_connections")),
        "ledger_rows": int(after.total("relayd_ledger_waiting_rows")),
        "ledger_lag": after.total("relayd_ledger_lag_seconds"),
        "ledger_full": bool(after.total("relayd_ledger_full")),
        "reload_failed": not after.total("relayd_config_last_reload_successful"),
        "lost": {
            what: int(seen.grown(name)) for name, what in WORRIES.items() if seen.grown(name) >= 1
        },
    }


def document(seen: Between) -> dict[str, Any]:
    """All that is drawn, for programs; never is null."""
    return {
        **figures(seen),
        "upstream_keys": [
            {
                **key._asdict(),
                "attempts": int(key.attempts),
                "again_in": key.again_in if math.isfinite(key.again_in) else None,
            }
            for key in keys(seen)
        ],
    }


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
