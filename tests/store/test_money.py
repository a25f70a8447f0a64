"""Credits, what was spent, the sums over the log, their proof, and what is left after pruning."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from relayd.model import Entry, Usage
from relayd.money import MOST
from relayd.policy.calendar import Calendar
from relayd.store.base import Store
from relayd.store.days import LAST_MOMENT
from relayd.store.questions import UsageFilter
from relayd.store.refusals import BadAmount, BadValue, NotFound
from relayd.store.sqlite import SqliteStore
from relayd.store.usage import PRUNED_AT_ONCE
from tests.store.backends import Run, grant, make
from tests.store.samples import NOON, WHO, entry
from tests.support.databases import prepare

DAY = 86_400.0
TODAY, TOMORROW = 20261121, 20261122


# credits


def test_credits_add_up_and_are_listed_newest_first(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.create_account("team", **WHO)
        await store.create_account("idle", **WHO)
        seen = await store.keys_version()
        first = await store.add_credit("team", 20, kind="grant", reason="start", **WHO)
        second = await store.add_credit("1", -5, kind="adjustment", reason="error", **WHO)
        assert await store.keys_version() > seen  # a running relayd looks again
        assert (first.account_id, first.amount, first.actor) == (1, 20, "test")
        assert await store.granted() == {1: 15}
        assert await store.credits() == await store.credits("team") == [second, first]
        assert await store.credits(limit=1) == [second]
        assert await store.credits(before=second.id) == [first]
        assert await store.credits("idle") == []

    run(steps)


ABSURD: list[tuple[int, Any]] = [
    (0, "grant"),
    (-1, "grant"),
    (0, "adjustment"),
    (MOST + 1, "grant"),
    (-MOST - 1, "adjustment"),
    (10**30, "grant"),
    (1, "gift"),
]


@pytest.mark.parametrize(("amount", "kind"), ABSURD)
def test_absurd_amounts_are_refused_and_change_nothing(run: Run, amount: int, kind: Any) -> None:
    async def steps(store: Store) -> None:
        await store.create_account("team", **WHO)
        lines = await store.audit()
        with pytest.raises(BadAmount):
            await store.add_credit("team", amount, kind=kind, reason="", **WHO)
        assert await store.credits() == [] and await store.audit() == lines

    run(steps)


def test_the_credits_of_an_account_stay_within_what_64_bits_hold(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.create_account("team", **WHO)
        await grant(store, MOST)
        with pytest.raises(BadAmount, match="together"):
            await grant(store, 1)
        with pytest.raises(NotFound):
            await grant(store, 1, "nobody")
        with pytest.raises(BadValue):
            await store.add_credit("team", -1, kind="adjustment", reason="x" * 1001, **WHO)
        assert await store.granted() == {1: MOST}

    run(steps)


@pytest.mark.parametrize("table", ["credits", "audit"])
def test_what_is_append_only_stays_as_it_was_by_whatever_tool(tmp_path: Path, table: str) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> None:
        store = await SqliteStore.open(path)
        await store.create_account("team", **WHO)
        await grant(store, 5)
        await store.close()

    asyncio.run(steps())
    db = sqlite3.connect(path)
    for statement in ("DELETE FROM %s", "UPDATE %s SET actor = 'nobody'"):
        with pytest.raises(sqlite3.IntegrityError, match="never changed or deleted"):
            db.execute(statement % table)
    db.close()


# what was spent


def test_a_row_and_its_sums_are_one_and_a_row_offered_twice_counts_once(run: Run) -> None:
    rows = [
        entry(1, cost=7),
        entry(2, cost=5, key_id=2),
        entry(3, cost=3, started_at=NOON + DAY),
        entry(4, cost=1, account_id=None, key_id=None),
        entry(5),
    ]

    async def steps(store: Store) -> None:
        await store.add_entries(rows)
        await store.add_entries(rows[:2])
        assert await store.spent() == {1: 15}
        assert await store.key_spent(0) == {1: {TODAY: 7, TOMORROW: 3}, 2: {TODAY: 5}}
        assert await store.key_spent(TOMORROW) == {1: {TOMORROW: 3}}
        assert await store.key_spent_ever() == {1: 10, 2: 5}
        assert await store.key_spent_ever([2, 7]) == {2: 5}
        assert await store.key_spent_ever([]) == {}
        assert await store.account_spent_by_day(0) == {1: {TODAY: 12, TOMORROW: 3}}
        assert await store.account_spent_by_day(TOMORROW) == {1: {TOMORROW: 3}}
        assert await store.verify() == []

    run(steps)


@pytest.mark.parametrize("amount", [2**53 + 1, 2**63 - 1])
def test_sums_of_money_are_exact_where_floats_and_64_bits_are_not(run: Run, amount: int) -> None:
    async def steps(store: Store) -> None:
        for rows in ([entry(i, cost=amount, uncharged=amount) for i in range(3)], [entry(3)]):
            await store.add_entries(rows)
        total = 3 * amount
        assert await store.spent() == await store.key_spent_ever() == {1: total}
        assert await store.key_spent_ever([1, 2]) == {1: total}
        assert (
            await store.key_spent(0) == await store.account_spent_by_day(0) == {1: {TODAY: total}}
        )
        for since in (0.0, NOON):  # from the sums, from the rows
            for by in ((), ("key", "model"), ("account",)):
                (row,) = await store.usage(since, None, by)
                assert (row.cost, row.uncharged) == (total, total)
        assert await store.verify() == []

    run(steps)


def test_absurd_costs_do_not_keep_a_row_out(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(1, cost=10**30), entry(2, usage=Usage(out_total=10**30))])
        assert [row.cost for row in await store.rows(limit=5)] == [0, 2**63 - 1]

    run(steps)


def test_a_row_without_a_day_counts_to_its_utc_day(run: Run) -> None:
    async def steps(store: Store) -> None:
        nowhen = Entry(request_id="x", started_at=float("nan"), duration=float("inf"))
        await store.add_entries([entry(1, day=0), nowhen])
        assert [row.day for row in await store.rows(limit=5)] == [TODAY]
        assert await store.verify() == []

    run(steps)


# the report


def test_a_long_report_counts_whole_days_and_a_short_one_seconds(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(n, started_at=NOON + n * DAY / 2) for n in range(8)])
        short, long = (NOON + 1, NOON + DAY), (NOON + 1, NOON + 3 * DAY)
        assert await store.usage_days(*short) is None
        assert (await store.usage(*short, ()))[0].requests == 1
        assert await store.usage_days(*long) == (TODAY, 20261124)
        # Whole days: also the first request, before the span's first second, and one after it.
        assert [r.requests for r in await store.usage(*long, ("day",))] == [1, 2, 2, 2]
        assert await store.usage_days(NOON + 1, None) == (TODAY, 20261125)
        assert (await store.usage(NOON + 1, None, ()))[0].requests == 8
        assert await store.usage_days(NOON, NOON - 10 * DAY) is None
        midnight = NOON + DAY / 2
        assert await store.usage_days(midnight, midnight + 3 * DAY) == (TOMORROW, 20261124)
        assert await store.usage_days(float("-inf"), float("inf")) == (19700101, 99991231)

    run(steps)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", "UTC"])
def test_the_end_of_time_has_a_day_in_every_zone(tmp_path: Path, zone: str) -> None:
    async def steps() -> None:
        store = await SqliteStore.open(prepare(tmp_path / "relayd.db"), day_of=Calendar(zone).day)
        for days_before in (0, 0.5, 1, 1.5, 2, 2.5):
            moment = LAST_MOMENT - days_before * DAY
            assert await store.usage(moment, None, ()) != []
            assert await store.usage_days(NOON, moment) is not None
        await store.close()

    asyncio.run(steps())


def test_a_report_can_be_cut_to_its_first_lines(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(n, model_asked=f"m{n % 3}") for n in range(6)])
        for until in (NOON + DAY, NOON + 100 * DAY):
            whole = await store.usage(NOON, until, ("model",))
            assert len(whole) == 3
            assert await store.usage(NOON, until, ("model",), limit=2) == whole[:2]

    run(steps)


@pytest.mark.parametrize("by", [("key",), ("account", "model"), ("model",), ("day", "key"), ()])
@pytest.mark.parametrize("months", [0, 1, 2, 5])
def test_months_and_days_come_to_what_the_rows_come_to(
    run: Run, by: tuple[str, ...], months: int
) -> None:
    rows = [
        entry(n, started_at=NOON + n * 10 * DAY, cost=7**n, key_id=1 + n % 3) for n in range(20)
    ]
    until = NOON + (months * 30 + 7) * DAY

    async def steps(store: Store) -> None:
        for name in ("a", "b", "c"):
            await make(store, name)
        await store.add_entries(rows)
        for since, end in ((NOON, until), (NOON, None), (NOON + 35 * DAY, until + 35 * DAY)):
            inside = [r for r in rows if since <= r.started_at and (not end or r.started_at < end)]
            report = await store.usage(since, end, by)
            assert sum(row.cost for row in report) == sum(r.cost for r in inside)
            assert sum(row.requests for row in report) == len(inside)

    run(steps)


def test_names_that_clients_make_up_do_not_grow_the_sums(run: Run) -> None:
    async def steps(store: Store) -> None:
        made_up = [entry(n, model_asked=f"made-up-{n}", outcome="refused") for n in range(9)]
        await store.add_entries(made_up)
        (row,) = await store.usage(0, None, ("model",))
        assert (row.group, row.requests) == (("",), 9)
        named = {row.model_asked for row in await store.rows(limit=9)}
        assert named == {f"made-up-{n}" for n in range(9)}

    run(steps)


@pytest.mark.parametrize("since", [0.0, NOON])
def test_reports_and_rows_are_filtered(run: Run, since: float) -> None:
    async def steps(store: Store) -> None:
        await make(store, "laptop", "team")
        await make(store, "desk", "others")
        other = {"key_id": 2, "account_id": 2, "model_asked": "big", "upstream": "south"}
        await store.add_entries([entry(1), entry(2, outcome="client_gone"), entry(3, **other)])
        for filters, expected in (
            (UsageFilter(key="laptop"), 2),
            (UsageFilter(account="others"), 1),
            (UsageFilter(model="small"), 2),
            (UsageFilter(upstream="south", account="2"), 1),
            (UsageFilter(outcome="client_gone", key="1"), 1),
            (UsageFilter(outcome="client_gone", key="desk"), 0),
        ):
            (total,) = await store.usage(since, None, (), filters)
            assert total.requests == expected, filters
            assert len(await store.rows(filters, since=since)) == expected, filters
        with pytest.raises(NotFound):
            await store.usage(since, None, (), UsageFilter(key="none"))
        with pytest.raises(NotFound):
            await store.rows(UsageFilter(account="none"))

    run(steps)


def test_rows_are_paged_without_gaps_where_moments_are_the_same(run: Run) -> None:
    async def steps(store: Store) -> None:
        rows = [entry(n, started_at=NOON + n // 4) for n in range(10)]
        await store.add_entries(rows)
        found = await store.rows(limit=3)
        while page := await store.rows(limit=3, before=found[-1].request_id):
            found += page
        assert found == sorted(rows, key=lambda r: (r.started_at, r.request_id), reverse=True)
        assert len(await store.rows(since=NOON + 1, until=NOON + 2)) == 4
        with pytest.raises(NotFound):
            await store.rows(before="req_none")

    run(steps)


# pruning


def test_pruning_takes_the_rows_and_leaves_the_sums(run: Run) -> None:
    rows = [entry(n, started_at=NOON + n * DAY, cost=1) for n in range(6)]

    async def steps(store: Store) -> None:
        await store.add_entries(rows)
        before = await store.usage(0, None, ("day", "model"))
        assert await store.prune(20261124) == 3
        assert await store.prune(20261124) == 0
        assert await store.rows(limit=9) == rows[:2:-1]
        assert await store.usage(0, None, ("day", "model")) == before
        assert await store.spent() == {1: 6} and await store.verify() == []
        # A short report over pruned days can only be in days now.
        assert await store.usage_days(NOON, NOON + 60) == (TODAY, TODAY)
        assert (await store.usage(NOON + 30, NOON + 60, ()))[0].requests == 1
        assert await store.prune(20270101) == 3
        assert (await store.usage(NOON, None, ()))[0].requests == 6
        assert await store.verify() == []

    run(steps)


def test_pruning_goes_by_the_day_that_a_row_counts_to(run: Run) -> None:
    """A zone's day ends up to half a day after or before that of UTC."""
    west = entry(1, started_at=NOON + DAY / 2 + 3600, day=TODAY)
    east = entry(2, started_at=NOON + 3600, day=TOMORROW)

    async def steps(store: Store) -> None:
        await store.add_entries([west, east])
        assert await store.prune(TOMORROW) == 1
        assert await store.rows(limit=9) == [east]

    run(steps)


def test_pruning_goes_on_until_nothing_is_left_to_take(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(n, started_at=NOON) for n in range(PRUNED_AT_ONCE + 1)])
        assert await store.prune(TOMORROW) == PRUNED_AT_ONCE + 1
        assert await store.rows(limit=1) == []

    run(steps)


def test_pruning_looks_for_rows_beside_the_ledger(tmp_path: Path) -> None:
    """The rows of the first kept day are looked at too, by the million: not inside a write."""
    kept = [entry(n, started_at=NOON, day=TOMORROW) for n in range(PRUNED_AT_ONCE + 3)]
    old = entry(1, started_at=NOON + 1, day=TODAY)

    async def steps() -> None:
        store = await SqliteStore.open(prepare(tmp_path / "relayd.db"))
        await store.add_entries([*kept, old])
        asked: list[str] = []
        await store._writer.set_trace_callback(asked.append)
        assert await store.prune(TOMORROW) == 1
        assert await store.rows(limit=1) == [kept[-1]]
        assert await store.verify() == []
        await store.close()
        # What the writing connection was asked: that rows go, and one row by its id.
        words = [text.split()[0] for text in asked]
        assert words == ["BEGIN", "UPDATE", "COMMIT", "BEGIN", "DELETE", "COMMIT"]
        assert old.request_id in asked[4] and "started_at" not in asked[4]

    asyncio.run(steps())


# what was learned


def test_estimates_are_replaced_whole(run: Run) -> None:
    async def steps(store: Store) -> None:
        assert await store.estimates() == {}
        await store.save_estimates({"a": (400.0, 100.0), "b": (1.0, 2.5)})
        await store.save_estimates({"b": (8.0, 2.0)})
        assert await store.estimates() == {"b": (8.0, 2.0)}

    run(steps)
