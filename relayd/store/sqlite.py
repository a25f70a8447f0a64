"""The store in one SQLite file, for a daemon and any number of command lines at once.

Two connections: one writes (a lock orders its transactions), one only reads, so a long report
never holds up the log. Write-ahead mode lets other processes read meanwhile; `synchronous=NORMAL`
may lose the last commits in a power cut but never the file's integrity. A transaction takes the
write lock at its start (BEGIN IMMEDIATE): it waits up to five seconds for another process instead
of failing half-way. Errors of the database library become ours here and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from relayd.model import Account, Entry, Key
from relayd.store import entries as usage_table
from relayd.store.base import (
    Ambiguous,
    BadName,
    NameTaken,
    NotFound,
    StoreUnavailable,
    UsageRow,
)
from relayd.store.migrations import migrate

SECRET_START = "sk-relayd-"  # noqa: S105 (what secrets look like, not one)
PREFIX_LENGTH = (
    len(SECRET_START) + 6
)  # shown in lists: enough to tell keys apart, useless to a thief

_WAITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between tries
_BUSY_SECONDS = 5.0
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
)
_ACCOUNT = "a.id, a.name, a.disabled_at"
_KEY = "k.id, k.name, k.digest, k.prefix, k.created_at, k.disabled_at"
_KEYS = f"SELECT {_KEY}, {_ACCOUNT} FROM keys k JOIN accounts a ON a.id = k.account_id"  # noqa: S608
_ACCOUNTS = f"SELECT {_ACCOUNT} FROM accounts a"  # noqa: S608
_DISABLED_AT = (
    "disabled_at = CASE WHEN ? THEN coalesce(disabled_at, CAST(strftime('%s', 'now') AS REAL)) END"
)


class SqliteStore:
    """One database file. Made by `open`; owns its two connections until `close`."""

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._writing = asyncio.Lock()  # one transaction at a time on the writer
        self._open = True

    @classmethod
    async def open(cls, path: Path | str, *, create: bool = True) -> SqliteStore:
        """Open the database, make it where there is none, and bring its schema up to date.

        Raises NotFound (no file, and `create` is false), DatabaseTooNew, NotOurDatabase,
        StoreUnavailable.
        """
        path = Path(path)
        with _ours(path):
            _make_file(path, create)
            writer = await _connect(path)
            try:
                await migrate(writer, path)
                reader = await _connect(path, "PRAGMA query_only = ON")
            except BaseException:
                await writer.close()
                raise
        return cls(path, writer, reader)

    def __repr__(self) -> str:
        state = "open" if self._open else "closed"
        return f"SqliteStore({str(self._path)!r}, {state})"

    async def close(self) -> None:
        """Finish what is under way and let go of the file; a second call does nothing."""
        self._open = False
        async with self._writing:
            await self._writer.close()
        await self._reader.close()

    # accounts

    async def create_account(self, name: str) -> Account:
        async with self._transaction() as db:
            if await _rows(db, f"{_ACCOUNTS} WHERE a.name = ?", name):
                raise NameTaken(f"there is an account named {name!r} already")
            return await _new_account(db, name)

    async def accounts(self) -> list[Account]:
        return [_account(row) for row in await self._read(f"{_ACCOUNTS} ORDER BY a.id")]

    async def set_account_disabled(self, name_or_id: str, disabled: bool) -> Account:
        async with self._transaction() as db:
            query = f"{_ACCOUNTS} WHERE a.name = ? OR CAST(a.id AS TEXT) = ?"
            found = await _rows(db, query, name_or_id, name_or_id)
            if not found:
                raise NotFound(f"there is no account {name_or_id!r}")
            account = _account(found[0])
            # The fixed text around ? is ours.
            update = f"UPDATE accounts SET {_DISABLED_AT} WHERE id = ?"  # noqa: S608
            await db.execute(update, (disabled, account.id))
            return Account(account.id, account.name, disabled)

    # keys

    async def create_key(self, name: str, account_name: str, now: float) -> tuple[Key, str]:
        secret = SECRET_START + secrets.token_urlsafe(32)
        digest, prefix = _digest(secret), secret[:PREFIX_LENGTH]
        async with self._transaction() as db:
            if await _rows(db, f"{_KEYS} WHERE k.name = ?", name):
                raise NameTaken(f"there is a key named {name!r} already")
            found = await _rows(db, f"{_ACCOUNTS} WHERE a.name = ?", account_name)
            account = _account(found[0]) if found else await _new_account(db, account_name)
            new = await db.execute(
                "INSERT INTO keys (name, account_id, digest, prefix, created_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (_good_name(name), account.id, digest, prefix, now),
            )
            key = Key(new.lastrowid or 0, name, account, digest, prefix, now)
        return key, secret

    async def keys(self) -> list[Key]:
        return [_key(row) for row in await self._read(f"{_KEYS} ORDER BY k.id")]

    async def set_key_disabled(self, name_or_prefix_or_id: str, disabled: bool) -> Key:
        async with self._transaction() as db:
            key = _key(await _one_key(db, name_or_prefix_or_id))
            update = f"UPDATE keys SET {_DISABLED_AT} WHERE id = ?"  # noqa: S608
            await db.execute(update, (disabled, key.id))
            return _key((await _rows(db, f"{_KEYS} WHERE k.id = ?", key.id))[0])

    async def keys_version(self) -> int:
        return int((await self._read("SELECT value FROM keys_version"))[0][0])

    async def data_version(self) -> int:
        return int((await self._read("PRAGMA data_version"))[0][0])

    # the usage log

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        try:
            await self._insert(entries, usage_table.cells_of)
        except (OverflowError, UnicodeError):
            await self._insert(entries, usage_table.storable_cells_of)

    async def usage(self, since: float, until: float | None, by: tuple[str, ...]) -> list[UsageRow]:
        query, parameters = usage_table.report(since, until, by)
        rows = await self._read(query, *parameters)
        return [usage_table.usage_row(row, len(by)) for row in rows]

    async def recent(self, limit: int, since: float = 0.0) -> list[Entry]:
        rows = await self._read(usage_table.RECENT, since, limit)
        return [usage_table.entry_of(row) for row in rows]

    # the two connections

    async def _read(self, query: str, *parameters: object) -> list[Any]:
        with _ours(self._path):
            return await _rows(self._reader, query, *parameters)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            with _ours(self._path):
                try:
                    # Inside the try: cancelled while BEGIN is under way, the thread still begins.
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    await self._writer.commit()
                except BaseException:
                    await self._writer.rollback()  # nothing to undo is no error
                    raise

    async def _insert(self, entries: Sequence[Entry], cells_of: usage_table.CellsOf) -> None:
        async with self._transaction() as db:
            for statement, cells in usage_table.inserts(entries, cells_of):
                await db.execute(statement, cells)


async def _connect(path: Path, *settings: str) -> aiosqlite.Connection:
    # isolation_level=None: transactions begin where this module says so, not where the driver
    # guesses.
    db = await aiosqlite.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        for setting in (*_SETTINGS, *settings):
            await _patiently(db, setting)
    except BaseException:
        await db.close()
        raise
    return db


async def _patiently(db: aiosqlite.Connection, setting: str) -> None:
    """Turning a new database to WAL fails at once, busy timeout or not, while another does it."""
    for wait in (*_WAITS, None):
        try:
            await db.execute(setting)
            return
        except sqlite3.OperationalError as error:
            if wait is None or "locked" not in str(error):
                raise
            await asyncio.sleep(wait)


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    """Turn the library's errors into ours, with the path that an operator needs to act."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror or error}") from error


def _make_file(path: Path, create: bool) -> None:
    """Make the file before SQLite does, who would let everyone read it.

    Made by root, file and folder go to the owner of the folder above: `sudo relayd key create`
    must not leave a database that the daemon's own user cannot write.
    """
    if path.exists():
        return
    if not create:
        raise NotFound(f"there is no database at {path}")
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # or made just now
        _give_to_neighbours(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    _give_to_neighbours(path)


def _give_to_neighbours(path: Path) -> None:
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


async def _rows(db: aiosqlite.Connection, query: str, *parameters: object) -> list[Any]:
    return list(await db.execute_fetchall(query, parameters))


async def _new_account(db: aiosqlite.Connection, name: str) -> Account:
    new = await db.execute("INSERT INTO accounts (name) VALUES (?)", (_good_name(name),))
    return Account(new.lastrowid or 0, name)


async def _one_key(db: aiosqlite.Connection, reference: str) -> Any:
    """The row of the one key meant by a name, an id, a whole secret or the start of one."""
    query = f"{_KEYS} WHERE k.name = ?1 OR CAST(k.id AS TEXT) = ?1 OR k.digest = ?2"
    found = await _rows(db, query, reference, _digest(reference))
    if not found and reference.startswith(SECRET_START):
        found = await _rows(
            db, f"{_KEYS} WHERE substr(k.prefix, 1, ?) = ?", len(reference), reference
        )
    if not found:
        raise NotFound(f"there is no key {reference[:PREFIX_LENGTH]!r}")
    if len(found) > 1:
        names = ", ".join(repr(_key(row).name) for row in found[:5])
        raise Ambiguous(f"{len(found)} keys begin with {reference!r}: {names}")
    return found[0]


def _good_name(name: str) -> str:
    """The name, if it can be told from an id and a secret, and printed in one line."""
    if not name or len(name) > 100 or not name.isprintable() or name != name.strip():
        raise BadName(
            f"{name[:100]!r} is not a name: 1 to 100 printable characters, no outer spaces"
        )
    if name.isdigit() or name.startswith(SECRET_START):
        raise BadName(f"{name!r} is not a name: it looks like an id or a key")
    return name


def _account(row: Sequence[Any]) -> Account:
    return Account(row[0], row[1], row[2] is not None)


def _key(row: Sequence[Any]) -> Key:
    key_id, name, digest, prefix, created_at, disabled_at, *account = row
    return Key(key_id, name, _account(account), digest, prefix, created_at, disabled_at is not None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
