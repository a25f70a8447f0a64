"""The ledger's writer beside stores that refuse, are slow, or never answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from relayd.ledger.journal import Journal, JournalFull, Sizes
from relayd.ledger.lines import LONGEST, Opening
from relayd.ledger.writer import LedgerWriter, retry_delay
from relayd.model import Entry
from relayd.store.refusals import StoreUnavailable
from tests.support.journals import SMALL, FickleDisk, entry, files, opening, outcomes
from tests.support.logged import lines
from tests.support.waiting import until


class KeepingStore:
    """Takes every batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.took = asyncio.Event()

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        self.batches.append([entry.request_id for entry in entries])
        self.took.set()

    @property
    def ids(self) -> list[str]:
        return [request_id for batch in self.batches for request_id in batch]


class RefusingStore(KeepingStore):
    """Refuses the first batches, then takes them."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("disk is full")
        await super().add_entries(entries)


class StuckStore(KeepingStore):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        self.asked.set()
        await self.let_go.wait()
        await super().add_entries(entries)


class NoNotes:
    """A journal that takes everything and writes nothing down."""

    oldest = inf
    full = False
    size = 4096
    unwritten = 0

    def opened(self, opening: Opening) -> None: ...

    def settled(self, entry: Entry) -> None: ...

    def stored(self, entries: Sequence[Entry]) -> None: ...

    def retry(self) -> bool:
        return True

    def turn(self) -> None: ...

    def gather(self) -> None: ...

    def tidy(self, *, sync: bool = True) -> None: ...

    def close(self, *, sync: bool = True) -> None: ...


def row(number: int) -> Entry:
    return Entry(request_id=f"req_{number}", started_at=0.0)


def ids(numbers: range) -> list[str]:
    return [f"req_{number}" for number in numbers]


def add(writer: LedgerWriter, numbers: range) -> None:
    for number in numbers:
        writer.add(row(number))


async def running(writer: LedgerWriter, steps: Callable[[], Awaitable[Any]]) -> None:
    """The steps, with the writer's `run` beside them as the daemon has it."""
    run = asyncio.get_running_loop().create_task(writer.run())
    try:
        await steps()
    finally:
        run.cancel()
        await asyncio.wait([run])


def test_rows_go_out_in_order_and_in_batches() -> None:
    async def steps() -> None:
        store = KeepingStore()
        writer = LedgerWriter(store, NoNotes(), batch=3)
        add(writer, range(7))
        assert await writer.flush() == 0
        assert store.batches == [ids(range(3)), ids(range(3, 6)), ids(range(6, 7))]
        assert repr(writer) == "LedgerWriter(writing, 0 waiting of 100000)"

    asyncio.run(steps())


def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    async def steps() -> None:
        store = KeepingStore()
        writer = LedgerWriter(store, NoNotes(), interval=3600, batch=3)

        async def fill() -> None:
            add(writer, range(2))
            await asyncio.sleep(0)
            add(writer, range(2, 3))
            await asyncio.wait_for(store.took.wait(), 10)
            assert store.ids == ids(range(3))
            # A burst while one batch is being written is not made to wait either.
            store.took.clear()
            add(writer, range(3, 8))
            await asyncio.wait_for(store.took.wait(), 10)
            assert store.ids == ids(range(6))

        await running(writer, fill)
        assert writer.waiting == 2

    asyncio.run(steps())


def test_a_few_rows_go_after_the_interval_and_an_idle_writer_sleeps() -> None:
    async def steps() -> None:
        store = KeepingStore()
        writer = LedgerWriter(store, NoNotes(), interval=0.001)

        async def trickle() -> None:
            for number in range(3):
                store.took.clear()
                writer.add(row(number))
                await asyncio.wait_for(store.took.wait(), 10)
            assert store.batches == [[f"req_{n}"] for n in range(3)]

        await running(writer, trickle)

    asyncio.run(steps())


def test_rows_stay_until_the_store_has_them() -> None:
    async def steps() -> None:
        store = RefusingStore(refusals=2)
        writer = LedgerWriter(store, NoNotes(), batch=2)
        add(writer, range(3))
        assert not await writer.write_batch()
        assert (writer.waiting, writer.failing, writer.delay) == (3, True, 0.1)
        assert repr(writer) == "LedgerWriter(failing, 3 waiting of 100000)"
        assert await writer.flush() == 3
        assert writer.delay == 0.2
        assert await writer.flush() == 0
        assert store.ids == ids(range(3))
        assert (writer.failing, writer.delay) == (False, 0.2)

    asyncio.run(steps())


def test_run_survives_an_outage() -> None:
    async def steps() -> None:
        store = RefusingStore(refusals=1)
        writer = LedgerWriter(store, NoNotes(), interval=0.001, batch=2)

        async def outage() -> None:
            add(writer, range(3))
            await asyncio.wait_for(store.took.wait(), 10)

        await running(writer, outage)
        assert store.batches[0] == ids(range(2))

    asyncio.run(steps())


def test_an_outage_has_its_own_pace_however_many_rows_come() -> None:
    async def steps() -> None:
        store = RefusingStore(refusals=1)
        writer = LedgerWriter(store, NoNotes(), interval=3600, batch=2)
        add(writer, range(1))
        assert not await writer.write_batch()

        async def burst() -> None:
            await asyncio.sleep(0)  # `run` has begun to wait
            add(writer, range(1, 9))
            for _ in range(20):
                await asyncio.sleep(0)
            assert store.batches == []

        await running(writer, burst)

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("failures", "delay"), [(1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0), (10_000, 5.0)]
)
def test_retries_wait_twice_as_long_each_time_up_to_five_seconds(
    failures: int, delay: float
) -> None:
    assert retry_delay(failures) == delay


def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    async def steps() -> None:
        writer = LedgerWriter(RefusingStore(refusals=5), NoNotes())
        writer.add(row(1))
        for _ in range(8):
            await writer.write_batch()

    with caplog.at_level(logging.INFO):
        asyncio.run(steps())
    assert lines(caplog) == [
        "error ledger: the store fails, rows wait: disk is full rows=1",
        "warning ledger: the store takes rows again rows=0",
    ]


def test_full_says_stop_but_no_row_is_dropped() -> None:
    async def steps() -> None:
        store = KeepingStore()
        writer = LedgerWriter(store, NoNotes(), bound=5)
        add(writer, range(4))
        assert not writer.full
        add(writer, range(4, 8))
        assert writer.full and writer.waiting == 8
        assert await writer.flush() == 0
        assert not writer.full and store.ids == ids(range(8))

    asyncio.run(steps())


def test_half_full_is_crowded_and_so_is_a_journal_without_room() -> None:
    async def steps() -> None:
        notes = NoNotes()
        writer = LedgerWriter(KeepingStore(), notes, bound=6)
        add(writer, range(2))
        assert not writer.crowded
        notes.full = True
        assert writer.crowded
        notes.full = False
        add(writer, range(2, 3))
        assert writer.crowded and not writer.full
        assert await writer.flush() == 0
        assert not writer.crowded

    asyncio.run(steps())


def test_rows_that_come_while_a_batch_is_written_are_not_lost() -> None:
    async def steps() -> None:
        store = StuckStore()
        writer = LedgerWriter(store, NoNotes(), interval=0.001, batch=2)

        async def overtake() -> None:
            add(writer, range(2))
            await asyncio.wait_for(store.asked.wait(), 10)
            add(writer, range(2, 5))
            assert writer.waiting == 5
            store.let_go.set()
            assert await writer.flush() == 0
            assert store.ids == ids(range(5))

        await running(writer, overtake)

    asyncio.run(steps())


def test_a_cancelled_run_loses_nothing_and_close_writes_it() -> None:
    """The daemon cancels its tasks before it closes the ledger."""

    async def steps() -> None:
        store = StuckStore()
        writer = LedgerWriter(store, NoNotes(), interval=0, batch=2)
        add(writer, range(5))

        async def until_asked() -> None:
            await asyncio.wait_for(store.asked.wait(), 10)

        await running(writer, until_asked)
        assert writer.waiting == 5
        store.let_go.set()
        assert await writer.close() == 0
        assert store.ids == ids(range(5))

    asyncio.run(steps())


def test_close_ends_run_at_once() -> None:
    async def steps() -> None:
        for waiting in (0, 1):
            store = KeepingStore()
            writer = LedgerWriter(store, NoNotes(), interval=3600)
            run = asyncio.get_running_loop().create_task(writer.run())
            add(writer, range(waiting))
            for _ in range(5):
                await asyncio.sleep(0)
            assert await writer.close() == 0
            await asyncio.wait_for(run, 10)
            assert store.ids == ids(range(waiting))
            assert repr(writer) == "LedgerWriter(closing, 0 waiting of 100000)"

    asyncio.run(steps())


def test_close_tries_again_while_there_is_time() -> None:
    async def steps() -> None:
        store = RefusingStore(refusals=2)
        writer = LedgerWriter(store, NoNotes())
        add(writer, range(3))
        assert await writer.close(within=10) == 0
        assert store.ids == ids(range(3))

    asyncio.run(steps())


@pytest.mark.parametrize("store", [StuckStore, lambda: RefusingStore(10**9)])
def test_close_says_how_many_rows_it_could_not_write(
    store: Callable[[], KeepingStore], caplog: pytest.LogCaptureFixture
) -> None:
    async def steps() -> int:
        writer = LedgerWriter(store(), NoNotes())
        add(writer, range(3))
        return await writer.close(within=0.01)

    assert asyncio.run(steps()) == 3
    assert lines(caplog)[-1] == "error ledger: rows could not be written before the end rows=3"


# --- beside a journal -------------------------------------------------------------------------


def test_a_row_is_in_the_journal_before_anyone_hears_and_until_the_store_has_it(
    tmp_path: Path,
) -> None:
    async def steps() -> None:
        journal = Journal(tmp_path, SMALL)
        writer = LedgerWriter(RefusingStore(refusals=1), journal)
        writer.open(opening(1))
        assert outcomes(tmp_path) == {"req_1": "interrupted"}
        writer.add(entry(1))
        assert outcomes(tmp_path) == {"req_1": "ok"}
        assert not await writer.write_batch()
        journal.turn()
        journal.tidy()
        assert outcomes(tmp_path) == {"req_1": "ok"}
        assert await writer.write_batch()
        journal.tidy()
        assert outcomes(tmp_path) == {}
        assert await writer.close() == 0
        assert files(journal) == []

    asyncio.run(steps())


def test_what_the_store_does_not_take_before_the_end_is_left_to_the_journal(
    tmp_path: Path,
) -> None:
    async def steps() -> None:
        writer = LedgerWriter(RefusingStore(10**9), Journal(tmp_path, SMALL))
        writer.open(opening(1))
        writer.add(entry(1))
        assert await writer.close(within=0.01) == 1

    asyncio.run(steps())
    assert outcomes(tmp_path) == {"req_1": "ok"}


def test_a_store_that_is_locked_for_long_loses_nothing(tmp_path: Path) -> None:
    async def steps() -> None:
        store = StuckStore()
        writer = LedgerWriter(store, Journal(tmp_path, Sizes()), interval=0.001)

        async def locked() -> None:
            for number in range(500):
                writer.open(opening(number))
                writer.add(entry(number))
            await asyncio.wait_for(store.asked.wait(), 10)
            assert set(outcomes(tmp_path).values()) == {"ok"} and not writer.full
            store.let_go.set()
            await until(lambda: not writer.waiting)

        await running(writer, locked)
        assert sorted(store.ids) == sorted(ids(range(500)))
        await writer.close()

    asyncio.run(steps())
    assert outcomes(tmp_path) == {}


def test_a_full_journal_is_a_full_ledger_until_care_finds_room(tmp_path: Path) -> None:
    async def steps() -> None:
        disk = FickleDisk(room=1)
        writer = LedgerWriter(KeepingStore(), Journal(tmp_path, SMALL, disk), sync=0.005)
        care = asyncio.get_running_loop().create_task(writer.care())
        with pytest.raises(JournalFull):
            for number in range(100):
                writer.open(opening(number))
        assert writer.full
        await asyncio.sleep(0.05)
        assert writer.full
        disk.room = None
        await until(lambda: not writer.full)
        writer.open(opening(1000))
        care.cancel()
        await asyncio.wait([care])
        await writer.close()

    asyncio.run(steps())


def test_care_frees_the_file_that_one_long_request_keeps(tmp_path: Path) -> None:
    async def steps() -> None:
        journal = Journal(tmp_path, Sizes(segment=4 * LONGEST, bound=4 * LONGEST * 3))
        writer = LedgerWriter(KeepingStore(), journal, sync=0.005, turn=0.01)
        writer.open(opening(1))
        care = asyncio.get_running_loop().create_task(writer.care())
        await until(lambda: "00000001.log" not in files(journal))
        assert outcomes(tmp_path) == {"req_1": "interrupted"}
        care.cancel()
        await asyncio.wait([care])
        await writer.close()

    asyncio.run(steps())


@pytest.mark.parametrize("sync", [0.0, 0.002])
def test_care_deletes_what_is_stored_and_old(tmp_path: Path, sync: float) -> None:
    async def steps() -> None:
        journal = Journal(tmp_path, Sizes(segment=4 * LONGEST))
        writer = LedgerWriter(KeepingStore(), journal, sync=sync, turn=0.01)
        care = asyncio.get_running_loop().create_task(writer.care())
        writer.open(opening(1))
        writer.add(entry(1))
        await writer.flush()
        await until(lambda: outcomes(tmp_path) == {} and len(files(journal)) == 1)
        care.cancel()
        await asyncio.wait([care])
        await writer.close()
        assert files(journal) == []

    asyncio.run(steps())
