"""What is particular to SQLite: the file, its modes, its locks, and how errors are worded."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from relayd.store.questions import NewKey
from relayd.store.refusals import NotFound, StoreUnavailable
from relayd.store.sqlite import SqliteStore
from relayd.store.steps import MIGRATIONS
from relayd.tasks import child
from tests.store.samples import WHO, entry


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


async def open_and_close(path: Path, *, create: bool = True) -> None:
    store = await SqliteStore.open(path, create=create)
    await store.close()


def execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_the_owner_reads_the_database(tmp_path: Path) -> None:
    path = tmp_path / "new" / "relayd.db"

    async def steps() -> None:
        async with opened(path) as store:
            await store.add_entries([entry(1)])
            assert {mode(file) for file in path.parent.iterdir()} == {0o600}

    asyncio.run(steps())
    assert mode(path.parent) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    asyncio.run(open_and_close(tmp_path / "relayd.db"))
    assert mode(tmp_path) == 0o755


def test_the_log_is_written_ahead_and_reports_use_its_index(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    asyncio.run(open_and_close(path))
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    query = "EXPLAIN QUERY PLAN SELECT count(*) FROM usage WHERE started_at >= 1"
    assert "usage_started_at" in db.execute(query).fetchone()[3]
    db.close()


def test_a_database_that_need_not_be_made_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no database"):
        asyncio.run(open_and_close(tmp_path / "typo.db", create=False))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_unavailable_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 100)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt: file is not a database"):
        asyncio.run(open_and_close(path))
    assert path.read_text().startswith("dear diary")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"file/relayd\.db"):
        asyncio.run(open_and_close(tmp_path / "file" / "relayd.db"))


def test_a_failed_open_leaves_no_thread_behind(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 100)
    before = threading.enumerate()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            asyncio.run(open_and_close(path))
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:  # a thread that has said goodbye may take a moment to go
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)


def test_closing_twice_is_harmless_and_shows(tmp_path: Path) -> None:
    async def steps() -> None:
        store = await SqliteStore.open(tmp_path / "relayd.db")
        assert repr(store).endswith("relayd.db', open)")
        await store.close()
        await store.close()
        assert repr(store).endswith("relayd.db', closed)")

    asyncio.run(steps())


def test_a_failed_write_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> None:
        async with opened(path) as store:
            # The second statement of a batch of 20 (16 + 4) meets a row that the trigger refuses.
            execute(
                path,
                "CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN NEW.status = 999"
                " BEGIN SELECT RAISE(FAIL, 'no space left'); END",
            )
            rows = [entry(i) for i in range(20)]
            rows[18].status = 999
            with pytest.raises(StoreUnavailable, match="no space left"):
                await store.add_entries(rows)
            assert await store.rows(limit=100) == []
            execute(path, "DROP TRIGGER refuse")
            await store.add_entries(rows)
            assert len(await store.rows(limit=100)) == 20

    asyncio.run(steps())


def test_a_write_that_is_cancelled_leaves_the_store_usable(tmp_path: Path) -> None:
    """A stopping daemon cancels the ledger's task and then flushes.

    Cancelled during BEGIN, the store once stayed inside a transaction: every later write failed.
    """

    async def steps() -> None:
        async with opened(tmp_path / "relayd.db") as store:
            for turns in range(12):
                loop = asyncio.get_running_loop()
                writing = loop.create_task(store.add_entries([entry(i) for i in range(500)]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                writing.cancel()
                await asyncio.wait([writing])
                await store.create_key(NewKey(f"after-{turns}", "default"), **WHO)

    asyncio.run(steps())


def test_what_is_committed_can_be_brought_to_the_platter(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "relayd.db")
    names: list[str] = []
    fdatasync = os.fdatasync

    async def steps() -> None:
        async with opened(tmp_path / "link.db") as store:
            await store.add_entries([entry(1)])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fdatasync", watched)
                store.secure()
            assert names == ["relayd.db-wal"], "where SQLite keeps what it did not sync"
        store.secure()  # closed, it has brought all there itself

    def watched(fd: int) -> None:
        names.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        fdatasync(fd)

    asyncio.run(steps())


NOBODY = 65534


@contextmanager
def read_only_folder(fill: Callable[[Path], None]) -> Iterator[Path]:
    """A folder where nothing can be made, with what `fill` left there; root is nobody meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def old_database(folder: Path) -> None:
    db = sqlite3.connect(folder / "relayd.db")
    for statement in MIGRATIONS[0].statements:
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    db.close()


@pytest.mark.parametrize(
    "fill",
    [
        lambda folder: None,
        lambda folder: asyncio.run(open_and_close(folder / "relayd.db")),
        old_database,
    ],
    ids=["empty", "with a database", "with one of an older version"],
)
def test_a_folder_that_cannot_be_written_is_said_and_left_alone(
    fill: Callable[[Path], None],
) -> None:
    with read_only_folder(fill) as folder:
        before = contents(folder)
        with pytest.raises(StoreUnavailable, match=r"relayd\.db: \w+") as refused:
            asyncio.run(open_and_close(folder / "relayd.db"))
        assert contents(folder) == before
        said = str(refused.value).lower()
        assert any(word in said for word in ("permission", "readonly", "unable to open"))


def test_many_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    async def steps() -> None:
        path = tmp_path / "relayd.db"
        stores = await asyncio.gather(*(SqliteStore.open(path) for _ in range(8)))
        await asyncio.gather(
            *(s.create_key(NewKey(f"k{i}", "a"), **WHO) for i, s in enumerate(stores))
        )
        assert len(await stores[0].keys()) == 8
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(steps())


FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_search_keeps_nobody_waiting_and_ends_when_its_asker_gives_up(tmp_path: Path) -> None:
    async def steps() -> None:
        async with opened(tmp_path / "relayd.db") as store:
            search = child(store._search(FOR_EVER))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(2.0):
                assert await store.keys_version() == 1 and await store.granted() == {}
                search.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await search
                assert await store.usage(0.0, None, ("key",)) == []

    asyncio.run(steps())


def test_closing_does_not_wait_for_a_search(tmp_path: Path) -> None:
    async def steps() -> None:
        async with opened(tmp_path / "relayd.db") as store:
            search = child(store._search(FOR_EVER))
            await asyncio.sleep(0.05)
        with pytest.raises(StoreUnavailable, match="interrupted"):
            await search

    asyncio.run(steps())
    assert [file.name for file in tmp_path.iterdir()] == ["relayd.db"]
