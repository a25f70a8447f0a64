"""The books as a whole: what is read at the start, who is kept out, what others change, upkeep.

Everything is real (database, journal, lock); a store that fails is one whose database was told to
refuse. Time is stepped forward by the loop's own clock, so that nobody waits for an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relayd.accounts import DEFAULT_GROUP, Group, Key
from relayd.daemon import bookkeeping
from relayd.daemon.bookkeeping import (
    FLUSH_TIMEOUT,
    PRUNED_EVERY,
    SAVED_EVERY,
    Bookkeeping,
    Keeping,
    Terms,
)
from relayd.errors import Refused
from relayd.ledger.journal import journal_directory
from relayd.ledger.lines import Opening, closing_line, opening_line
from relayd.ledger.lock import DatabaseInUse, lock_path
from relayd.ledger.segment import segment_path
from relayd.model import Entry, Holding, Usage
from relayd.money import DOLLAR
from relayd.policy.calendar import Calendar
from relayd.policy.keys import Directory
from relayd.policy.prices import Price, PriceBook, Rates
from relayd.routing import StateRules
from relayd.store import keys
from relayd.store.questions import NewKey
from relayd.store.refusals import DatabaseTooNew, StoreError, StoreUnavailable
from relayd.store.sqlite import SqliteStore
from relayd.tasks import Tasks
from tests.support.databases import prepare
from tests.support.journals import outcomes
from tests.support.waiting import until

NOON = 1_795_262_400.0  # 2026-11-21, 12:00 UTC
TODAY, YESTERDAY, LAST_MONTH = 20261121, 20261120, 20261031
DAY = 86_400.0
FAST = Keeping(interval=0.005, fsync=0)
PRICES = PriceBook([("m", Price(Rates.of({"input": 1, "output": 1})))])


class Stepping(asyncio.SelectorEventLoop):
    """A loop whose clock a test moves ahead."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work()

    with asyncio.Runner(loop_factory=Stepping) as runner:
        runner.run(whole())


async def step(seconds: float) -> None:
    """Move the clock, and let what became due run."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Stepping)
    loop.ahead += seconds
    for _ in range(3):
        await asyncio.sleep(0)


def terms(*groups: Group, zone: str = "UTC", prices: PriceBook = PRICES) -> Terms:
    known = {group.name: group for group in (DEFAULT_GROUP, *groups)}
    return Terms(known, prices, Calendar(zone))


@asynccontextmanager
async def opened(
    folder: Path, how: Terms | None = None, keeping: Keeping = FAST, now: float = NOON
) -> AsyncIterator[Bookkeeping]:
    """The books of one daemon, with the writer at work."""
    async with contextlib.AsyncExitStack() as stack:
        books = await Bookkeeping.open(prepare(folder / "db"), keeping, how or terms(), now, stack)
        tasks = Tasks()
        tasks.spawn(books.ledger.run(), "ledger")
        stack.push_async_callback(tasks.cancel)
        yield books


@asynccontextmanager
async def meanwhile(task: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Have a task run for a while; it has begun."""
    tasks = Tasks()
    running = tasks.spawn(task, "meanwhile")
    await asyncio.sleep(0)
    try:
        yield running
    finally:
        await tasks.cancel()


async def account_with(folder: Path, dollars: int) -> tuple[int, int, str]:
    """A database with one account that has so much; its id, its key's id, the secret."""
    store = await SqliteStore.open(prepare(folder / "db"))
    key, secret = await store.create_key(NewKey("laptop", "alice"), now=NOON, actor="test")
    if dollars:
        await store.add_credit(
            "alice", dollars * DOLLAR, kind="grant", reason="", actor="test", now=NOON
        )
    await store.close()
    return key.account.id, key.id, secret


def row(number: int, cost: int = 0, day: int = TODAY, ids: tuple[int, int] = (1, 1)) -> Entry:
    """A served request of the first key."""
    entry = Entry(f"req_{number:03}", NOON + number, ids[1], ids[0])
    entry.operation, entry.model_asked, entry.outcome, entry.status = "generate", "m", "ok", 200
    entry.usage, entry.usage_source = Usage(in_uncached=1, out_total=1), "reported"
    entry.cost, entry.day = cost, day
    return entry


def ago(days: int, number: int) -> Entry:
    """One of so many days ago, which cost a dollar."""
    at = NOON - days * DAY
    entry = row(number, DOLLAR, Calendar("UTC").day(at))
    entry.started_at = at + number
    return entry


def opening(number: int, cost: int) -> Opening:
    """The opening of a request of the first key that a crash cut."""
    name = f"req_{number:03}"
    return Opening(name, NOON + number, TODAY, 1, 1, "generate", "m", True, "chat", 9, cost)


def crashed(folder: Path, *lines: bytes) -> Path:
    """The journal that a killed daemon left."""
    journal = journal_directory(folder / "db")
    journal.mkdir(exist_ok=True)
    path = segment_path(journal, 1)
    path.write_bytes(b"".join(lines) + b"\0" * 100)
    return path


def refuse(folder: Path, what: str, table: str) -> None:
    """Let the database refuse to change a table, behind the store's back: `what` is INSERT, say."""
    text = f"CREATE TRIGGER refusal BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
    with contextlib.closing(sqlite3.connect(folder / "db")) as db:
        db.execute(text)


def allow(folder: Path) -> None:
    """The end of that."""
    with contextlib.closing(sqlite3.connect(folder / "db")) as db:
        db.execute("DROP TRIGGER refusal")


def rename(folder: Path, table: str, to: str) -> None:
    """Let the store not find a table, or find it again."""
    with contextlib.closing(sqlite3.connect(folder / "db")) as db, db:
        db.execute("PRAGMA legacy_alter_table = ON")
        db.execute(f"ALTER TABLE {table} RENAME TO {to}")


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


# --- the start ------------------------------------------------------------------------------------


def test_what_a_crash_left_in_the_journal_is_in_the_balances_from_the_start(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        account, key, _ = await account_with(tmp_path, 10)
        cut, settled = opening(2, cost=7), row(1, cost=2 * DOLLAR)
        lines = (opening_line(opening(1, 5)), opening_line(cut), closing_line(settled))
        crashed(tmp_path, *lines)
        async with opened(tmp_path) as books:
            balances = books.till.admission.balances
            assert balances.balance(account) == 8 * DOLLAR - 7
            assert balances.key(key).on(TODAY) == balances.key(key).ever == 2 * DOLLAR + 7
            assert balances.account(account).in_month(TODAY) == 2 * DOLLAR + 7
            rows = {one.request_id: one for one in await books.store.rows(limit=10)}
            assert {name: one.outcome for name, one in rows.items()} == {
                "req_001": "ok",
                "req_002": "interrupted",
            }
            assert rows["req_002"].usage_source == "interrupted"
            assert await books.store.verify() == []
            assert outcomes(journal_directory(tmp_path / "db")) == {}, "it is read once"

    run(work)


def test_a_journal_that_is_read_twice_is_counted_once(tmp_path: Path) -> None:
    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        lines = (closing_line(row(1, cost=DOLLAR)), opening_line(opening(2, cost=DOLLAR)))
        for _ in range(3):  # a start that was cut before the file was removed
            crashed(tmp_path, *lines)
            async with opened(tmp_path) as books:
                assert books.till.admission.balances.balance(account) == 8 * DOLLAR

    run(work)


def test_a_torn_last_line_does_not_stop_the_start(tmp_path: Path) -> None:
    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        whole = closing_line(row(1, cost=DOLLAR))
        crashed(tmp_path, whole, closing_line(row(2, cost=DOLLAR))[:-20])
        async with opened(tmp_path) as books:
            assert books.till.admission.balances.balance(account) == 9 * DOLLAR

    run(work)


def test_the_spending_of_this_month_and_the_last_is_known_by_day(tmp_path: Path) -> None:
    async def work() -> None:
        account, key, _ = await account_with(tmp_path, 10)
        days = (LAST_MONTH, YESTERDAY, TODAY, TODAY)
        crashed(tmp_path, *(closing_line(row(n, 10**n, day)) for n, day in enumerate(days)))
        async with opened(tmp_path) as books:
            balances = books.till.admission.balances
            for spending in (balances.key(key), balances.account(account)):
                assert [spending.on(day) for day in days[:3]] == [1, 10, 1100]
                assert spending.in_month(TODAY) == 1110
                assert spending.in_month(LAST_MONTH) == 1
                assert spending.ever == 1111

    run(work)


def test_a_request_of_the_day_before_is_seen_at_a_start_just_after_midnight(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        account, key, _ = await account_with(tmp_path, 10)
        crashed(tmp_path, closing_line(row(1, 5, 20261031)))
        first = NOON - 20 * DAY - DAY / 2 + 1  # 2026-11-01, 00:00:01
        async with opened(tmp_path, now=first) as books:
            assert books.day(first) == 20261101
            assert books.till.admission.balances.key(key).in_month(20261031) == 5
            assert books.till.admission.balances.account(account).on(20261031) == 5

    run(work)


def test_estimates_are_those_of_the_last_run(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path) as books:
            before = books.till.estimates.ratio("m")
            for _ in range(50):
                books.till.estimates.learn("m", 10_000, 1000)
            learned = books.till.estimates.ratio("m")
            assert learned > before
        async with opened(tmp_path) as books:
            assert books.till.estimates.ratio("m") == pytest.approx(learned)
            assert not books.till.estimates.dirty

    run(work)


# --- who is kept out ------------------------------------------------------------------------------


def test_a_second_daemon_is_refused_and_told_by_whom_and_the_first_goes_on(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with opened(tmp_path) as books:
            before = names(tmp_path)
            with pytest.raises(DatabaseInUse, match=r"relayd is running already .* \(process \d+"):
                async with opened(tmp_path):
                    raise AssertionError("it was let in")
            assert names(tmp_path) == before
            books.ledger.add(row(1))
            assert await books.ledger.flush() == 0
        async with opened(tmp_path) as books:
            assert len(await books.store.rows(limit=10)) == 1

    run(work)


def test_a_start_that_fails_leaves_nothing_open_and_the_journal_as_it_is(tmp_path: Path) -> None:
    async def work() -> None:
        await account_with(tmp_path, 10)
        left = crashed(tmp_path, closing_line(row(1, cost=DOLLAR)))
        before = left.read_bytes()
        db = sqlite3.connect(tmp_path / "db")
        [(version,)] = db.execute("PRAGMA user_version")
        db.execute("PRAGMA user_version = 999")
        for _ in range(2):  # the second try is not told that the first still runs
            with pytest.raises(DatabaseTooNew):
                async with opened(tmp_path):
                    raise AssertionError("it was opened")
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        assert left.read_bytes() == before
        async with opened(tmp_path) as books:
            assert len(await books.store.rows(limit=10)) == 1

    run(work)


def test_a_folder_that_cannot_be_one_is_an_error_that_names_it(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=str(lock_path(tmp_path / "file" / "db"))):
            async with opened(tmp_path / "file"):
                raise AssertionError("it was opened")

    run(work)


# --- what others change ---------------------------------------------------------------------------


async def topped_up(folder: Path) -> None:
    """Another process grants alice a dollar."""
    store = await SqliteStore.open(prepare(folder / "db"))
    await store.add_credit("alice", DOLLAR, kind="grant", reason="", actor="cli", now=NOON)
    await store.close()


def test_what_another_process_changes_is_seen_at_the_next_look(tmp_path: Path) -> None:
    async def work() -> None:
        account, _, secret = await account_with(tmp_path, 10)
        async with opened(tmp_path) as books, meanwhile(books.watch(lambda: 0.005)):
            assert books.directory.find(secret).account.id == account
            await topped_up(tmp_path)
            await until(lambda: books.till.admission.balances.balance(account) == 11 * DOLLAR)
            store = await SqliteStore.open(tmp_path / "db")
            await store.change_key("laptop", {"disabled": True}, now=NOON, actor="cli")
            await store.create_admin_token("ops", now=NOON, actor="cli")
            await store.close()
            await until(lambda: len(books.tokens) == 1)
            with pytest.raises(Refused, match="disabled"):
                books.directory.find(secret)

    run(work)


def test_nothing_is_read_again_while_nothing_has_changed(tmp_path: Path) -> None:
    async def work() -> None:
        await account_with(tmp_path, 10)
        async with opened(tmp_path) as books:
            looks, rounds = [0], [0]

            def every() -> float:
                rounds[0] += 1
                return 0.001

            def look() -> None:
                looks[0] += 1

            books.on_change = look
            async with meanwhile(books.watch(every)):
                await until(lambda: rounds[0] > 5)
                assert looks == [0]
                await topped_up(tmp_path)
                await until(lambda: looks == [1])

    run(work)


def test_while_the_store_cannot_be_read_the_known_keys_stay_and_then_all_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        account, _, secret = await account_with(tmp_path, 10)
        async with opened(tmp_path) as books:
            async with meanwhile(books.watch(lambda: 0.01)):
                rename(tmp_path, "admin_tokens", "hidden")
                await topped_up(tmp_path)
                with pytest.raises(StoreError):
                    await books.refresh()
                await until(lambda: "cannot read the keys" in caplog.text)
                assert books.directory.find(secret).account.id == account
                rename(tmp_path, "hidden", "admin_tokens")
                await until(lambda: books.till.admission.balances.balance(account) == 11 * DOLLAR)

    run(work)


def test_a_reload_brings_groups_prices_and_the_calendar(tmp_path: Path) -> None:
    async def work() -> None:
        _, _, secret = await account_with(tmp_path, 0)
        async with opened(tmp_path) as books:
            assert books.directory.find(secret).group is DEFAULT_GROUP
            wide = Group("default", multiplier=2)
            prices = PriceBook([], "refuse")
            await books.adopt(terms(wide, zone="Pacific/Auckland", prices=prices))
            assert books.directory.find(secret).group is wide
            assert books.till.prices is prices and not books.till.sells("m")
            assert books.till.calendar.day(NOON) == books.day(NOON) == 20261122
            report = await books.store.usage_days(NOON - 3 * DAY, NOON)
            assert report == (20261119, 20261122), "reports go by it too"

    run(work)


def test_a_reload_that_the_store_prevents_changes_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        _, _, secret = await account_with(tmp_path, 0)
        async with opened(tmp_path) as books:
            rename(tmp_path, "admin_tokens", "hidden")
            with pytest.raises(StoreError):
                await books.adopt(terms(Group("default", multiplier=2), prices=PriceBook([])))
            rename(tmp_path, "hidden", "admin_tokens")
            await books.refresh()
            assert books.till.prices is PRICES
            assert books.directory.find(secret).group is DEFAULT_GROUP

    run(work)


def test_an_account_of_a_group_that_is_none_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        _, _, secret = await account_with(tmp_path, 0)
        async with opened(tmp_path) as books:
            await books.store.change_account("alice", group="gone", now=NOON, actor="test")
            for _ in range(3):
                await books.refresh()
            with pytest.raises(Refused, match="group"):
                books.directory.find(secret)
            assert caplog.text.count("there is no group 'gone'") == 1
            await books.store.change_account("alice", group="default", now=NOON, actor="test")
            await books.refresh()
            await books.store.change_account("alice", group="gone", now=NOON, actor="test")
            await books.refresh()
            assert caplog.text.count("there is no group 'gone'") == 2, "it is news again"

    run(work)


def test_what_is_in_flight_and_spent_outlives_a_look_at_the_store(tmp_path: Path) -> None:
    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        async with opened(tmp_path) as books:
            balances = books.till.admission.balances
            assert "0 reserved" in repr(books)
            balances.account(account).reserved += 5
            balances.account(account).add(DOLLAR, TODAY)  # its row is not in the store yet
            await books.refresh()
            assert balances.available(account) == 9 * DOLLAR - 5
            assert "LedgerWriter" in repr(books)
            assert books.till.admission.balances is balances

    run(work)


@pytest.mark.parametrize("fsync", [0.0, 1.0])
def test_the_journal_goes_when_the_store_is_on_the_platter_where_that_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: float
) -> None:
    seen: list[tuple[str, bool]] = []  # what was synced, and whether the journal's file was there
    left = segment_path(journal_directory(tmp_path / "db"), 1)
    fdatasync = os.fdatasync

    def watched(fd: int) -> None:
        seen.append((Path(os.readlink(f"/proc/self/fd/{fd}")).name, left.exists()))
        fdatasync(fd)

    async def work() -> None:
        await account_with(tmp_path, 10)
        crashed(tmp_path, closing_line(row(1)))
        monkeypatch.setattr(os, "fdatasync", watched)
        async with opened(tmp_path, keeping=FAST._replace(fsync=fsync)) as books:
            promised = [("db-wal", True)] if fsync else []
            assert seen == promised, "after a crash"
            books.ledger.open(opening(2, cost=7))
            books.ledger.add(row(2))
        assert not left.exists()
        assert [one for one in seen if one[0] == "db-wal"] == 2 * promised, "at the end"

    run(work)


def test_keys_are_made_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand of them would keep every request waiting for a third of a second."""
    threads: set[str] = set()

    class Watched(Directory):
        def __init__(self, keys: Iterable[Key], groups: Iterable[Group] = ()) -> None:
            threads.add(threading.current_thread().name)
            super().__init__(keys, groups)

    async def work() -> None:
        await account_with(tmp_path, 10)
        async with opened(tmp_path) as books:
            monkeypatch.setattr(bookkeeping, "Directory", Watched)
            monkeypatch.setattr(keys, "Key", made)
            await books.refresh()
            assert threads and "MainThread" not in threads

    def made(*args: Any, **kwargs: Any) -> Key:
        threads.add(threading.current_thread().name)
        return Key(*args, **kwargs)

    run(work)


# --- upkeep ---------------------------------------------------------------------------------------


def test_estimates_are_saved_every_minute_if_anything_was_learned(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path) as books:
            async with meanwhile(books.upkeep(lambda: NOON)):
                await step(SAVED_EVERY + 1)
                assert await books.store.estimates() == {}
                books.till.estimates.learn("m", 4000, 900)
                await step(SAVED_EVERY - 5)
                assert books.till.estimates.dirty
                await step(SAVED_EVERY)
                await until(lambda: not books.till.estimates.dirty)
                await _settled(books)
                assert "m" in await books.store.estimates()

    run(work)


async def _settled(books: Bookkeeping) -> None:
    """Let a write that has begun be seen by a read."""
    await books.store.create_account("witness", now=NOON, actor="test")


def test_estimates_that_could_not_be_saved_are_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with opened(tmp_path) as books:
            async with meanwhile(books.upkeep(lambda: NOON)):
                books.till.estimates.learn("m", 4000, 900)
                refuse(tmp_path, "INSERT", "estimates")
                await step(SAVED_EVERY + 1)
                await until(lambda: "the estimates could not be saved" in caplog.text)
                allow(tmp_path)
                await step(SAVED_EVERY + 1)
                await until(lambda: not books.till.estimates.dirty)
                await _settled(books)
                assert "m" in await books.store.estimates()

    run(work)


async def rows(books: Bookkeeping) -> int:
    return len(await books.store.rows(limit=100))


@pytest.mark.parametrize("keep", [0.0, 10 * DAY])
def test_rows_older_than_is_kept_are_pruned_by_the_hour_and_their_sums_stay(
    tmp_path: Path, keep: float
) -> None:
    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        old = [ago(16, n) for n in range(3)]
        clock = [NOON]
        async with opened(tmp_path, keeping=FAST._replace(keep=keep)) as books:
            for one in (*old, ago(1, 8), ago(0, 9)):
                books.ledger.add(one)
            await forget(books)
            async with meanwhile(books.upkeep(lambda: clock[0])):
                await step(SAVED_EVERY + 1)
                if keep:
                    await until(lambda: _is(rows(books), 2))
                    clock[0] += 20 * DAY
                    await step(SAVED_EVERY + 1)
                    await asyncio.sleep(0.02)
                    assert await rows(books) == 2, "not every minute"
                    for _ in range(int(PRUNED_EVERY / SAVED_EVERY)):
                        await step(SAVED_EVERY + 1)
                    await until(lambda: _is(rows(books), 0))
                else:
                    await asyncio.sleep(0.02)
                    assert await rows(books) == 5
                [sums] = await books.store.usage(0.0, None, ())
                assert (sums.requests, sums.cost) == (5, 5 * DOLLAR)
                assert await books.store.verify() == []
                assert (await books.store.spent())[account] == 5 * DOLLAR

    run(work)


async def forget(books: Bookkeeping) -> None:
    """The store has all rows, and the journal no line of them."""
    await books.ledger.flush()
    journal = books.ledger._journal
    journal.turn()
    journal.tidy()


def test_a_row_that_a_crash_would_bring_back_is_not_pruned_and_so_not_billed_twice(
    tmp_path: Path,
) -> None:
    """A request that stays open for longer than rows are kept holds on to its journal file, in
    which others have their lines too: pruned, their rows were new again to the next replay."""

    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        keeping = FAST._replace(keep=2 * DAY)
        async with opened(tmp_path, keeping=keeping) as books:
            ended = ago(16, 50)
            ended.cost = 0
            begun = opening(50, 0)._replace(started_at=ended.started_at, day=ended.day)
            books.ledger.open(begun)
            books.ledger.add(ago(16, 1))
            await forget(books)
            await books._prune(NOON)
            assert await rows(books) == 1

            await asyncio.to_thread(shutil.copytree, tmp_path, tmp_path / "crashed")
            books.ledger.add(ended)
            await forget(books)
            await books._prune(NOON)
            assert await rows(books) == 0

        async with opened(tmp_path / "crashed", keeping=keeping) as books:
            assert (await books.store.spent())[account] == DOLLAR
            await books._prune(NOON)
            assert await rows(books) == 0, "the journal that was left behind is read and gone"
            assert await books.store.verify() == []

    run(work)


async def _is(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


def test_pruning_that_fails_is_said_and_upkeep_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with opened(tmp_path, keeping=FAST._replace(keep=DAY)) as books:
            async with meanwhile(books.upkeep(lambda: NOON)) as upkeep:
                books.ledger.add(ago(16, 1))
                await forget(books)
                refuse(tmp_path, "DELETE", "usage")
                await step(SAVED_EVERY + 1)
                await until(lambda: "old usage rows could not be pruned" in caplog.text)
                allow(tmp_path)
                assert not upkeep.done()

    run(work)


# --- responses that upstreams keep ----------------------------------------------------------------


def held(number: int, at: float = NOON) -> Holding:
    return Holding(f"digest-{number}", 1, "up", "1", "site", "m", "m", at)


def test_what_rows_told_of_responses_is_known_after_a_start_and_pruned_by_the_hour(
    tmp_path: Path,
) -> None:
    state = StateRules(entries=2, ttl=10 * DAY)

    async def work() -> None:
        clock = [NOON]
        async with opened(tmp_path) as books:
            for number, at in enumerate((NOON - 20 * DAY, NOON - 3, NOON - 2, NOON - 1)):
                told = row(number)
                told.holding = held(number, at)
                books.ledger.add(told)
            await books.ledger.flush()
        async with opened(tmp_path, terms()._replace(state=state)) as books:
            assert [bool(books.holdings.find(f"digest-{n}", NOON)) for n in range(4)] == [
                *[False, False],
                *[True, True],
            ]
            await books.adopt(terms()._replace(state=StateRules(ttl=1.5)))
            assert books.holdings.find("digest-2", NOON) is None, "a reload's rules count at once"
            await books.adopt(terms()._replace(state=state))
            async with meanwhile(books.upkeep(lambda: clock[0])):
                await step(SAVED_EVERY + 1)
                await until(lambda: _stored(books, 2))

    run(work)


def test_what_is_owed_for_a_response_stays_set_aside_over_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path) as books:
            told = row(1)
            told.holding = held(1)._replace(state="owed", key_id=7, reserved=5 * DOLLAR)
            books.ledger.add(told)
            await books.ledger.flush()
        async with opened(tmp_path) as books:
            balances = books.till.admission.balances
            parties = balances.account(1), balances.key(7)
            assert [party.reserved for party in parties] == [5 * DOLLAR] * 2
            books.holdings.keep(held(1), NOON)
            assert [party.reserved for party in parties] == [0, 0]

    run(work)


async def _stored(books: Bookkeeping, number: int) -> bool:
    return len(await books.store.holdings(0.0, 100)) == number


# --- a store that fails ---------------------------------------------------------------------------


def test_rows_wait_for_a_store_that_fails_and_nothing_is_lost(tmp_path: Path) -> None:
    async def work() -> None:
        await account_with(tmp_path, 10)
        async with opened(tmp_path) as books:
            refuse(tmp_path, "INSERT", "usage")
            books.ledger.add(row(1, cost=DOLLAR))
            await until(lambda: books.ledger.failing)
            assert books.ledger.waiting == 1
            allow(tmp_path)
            while books.ledger.waiting:
                await step(60.0)
                await asyncio.sleep(0.005)
            assert await rows(books) == 1
            assert await books.store.verify() == []

    run(work)


def test_rows_that_the_store_did_not_take_before_the_end_are_there_after_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        account, *_ = await account_with(tmp_path, 10)
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            books = await Bookkeeping.open(tmp_path / "db", FAST, terms(), NOON, stack)
            refuse(tmp_path, "INSERT", "usage")
            books.ledger.open(opening(1, cost=7))
            books.ledger.add(row(1, cost=DOLLAR))
            closing = loop.create_task(stack.aclose())
            while not closing.done():
                await step(FLUSH_TIMEOUT)
                await asyncio.sleep(0.01)
            await closing
        assert "usage rows are in the journal only" in caplog.text
        allow(tmp_path)
        async with opened(tmp_path) as books:
            assert await rows(books) == 1
            assert books.till.admission.balances.balance(account) == 9 * DOLLAR

    run(work)


def test_a_start_waits_for_a_store_that_does_not_take_the_journal_and_then_gives_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await account_with(tmp_path, 10)
        left = crashed(tmp_path, closing_line(row(1, cost=DOLLAR)))
        refuse(tmp_path, "INSERT", "usage")
        starting = asyncio.get_running_loop().create_task(_start(tmp_path))
        while not starting.done():
            await step(30.0)
            await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable):
            await starting
        allow(tmp_path)
        assert left.exists(), "nothing is lost"
        async with opened(tmp_path) as books:
            assert await rows(books) == 1

    with caplog.at_level(logging.WARNING):
        run(work)


async def _start(folder: Path) -> None:
    async with opened(folder):
        raise AssertionError("it was opened")
