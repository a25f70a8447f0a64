"""Prometheus' text format, read by Prometheus' own Python library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.support.raw_client import request_bytes

if TYPE_CHECKING:
    from tests.support.running import Running


class Samples:
    """What a metrics page says."""

    def __init__(self, page: bytes | str) -> None:
        text = page.decode() if isinstance(page, bytes) else page
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample that has exactly these labels; None where there is none."""
        found = [s.value for s in self._samples if s.name == name and s.labels == labels]
        assert len(found) <= 1, f"{name} {labels} stands there {len(found)} times"
        return found[0] if found else None

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples that carry these labels."""
        return sum(
            s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items()
        )


def scraped(relay: Running) -> Samples:
    """What a daemon's metrics page says now, to a program of this machine."""
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET"))
        reply = client.reply()
    assert reply.status == 200, reply.body
    return Samples(reply.body)


class Growth:
    """How much the counters of a daemon have grown since this was made."""

    def __init__(self, relay: Running) -> None:
        self._relay = relay
        self._before = scraped(relay)

    def of(self, name: str, **labels: str) -> float:
        """Of all samples that carry these labels."""
        return scraped(self._relay).total(name, **labels) - self._before.total(name, **labels)
