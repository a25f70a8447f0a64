"""The three connections to the database file, and what every table does with them.

One connection writes (a lock orders its transactions), one only reads, so a long report never
holds up the log; and what may take long, reports and searches, has a reader of its own, so that
nobody who looks for a key waits behind them. A search whose asker gives up is stopped. Write-ahead
mode lets other processes read meanwhile; `synchronous=NORMAL` may lose the last commits in a power
cut (unless `secure` was called) but never the file's integrity. A transaction takes the write lock
at its start (BEGIN IMMEDIATE): it waits up to five seconds for another process instead of failing
half-way. Errors of the database library become ours here and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from relayd.store.batches import PREPARE
from relayd.store.days import utc_day
from relayd.store.migrations import migrate
from relayd.store.refusals import NotFound, StoreUnavailable
from relayd.tasks import child

T = TypeVar("T")

_WAITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between tries
_BUSY_SECONDS = 5.0
_STOPPING_EVERY = 0.05  # seconds between two tries to interrupt a search
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
)
_READ_ONLY = "PRAGMA query_only = ON"


class Database:
    """One database file. Made by `open`; owns its connections until `close`."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        searcher: aiosqlite.Connection,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._searcher = searcher
        self._writing = asyncio.Lock()  # one transaction at a time on the writer
        self._searching = asyncio.Lock()  # one search at a time: it can be stopped by itself
        self._open = True
        self._day_of: Callable[[float], int] = utc_day

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        create: bool = True,
        upgrade: bool = True,
        day_of: Callable[[float], int] = utc_day,
    ) -> Self:
        """Open the database, make it where there is none, and bring its schema up to date.

        `upgrade` is for who knows that no daemon of an older version runs on it. `day_of` says
        which calendar day (20261121) a moment falls on; reports want it. Raises NotFound (no file,
        and `create` is false), DatabaseTooNew, DatabaseTooOld (without `upgrade`), NotOurDatabase,
        StoreUnavailable.
        """
        path = Path(path)
        with ours(path):
            _make_file(path, create)
            writer = await _connect(path)
            try:
                await migrate(writer, path, upgrade=upgrade)
                for statement in PREPARE:
                    await writer.execute(statement)
                reader = await _connect(path, _READ_ONLY)
                searcher = await _beside(reader, path)
            except BaseException:
                await writer.close()
                raise
        store = cls(path, writer, reader, searcher)
        store._day_of = day_of
        return store

    def __repr__(self) -> str:
        state = "open" if self._open else "closed"
        return f"{type(self).__name__}({str(self._path)!r}, {state})"

    async def close(self) -> None:
        """Finish what is under way and let go of the file; a second call does nothing."""
        if self._searching.locked():
            await self._searcher.interrupt()  # nobody waits for what it finds any more
        self._open = False
        async with self._writing:
            await self._writer.close()
        await self._searcher.close()
        # Last, because the last one tidies up, which SQLite leaves undone where it was interrupted.
        await self._reader.close()

    def secure(self) -> None:
        """Bring every commit so far to the platter; waits for it, in any thread. Raises OSError.

        What is not in the write-ahead log any more, SQLite has brought there itself, before it
        began the log anew. The database file must not be opened here: closing it again would drop
        the locks that SQLite has on it.
        """
        log = f"{os.path.realpath(self._path)}-wal"
        try:
            fd = os.open(log, os.O_RDONLY)
        except FileNotFoundError:  # nobody has the database open: then all of it is in its file
            return
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    async def keys_version(self) -> int:
        return int((await self._read("SELECT value FROM keys_version"))[0][0])

    async def _read(self, query: str, *parameters: object) -> list[Any]:
        with ours(self._path):
            return await fetch(self._reader, query, *parameters)

    async def _search(self, query: str, *parameters: object) -> list[Any]:
        """The same for what may take long: whoever is cancelled stops it."""
        with ours(self._path):
            async with self._searching:
                return await _stoppable(self._searcher, fetch(self._searcher, query, *parameters))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            with ours(self._path):
                try:
                    # Inside the try: cancelled while BEGIN is under way, the thread still begins.
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    await self._writer.commit()
                except BaseException:
                    await self._writer.rollback()  # nothing to undo is no error
                    raise

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[aiosqlite.Connection]:
        """A connection of its own that sees one state of the database, however long it looks."""
        with ours(self._path):
            db = await _connect(self._path, _READ_ONLY)
            try:
                await db.execute("BEGIN")
                yield db
            finally:
                await db.close()


async def fetch(db: aiosqlite.Connection, query: str, *parameters: object) -> list[Any]:
    """All rows of a query."""
    return list(await db.execute_fetchall(query, parameters))


async def _stoppable(db: aiosqlite.Connection, work: Coroutine[Any, Any, T]) -> T:
    """What the work on this connection comes to; cancelled, it ends before this does."""
    task = child(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():  # what its thread has not begun yet cannot be interrupted yet
            await db.interrupt()
            await asyncio.wait((task,), timeout=_STOPPING_EVERY)
        if not task.cancelled():
            task.exception()  # that it was interrupted is known
        raise


@contextmanager
def ours(path: Path) -> Iterator[None]:
    """Turn the library's errors into ours, with the path that an operator needs to act."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror or error}") from error


async def _beside(reader: aiosqlite.Connection, path: Path) -> aiosqlite.Connection:
    """One more connection for reading; where it cannot be had, the first one is closed."""
    try:
        return await _connect(path, _READ_ONLY)
    except BaseException:
        await reader.close()
        raise


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
