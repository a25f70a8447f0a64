"""`python -m benchmarks.metrics`: what the metrics cost a request, and a scrape.

A request: `settle` of one row with all that is recorded for it, and the attempt. A scrape: 50
upstream keys, 200 accounts, and requests of 20 models in every format and of five other kinds of
work, at 10 upstreams, which is more series than a small relay has. Medians of rounds, in CPU time,
on whatever machine this is. Then the largest page that there can be: as many different requests as
the fuses let through, and more.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.machine import describe
from relayd.metrics.collector import Metrics
from relayd.metrics.requests import MOST_KINDS
from relayd.metrics.states import AccountState, Connections, LedgerState, Sources
from relayd.model import Entry, Usage
from relayd.policy.reports import DoorReport

ROUNDS = 15
REQUESTS = 20_000
SCRAPES = 20
OPERATIONS = ("embed", "image", "speech", "transcribe", "realtime")
FORMATS = ("chat", "responses", "messages", "gemini")
MOST_RECORDING = 15.0  # us
MOST_SCRAPING = 20.0  # ms


def entry(format_in: str, upstream: str, operation: str = "generate") -> Entry:
    """A streamed request that went well."""
    return Entry(
        "req_1",
        0.0,
        operation=operation,
        format_in=format_in,
        format_out=format_in,
        upstream=upstream,
        status=200,
        outcome="ok",
        stream=True,
        usage=Usage(in_uncached=900, cache_read=100, out_total=300, reasoning=50),
        usage_source="reported",
        first_byte=0.4,
        duration=6.0,
        cost=5_000_000_000,
        bytes_in=4000,
        bytes_out=60_000,
    )


def sources() -> Sources:
    """50 keys of 10 upstreams, 200 accounts."""
    doors = [
        DoorReport(f"up{n % 10}", f"key{n}", 1, 1, "up", "", None, 3, 9, 1, 0.99, 0.4, 0.9)
        for n in range(50)
    ]
    pools = [Connections(f"up{n}", 5, 5, 100, 1000) for n in range(10)]
    accounts = [AccountState(n, f"account{n}", n * 10**12, 10**12) for n in range(200)]
    return Sources(
        "1.0.0",
        doors=lambda: doors,
        connections=lambda: pools,
        ledger=LedgerState,
        accounts=lambda: accounts,
    )


def median(work: Callable[[], None], times: int) -> float:
    """Seconds of CPU for one of `times`, the median of rounds."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        taken.append((time.process_time() - begun) / times)
    return statistics.median(taken)


def largest() -> tuple[int, float]:
    """Bytes of the page when every request was of another kind than all before it, and the seconds
    that it takes to write it."""
    metrics = Metrics(sources())
    for number in range(2 * MOST_KINDS):
        row = entry("chat", f"upstream-number-{number}")
        metrics.requests.settle(row, f"a-model-with-a-long-name-{number}", 1.0)
        metrics.requests.attempt(row.upstream, "key", "ok")
        metrics.requests.retry(f"reason-{number}")
    metrics.page()
    begun = time.process_time()
    page = metrics.page()
    return len(page), time.process_time() - begun


def main() -> int:
    """Measure and print; 1 where a bound is passed."""
    metrics = Metrics(sources())
    requests = metrics.requests
    for number in range(20):
        for name in FORMATS:
            for upstream in range(10):
                requests.settle(entry(name, f"up{upstream}"), f"model{number}")
    for operation in OPERATIONS:
        for upstream in range(10):
            requests.settle(entry("chat", f"up{upstream}", operation), f"for-{operation}")
    row = entry("chat", "up1")

    def record() -> None:
        for _ in range(REQUESTS):
            requests.settle(row, "model1")
            requests.overhead("chat", 0.0003)
            requests.attempt("up1", "key1", "ok")

    def scrape() -> None:
        for _ in range(SCRAPES):
            metrics.page()

    recording, scraping = median(record, REQUESTS) * 1e6, median(scrape, SCRAPES) * 1e3
    page = metrics.page()
    known = describe()
    print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    print(f"recording one request   {recording:6.2f} us of CPU   (at most {MOST_RECORDING:g})")
    print(f"one scrape              {scraping:6.2f} ms of CPU   (at most {MOST_SCRAPING:g})")
    print(f"                        {page.count(10)} lines, {len(page)} bytes")
    large, seconds = largest()
    print(f"the largest page        {large / 2**20:6.2f} MiB, written in {seconds * 1e3:.0f} ms")
    return int(recording > MOST_RECORDING or scraping > MOST_SCRAPING)


if __name__ == "__main__":
    sys.exit(main())
