"""All metrics as one page: what requests added to, how the parts stand, and the process."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

from relayd.metrics.requests import RequestMetrics
from relayd.metrics.series import SHORT, Spread, histogram
from relayd.metrics.states import Accounts, Sources, collect

LOOKED_AT_EVERY = 0.5  # seconds between two looks at the loop's lag


class Metrics:
    """All metrics.

    Arguments:
        sources: where to look at a scrape.
    Attributes:
        requests: what the relay counts in.
    """

    def __init__(self, sources: Sources) -> None:
        self.requests = RequestMetrics()
        self._sources = sources
        self._accounts = Accounts()
        self._lag = Spread(SHORT)
        self._process = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    def __repr__(self) -> str:
        return f"<Metrics {self.requests!r}>"

    async def watch_loop(self) -> None:
        """Measure for ever how late the loop is: everything else waits as long as this does."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOKED_AT_EVERY
            await asyncio.sleep(LOOKED_AT_EVERY)
            self.woke(due, loop.time())

    def woke(self, due: float, now: float) -> None:
        """Count a task that the loop woke at `now`, and should have at `due`."""
        self._lag.observe(max(now - due, 0.0))

    def page(self) -> bytes:
        """Everything as it is now, in Prometheus' text format."""
        parts = [
            *self.requests.collect(),
            *collect(self._sources, self._accounts),
            histogram("relayd_event_loop_lag_seconds", {(): self._lag}),
        ]
        return "".join(parts).encode() + generate_latest(self._process)
