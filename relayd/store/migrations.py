"""The schema, as the ordered list of steps that made it.

Forward only: a step, once released, is never edited; the next one corrects it. Each step runs in
its own transaction together with the raise of `PRAGMA user_version`, so a crash in between leaves
a database of the old version or of the new one. Two processes may start at once: the version is
read again inside the write lock. An existing database is first copied whole to `<file>.before-N`,
N being the first step that is about to run: going back to the older relayd is then renaming a
file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from relayd.store.base import DatabaseTooNew, NotOurDatabase


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: what becomes true, and the statements that make it so."""

    title: str
    statements: tuple[str, ...]


_RAISE = "UPDATE keys_version SET value = value + 1"

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "accounts, keys and the usage log",
        (
            # AUTOINCREMENT: usage rows outlive their key, so an id is never given out again.
            """CREATE TABLE accounts (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                disabled_at REAL
            )""",
            """CREATE TABLE keys (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                account_id INTEGER NOT NULL REFERENCES accounts(id),
                digest BLOB NOT NULL UNIQUE,
                prefix TEXT NOT NULL,
                created_at REAL NOT NULL,
                disabled_at REAL
            )""",
            # One row, raised by triggers: whoever changes a key, by whatever tool, is noticed,
            # while the usage log's own commits (ten a second) are not mistaken for a change of
            # keys.
            "CREATE TABLE keys_version (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER)",
            "INSERT INTO keys_version VALUES (1, 1)",
            *(
                f"CREATE TRIGGER {table}_{act} AFTER {act} ON {table} BEGIN {_RAISE}; END"
                for table in ("accounts", "keys")
                for act in ("insert", "update", "delete")
            ),
            # WITHOUT ROWID: one b-tree instead of two, and time-ordered ids append to it. No
            # foreign keys and no NOT NULL: a row that tells of money is never refused for what is
            # in it.
            """CREATE TABLE usage (
                request_id TEXT PRIMARY KEY,
                started_at REAL,
                operation TEXT,
                model_asked TEXT,
                model_used TEXT,
                upstream TEXT,
                format_in TEXT,
                format_out TEXT,
                stream INTEGER,
                status INTEGER,
                outcome TEXT,
                error_code TEXT,
                upstream_request_id TEXT,
                usage_source TEXT,
                bytes_in INTEGER,
                bytes_out INTEGER,
                duration REAL,
                first_byte REAL,
                key_id INTEGER,
                account_id INTEGER,
                in_uncached INTEGER,
                cache_read INTEGER,
                cache_write_5m INTEGER,
                cache_write_1h INTEGER,
                cache_write_30m INTEGER,
                cache_write_12h INTEGER,
                cache_write_other INTEGER,
                out_total INTEGER,
                reasoning INTEGER,
                in_audio INTEGER,
                in_image INTEGER,
                in_video INTEGER,
                out_audio INTEGER,
                out_image INTEGER,
                tool_prompt INTEGER,
                total_reported INTEGER,
                server_tools TEXT
            ) WITHOUT ROWID""",
            # Measured: 0.3 us a row and 70 bytes. Reports by time could use the order of the ids
            # instead, but would then be silently wrong for an id made in another way.
            "CREATE INDEX usage_started_at ON usage(started_at)",
        ),
    ),
    Migration(
        "which key of the upstream answered, after how many attempts",
        (
            "ALTER TABLE usage ADD COLUMN upstream_key TEXT DEFAULT ''",
            "ALTER TABLE usage ADD COLUMN attempts INTEGER DEFAULT 0",
        ),
    ),
)


async def migrate(
    db: aiosqlite.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """Bring the database to the newest version and return how many steps that took.

    Raises DatabaseTooNew, NotOurDatabase.
    """
    version = await _checked_version(db, path, len(migrations))
    if version == len(migrations):
        return 0
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
