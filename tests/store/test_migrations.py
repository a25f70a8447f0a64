"""From any released version to the newest, with a way back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import aiosqlite
import pytest

from relayd.store import migrations
from relayd.store.refusals import DatabaseTooNew, DatabaseTooOld, NotOurDatabase, StoreUnavailable
from relayd.store.sqlite import SqliteStore
from relayd.store.steps import MIGRATIONS, Migration

NICK = Migration("nicknames of keys", ("ALTER TABLE keys ADD COLUMN nick TEXT",))
BROKEN = Migration("a mistake", ("CREATE TABLE half (x)", "CREATE TABLE half (x)"))
CREATED = [
    "INSERT INTO accounts (name) VALUES ('team')",
    "INSERT INTO keys (name, account_id, digest, prefix, created_at)"
    " VALUES ('old', 1, x'00', 'sk-relayd-000000', 1.0)",
]


def migrate(path: Path, steps: Sequence[Migration]) -> int:
    async def run() -> int:
        async with aiosqlite.connect(path, isolation_level=None) as db:
            return await migrations.migrate(db, path, steps)

    return asyncio.run(run())


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    rows = db.execute(query).fetchall()
    db.commit()
    db.close()
    return rows


def test_every_step_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    assert migrate(path, MIGRATIONS) == len(MIGRATIONS)
    assert migrate(path, MIGRATIONS) == 0
    assert migrate(path, [*MIGRATIONS, NICK]) == 1
    assert ask(path, "PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    migrate(tmp_path / "relayd.db", [*MIGRATIONS, NICK])
    assert [file.name for file in tmp_path.iterdir()] == ["relayd.db"]


def test_an_old_database_keeps_its_rows_and_leaves_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS[:1])
    for statement in CREATED:
        ask(path, statement)
    assert migrate(path, [MIGRATIONS[0], NICK]) == 1
    assert ask(path, "SELECT name, nick FROM keys") == [("old", None)]
    copy = tmp_path / "relayd.db.before-2"
    assert ask(copy, "PRAGMA user_version") == [(1,)]
    assert ask(copy, "SELECT name FROM keys") == [("old",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["relayd.db", copy.name]


def test_the_first_released_version_opens_today(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS[:1])
    for statement in CREATED:
        ask(path, statement)

    async def steps() -> list[str]:
        store = await SqliteStore.open(path)
        names = [key.name for key in await store.keys()]
        await store.close()
        return names

    assert asyncio.run(steps()) == ["old"]


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS)
    before = ask(path, "SELECT name FROM sqlite_master ORDER BY name")
    with pytest.raises(sqlite3.OperationalError, match="half"):
        migrate(path, [*MIGRATIONS, BROKEN])
    assert ask(path, "SELECT name FROM sqlite_master ORDER BY name") == before
    assert ask(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    # The next attempt copies anew, over the copy of the failed one.
    assert migrate(path, [*MIGRATIONS, NICK]) == 1


def test_a_copy_that_cannot_be_made_stops_the_migration(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS)
    (tmp_path / f"relayd.db.before-{len(MIGRATIONS) + 1}").mkdir()
    with pytest.raises(OSError):
        migrate(path, [*MIGRATIONS, NICK])
    assert ask(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, [*MIGRATIONS, NICK])
    with pytest.raises(DatabaseTooNew, match="newer relayd"):
        asyncio.run(SqliteStore.open(path))
    assert ask(path, "PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]


def test_an_older_database_is_left_untouched_by_who_may_not_change_it(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS[:1])
    with pytest.raises(DatabaseTooOld):
        asyncio.run(SqliteStore.open(path, upgrade=False))
    assert ask(path, "PRAGMA user_version") == [(1,)]
    assert [file.name for file in tmp_path.iterdir()] == ["relayd.db"]


def test_a_foreign_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    ask(path, "CREATE TABLE photos (name)")
    with pytest.raises(NotOurDatabase, match="some other program"):
        asyncio.run(SqliteStore.open(path))
    assert ask(path, "SELECT name FROM sqlite_master") == [("photos",)]


def test_two_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS)

    async def one() -> int:
        async with aiosqlite.connect(path, isolation_level=None) as db:
            return await migrations.migrate(db, path, [*MIGRATIONS, NICK])

    async def both() -> list[int]:
        return list(await asyncio.gather(one(), one()))

    assert sum(asyncio.run(both())) == 1


def test_a_database_that_may_not_be_written_is_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.symlink_to(tmp_path / "nowhere" / "deep")
    with pytest.raises(StoreUnavailable):
        asyncio.run(SqliteStore.open(folder / "relayd.db"))


def test_rows_from_before_money_are_summed_and_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    migrate(path, MIGRATIONS[:2])
    for statement in CREATED:
        ask(path, statement)
    ask(
        path,
        "INSERT INTO usage (request_id, started_at, key_id, account_id, model_asked, outcome,"
        " in_uncached, duration) VALUES ('a', 1795262400.0, 1, 1, 'small', 'ok', 5, 1.5),"
        " ('b', 1795262401.0, 1, 1, 'small', 'ok', NULL, NULL), ('c', NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL)",
    )

    async def steps() -> None:
        store = await SqliteStore.open(path)
        (day,) = await store.usage(1.0, None, ("day", "key"))
        assert (day.group, day.requests, day.in_uncached) == (("2026-11-21", "old"), 2, 5)
        assert await store.verify() == []
        assert [row.cost for row in await store.rows(limit=5)] == [0, 0]
        (key,) = await store.keys()
        assert (key.account.group, key.models, key.expires_at) == ("default", (), None)
        await store.close()

    asyncio.run(steps())
