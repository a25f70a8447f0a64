"""The backends that the contract tests run over, and how a test is given one."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from relayd.accounts import Key
from relayd.store.base import Store
from relayd.store.questions import NewKey
from relayd.store.sqlite import SqliteStore
from tests.store.samples import WHO
from tests.support.databases import prepare

Opener = Callable[[Path], Awaitable[Store]]
Run = Callable[[Callable[[Store], Awaitable[Any]]], Any]


async def open_sqlite(path: Path) -> Store:
    """A database there, empty if there was none."""
    return await SqliteStore.open(prepare(path))


BACKENDS: dict[str, Opener] = {"sqlite": open_sqlite}


async def make(store: Store, name: str, account: str = "default") -> tuple[Key, str]:
    """A key that is nothing but a name."""
    return await store.create_key(NewKey(name, account), **WHO)


async def grant(store: Store, amount: int, account: str = "team") -> None:
    """Give an account so much."""
    await store.add_credit(account, amount, kind="grant", reason="", **WHO)


def spoil(path: Path, *statements: str) -> None:
    """Change the database behind the store's back."""
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
