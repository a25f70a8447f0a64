"""Rows and all sums over them come in together, each row once, however it is offered."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.model import Entry, Usage
from relayd.store.base import Store
from relayd.store.batches import PREPARE
from relayd.store.entries import BATCH, COLUMNS
from relayd.store.sqlite import SqliteStore
from tests.store.backends import Opener, Run, spoil
from tests.store.samples import NOON, entry
from tests.support.databases import prepare

DAY = 86_400.0

COUNTS = st.none() | st.integers(0, 10**9)
ROWS = st.builds(
    entry,
    st.integers(0, 10**9),
    started_at=st.floats(NOON, NOON + 100 * DAY),
    key_id=st.none() | st.integers(1, 3),
    account_id=st.none() | st.integers(1, 2),
    model_asked=st.sampled_from(["a", "b"]),
    outcome=st.sampled_from(["ok", "refused", "client_gone"]),
    usage_source=st.sampled_from(["reported", "partial", "interrupted"]),
    usage=st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, out_total=COUNTS, tool_prompt=COUNTS),
    first_byte=st.none() | st.floats(0, 1e4),
    duration=st.floats(0, 1e4),
    cost=st.integers(0, 10**15),
    uncharged=st.integers(0, 10**15),
)
# Which of the rows each batch offers: the same one several times, in one batch and in others.
BATCHES = st.lists(st.lists(st.integers(0, 7), max_size=20), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=8), BATCHES)
def test_whatever_rows_come_however_often_the_sums_are_theirs(
    rows: list[Entry], batches: list[list[int]]
) -> None:
    kept: dict[str, int] = {}

    async def steps(folder: str) -> None:
        store = await SqliteStore.open(prepare(Path(folder) / "relayd.db"))
        for number, batch in enumerate(batches):
            # The first offer counts: later ones would cost more.
            offered = [
                replace(rows[which % len(rows)], cost=100 * number + place)
                for place, which in enumerate(batch)
            ]
            for row in offered:
                kept.setdefault(row.request_id, row.cost)
            await store.add_entries(offered)
        found = await store.verify()
        (total,) = await store.usage(0, None, ())
        await store.close()
        assert found == []
        assert (total.requests, total.cost) == (len(kept), sum(kept.values()))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(steps(folder))


def test_a_row_that_two_offer_at_once_counts_once(opener: Opener, tmp_path: Path) -> None:
    rows = [entry(n, cost=3) for n in range(200)]

    async def steps() -> None:
        stores = [await opener(tmp_path / "relayd.db") for _ in range(3)]
        starts = range(0, 200, 10)
        await asyncio.gather(*(s.add_entries(rows[i : i + 20]) for i in starts for s in stores))
        assert await stores[0].spent() == {1: 600}
        assert await stores[0].verify() == []
        for store in stores:
            await store.close()

    asyncio.run(steps())


def test_a_batch_that_failed_is_in_no_sum_and_may_be_offered_again(
    opener: Opener, tmp_path: Path
) -> None:
    path = tmp_path / "relayd.db"
    rows = [entry(n, cost=5) for n in range(20)]

    async def steps() -> None:
        store = await opener(path)
        refusal = "BEGIN SELECT RAISE(FAIL, 'no space left'); END"
        # The log has its rows when the last of the sums is refused.
        spoil(path, f"CREATE TRIGGER refuse BEFORE INSERT ON account_spend {refusal}")
        for _ in range(2):
            try:
                await store.add_entries(rows)
            except Exception as error:
                assert "no space left" in str(error)
            assert await store.rows(limit=50) == [] and await store.spent() == {}
        spoil(path, "DROP TRIGGER refuse")
        await store.add_entries(rows[:3])
        await store.add_entries(rows)
        assert await store.spent() == {1: 100} and await store.verify() == []
        await store.close()

    asyncio.run(steps())


def test_nothing_to_write_is_no_error(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([])
        assert await store.rows(limit=5) == [] and await store.verify() == []

    run(steps)


def test_a_value_is_in_a_batch_what_it_is_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"

    async def make() -> None:
        await (await SqliteStore.open(path)).close()

    asyncio.run(make())
    db = sqlite3.connect(path)
    for statement in PREPARE:
        db.execute(statement)
    logged, batch = (
        {name: kind for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})")}
        for table in ("usage", BATCH)
    )
    db.close()
    assert batch == {name: logged[name] for name in COLUMNS} and len(batch) == len(logged)
