"""How a database gets the schema of today, whatever version it has.

Forward only, by the steps in `steps`. Each step runs in its own transaction together with the raise
of `PRAGMA user_version`, so a crash in between leaves a database of the old version or of the new
one. Two processes may start at once: the version is
read again inside the write lock. An existing database is first copied whole to `<file>.before-N`,
N being the first step that is about to run: going back to the older relayd is then renaming a
file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiosqlite

from relayd.store.refusals import DatabaseTooNew, DatabaseTooOld, NotOurDatabase
from relayd.store.steps import MIGRATIONS, Migration


async def migrate(
    db: aiosqlite.Connection,
    path: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
    *,
    upgrade: bool = True,
) -> int:
    """Bring the database to the newest version and return how many steps that took.

    Without `upgrade` only an empty one gets a schema: a daemon of the older version may be writing
    to it. Raises DatabaseTooNew, DatabaseTooOld (only then), NotOurDatabase.
    """
    version = await _checked_version(db, path, len(migrations))
    if version == len(migrations):
        return 0
    if version and not upgrade:
        raise DatabaseTooOld(f"{path} is at version {version}, this relayd wants {len(migrations)}")
    if version:
        await _back_up(db, path.with_name(f"{path.name}.before-{version + 1}"))
    return sum([await _step(db, number, m) for number, m in enumerate(migrations, 1)])


async def _step(db: aiosqlite.Connection, number: int, migration: Migration) -> bool:
    """Run one step unless it is done already, perhaps by another process while this one waited."""
    await db.execute("BEGIN IMMEDIATE")
    try:
        due = await _number(db, "PRAGMA user_version") < number
        if due:
            for statement in migration.statements:
                await db.execute(statement)
            await db.execute(f"PRAGMA user_version = {number}")
        await db.commit()
    except BaseException:
        await db.rollback()
        raise
    return due


async def _checked_version(db: aiosqlite.Connection, path: Path, newest: int) -> int:
    version = await _number(db, "PRAGMA user_version")
    if version > newest:
        raise DatabaseTooNew(
            f"{path} is at version {version}, this relayd knows up to {newest}: use a newer relayd"
        )
    # Asked in one statement with the version: another process may be making the tables just now.
    foreign = await _number(
        db,
        "SELECT (SELECT user_version FROM pragma_user_version) = 0"
        " AND EXISTS (SELECT 1 FROM sqlite_master)",
    )
    if foreign:
        raise NotOurDatabase(f"{path} is a database of some other program")
    return version


async def _back_up(db: aiosqlite.Connection, copy: Path) -> None:
    """Write a consistent copy; a half-written one never gets the final name."""
    # mkstemp: a name of its own (another process may be copying too), readable by the owner only.
    handle, draft = tempfile.mkstemp(prefix=f"{copy.name}.", suffix=".tmp", dir=copy.parent)
    os.close(handle)
    try:
        await db.execute("VACUUM INTO ?", (draft,))  # an existing file is fine while it is empty
        os.replace(draft, copy)
    except BaseException:
        os.unlink(draft)
        raise


async def _number(db: aiosqlite.Connection, query: str) -> int:
    rows = list(await db.execute_fetchall(query))
    return int(rows[0][0])
