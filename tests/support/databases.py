"""A new database that is there at once: a copy of one that this process has made.

To make the tables takes thirty statements, each of them a way to the database's thread and back: it
takes longer than most tests. How a database comes about is tests/store's to show.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from relayd.store.sqlite import SqliteStore


def prepare(path: Path) -> Path:
    """Put an empty database there, of today's schema, where a folder is without one; the path."""
    if path.parent.is_dir() and not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_empty())
    return path


@cache
def _empty() -> bytes:
    async def make(path: Path) -> None:
        await (await SqliteStore.open(path)).close()

    # In a thread of its own: whoever asks may have a loop running.
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        path = Path(folder) / "relayd.db"
        thread.submit(lambda: asyncio.run(make(path))).result()
        return path.read_bytes()
