"""Usage by the admin API: reports over many requests, and single rows in pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relayd.model import Entry, Usage
from relayd.tasks import child
from relayd.web.admin_desk import Document
from relayd.web.admin_usage import AT_ONCE, in_turns
from tests.support.admin_desk import NOW
from tests.web.conftest import Counter

DAY = 86_400.0


@pytest.fixture
def busy(ask: Counter, alice: Any) -> Counter:
    """Six requests of one key, an hour apart, the last an hour ago, every second one failed."""
    key = ask("POST", "/keys", {"name": "laptop", "account": "alice"}, status=201)
    entries = [
        Entry(
            f"req_{number}",
            NOW - 3600.0 * (6 - number),
            key_id=key["id"],
            account_id=alice["id"],
            model_asked=f"model-{number % 2}",
            upstream="openai",
            status=502 if number % 2 else 200,
            outcome="upstream_error" if number % 2 else "ok",
            usage=Usage(in_uncached=10, out_total=number),
            usage_source="reported",
            cost=10**12,
            day=20261121,
        )
        for number in range(6)
    ]
    ask.desk.call(lambda: ask.desk.store.add_entries(entries))
    return ask


def test_without_anything_said_the_report_is_of_the_last_day(busy: Counter) -> None:
    report = busy("GET", "/usage")
    assert report["since"] == NOW - DAY
    assert (report["until"], report["days"], report["by"]) == (None, None, [])
    (row,) = report["data"]
    assert (row["group"], row["requests"], row["failed"], row["cost"]) == ({}, 6, 3, "6.00")
    assert (row["in_uncached"], row["out_total"], row["cache_read"]) == (60, 15, None)


def test_a_report_goes_by_any_dimensions(busy: Counter) -> None:
    rows = busy("GET", "/usage?by=model,account")["data"]
    assert [row["group"] for row in rows] == [
        {"model": "model-0", "account": "alice"},
        {"model": "model-1", "account": "alice"},
    ]
    assert [row["cost"] for row in rows] == ["3.00", "3.00"]


def test_a_report_can_be_filtered(busy: Counter) -> None:
    def requests(query: str) -> int:
        return sum(row["requests"] for row in busy("GET", f"/usage?{query}")["data"])

    assert requests("model=model-0") == 3
    assert requests("outcome=upstream_error&model=model-1") == 3
    assert requests("outcome=ok&model=model-1") == 0
    assert requests("account=alice&key=laptop&upstream=openai") == 6
    assert requests(f"since={NOW - 9000.0:.3f}") == 2
    assert requests(f"until={NOW - 9000.0:.3f}") == 4
    assert busy.refused("GET", "/usage?key=nobody", status=404)


def test_over_a_long_time_whole_days_are_counted_and_said(busy: Counter) -> None:
    report = busy("GET", f"/usage?since={NOW - 365 * DAY:.0f}&by=day")
    assert len(report["days"]) == 2


@pytest.mark.parametrize("query", ["by=colour", "by=model,model", "by=", "since=yesterday"])
def test_a_report_of_something_else_is_refused(ask: Counter, query: str) -> None:
    if query == "by=":
        assert ask("GET", f"/usage?{query}")["by"] == []
    else:
        assert ask.refused("GET", f"/usage?{query}")


def test_rows_come_newest_first_in_pages(busy: Counter) -> None:
    first = busy("GET", "/usage/rows?limit=4")
    assert [row["request_id"] for row in first["data"]] == ["req_5", "req_4", "req_3", "req_2"]
    rest = busy("GET", f"/usage/rows?limit=4&after={first['next']}")
    assert [row["request_id"] for row in rest["data"]] == ["req_1", "req_0"]
    assert rest["next"] is None
    newest = first["data"][0]
    assert newest["usage"] == {"in_uncached": 10, "out_total": 5}
    assert (newest["cost"], newest["uncharged"], newest["day"]) == ("1.00", "0.00", 20261121)


def test_rows_can_be_filtered(busy: Counter) -> None:
    rows = busy("GET", "/usage/rows?outcome=ok&key=laptop&model=model-0")["data"]
    assert [row["request_id"] for row in rows] == ["req_4", "req_2", "req_0"]
    early = busy("GET", f"/usage/rows?until={NOW - 15000.0:.0f}")["data"]
    assert [row["request_id"] for row in early] == ["req_1", "req_0"]
    assert busy.refused("GET", "/usage/rows?after=req_nothing", status=404)
    assert busy.refused("GET", "/usage/rows?account=nobody", status=404)


def test_a_report_has_a_bound_and_says_when_it_was_cut(busy: Counter) -> None:
    whole = busy("GET", "/usage?by=model")
    assert (len(whole["data"]), whole["cut"]) == (2, False)
    assert not busy("GET", "/usage?by=model&limit=2")["cut"]
    cut = busy("GET", "/usage?by=model&limit=1")
    assert (cut["data"], cut["cut"]) == (whole["data"][:1], True)
    assert "10001" in busy.refused("GET", "/usage?by=model&limit=10001")


def test_others_have_their_turn_while_many_lines_are_made() -> None:
    async def steps() -> None:
        seen: list[int] = []
        made: list[Document] = []

        async def other() -> None:
            while len(made) < 5 * AT_ONCE:
                seen.append(len(made))
                await asyncio.sleep(0)

        def line(number: int) -> Document:
            made.append({"number": number})
            return made[-1]

        beside = child(other())
        assert await in_turns(range(5 * AT_ONCE), line) == made
        await beside
        assert seen == [AT_ONCE * turn for turn in range(1, 5)]

    asyncio.run(steps())
