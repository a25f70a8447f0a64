"""Rows and keys for the tests of the store, the ledger and the commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

from relayd.model import Entry, Usage
from relayd.store.days import utc_day

NOON = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC


class Who(TypedDict):
    """When something is changed, and by whom."""

    now: float
    actor: str


WHO = Who(now=NOON, actor="test")


def entry(number: int, **changes: Any) -> Entry:
    """The row of request `number`, one second after that of the request before."""
    started_at = changes.pop("started_at", NOON + number)
    served = Entry(
        day=changes.pop("day", utc_day(started_at)),
        request_id=f"req_{int(started_at * 1000):012x}{number:016x}",
        started_at=started_at,
        key_id=1,
        account_id=1,
        operation="generate",
        model_asked="small",
        model_used="vendor/small-1",
        upstream="north",
        format_in="chat",
        format_out="chat",
        stream=True,
        status=200,
        outcome="ok",
        upstream_request_id=f"up-{number}",
        usage=Usage(in_uncached=100, cache_read=20, out_total=30, reasoning=5, total_reported=150),
        usage_source="reported",
        bytes_in=1000,
        bytes_out=2000,
        first_byte=0.25,
        duration=1.5,
    )
    return replace(served, **changes)
