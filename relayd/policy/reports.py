"""What is told about the upstreams: one record per door, and one per probe.

The pools fill these in, the admin API sends them, the command line draws them: the words for states
live here, so that all three mean the same. A report says how things stand at one moment, and in
terms of that moment: `until` is seconds from now, because the loop's clock means nothing to a
reader.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# How a door may be, from best to worst.
STATES = ("up", "full", "cooling", "half_open", "open", "refused", "disabled")


class DoorReport(NamedTuple):
    """How one upstream key is doing.

    Arguments:
        state: one of STATES.
        why: what put it into that state, in a few words; "" when it is up.
        until: seconds until it is tried again, None when it is not by itself.
        requests, failures: since the start.
        success_ratio: over the last minutes; None is no requests.
        first_byte: seconds to the first byte, as usual of late; None is unknown.
        models: (model, state, until, why) of those that are worse off than the key itself.
        served: seconds since a request went well there; None is never.
    """

    upstream: str
    key: str
    tier: int
    weight: int
    state: str
    why: str
    until: float | None
    in_flight: int
    requests: int
    failures: int
    success_ratio: float | None
    first_byte: float | None
    first_byte_p95: float | None
    models: tuple[tuple[str, str, float | None, str], ...] = ()
    served: float | None = None

    @property
    def name(self) -> str:
        return f"{self.upstream}/{self.key}"

    @property
    def by_models(self) -> bool:
        """Whether its state is that of its models; else it is the key's own, whatever is asked."""
        own = self.state, self.until, self.why
        return any((state, until, why) == own for _, state, until, why in self.models)

    def as_json(self) -> dict[str, object]:
        """The fields by name, fit for orjson: numbers rounded, each model in trouble an object."""
        models = [
            {"model": model, "state": state, "until": _rounded(until), "why": why}
            for model, state, until, why in self.models
        ]
        return {
            **self._asdict(),
            "until": _rounded(self.until),
            "success_ratio": _rounded(self.success_ratio, 4),
            "first_byte": _rounded(self.first_byte, 4),
            "first_byte_p95": _rounded(self.first_byte_p95, 4),
            "served": _rounded(self.served),
            "models": models,
        }


class ProbeResult(NamedTuple):
    """What came of asking one upstream key a cheap question; `why` is "" when it is well."""

    upstream: str
    key: str
    ok: bool
    why: str
    seconds: float

    def as_json(self) -> dict[str, object]:
        """The fields by name."""
        return {**self._asdict(), "seconds": _rounded(self.seconds, 4)}


def _rounded(number: float | None, digits: int = 3) -> float | None:
    """Fewer digits; None for what JSON has no number for (never is not a moment)."""
    return round(number, digits) if number is not None and math.isfinite(number) else None
