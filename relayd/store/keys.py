"""The table of keys. A secret is made here, given out once, and kept as its SHA-256."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import aiosqlite
import orjson

from relayd.accounts import Caps, Key, Limits
from relayd.store.accounts import ACCOUNT, AccountTable, account_named, account_of, id_of
from relayd.store.changes import Act, Facts, note
from relayd.store.checks import KEY_START, good_changes, good_grace
from relayd.store.database import fetch, ours
from relayd.store.questions import FIRST_PAGE, NewKey, Page
from relayd.store.refusals import Ambiguous, NameTaken, NotFound
from relayd.store.where import Where

# Shown in lists: enough to tell keys apart, useless to a thief.
PREFIX_LENGTH = len(KEY_START) + 6

_KEPT_AS_JSON = ("models", "endpoints", "addresses", "limits", "caps")
_PLAIN = ("id", "name", "digest", "prefix", "created_at", "expires_at", "note", "lenient")
_COLUMNS = (*_PLAIN, "old_digest", "old_until", *_KEPT_AS_JSON, "disabled_at")
_KEY = ", ".join(f"k.{name}" for name in _COLUMNS)
_KEYS = f"SELECT {_KEY}, {ACCOUNT} FROM keys k JOIN accounts a ON a.id = k.account_id"
_SAID = ("name", "prefix", "disabled", "expires_at", "note", "lenient", *_KEPT_AS_JSON, "old_until")


class KeyTable(AccountTable):
    """The credentials of clients."""

    async def create_key(self, ask: NewKey, *, now: float, actor: str) -> tuple[Key, str]:
        asked = {
            f: getattr(ask, f) for f in ("name", "expires_at", "note", "lenient", *_KEPT_AS_JSON)
        }
        good = good_changes(asked, now)
        secret = new_secret(KEY_START)
        prefix = secret[:PREFIX_LENGTH]
        async with self._transaction() as db:
            await _free(db, ask.name)
            account = await account_named(db, ask.account, now, actor)
            key = replace(Key(0, "", account, digest_of(secret), prefix, now), **good)
            key = replace(key, id=await _insert(db, key))
            await note(db, Act(actor, "key.create", now), _subject(key), {}, _facts(key))
        return key, secret

    async def keys(self) -> list[Key]:
        rows = await self._read(f"{_KEYS} ORDER BY k.id")
        # Ten thousand take a quarter of a second, in which the loop must not stand still.
        return await asyncio.to_thread(lambda: [_key(row) for row in rows])

    async def keys_page(self, page: Page = FIRST_PAGE) -> list[Key]:
        where = Where()
        where.add_page(page, "k", "k.name || char(10) || k.note || char(10) || k.prefix")
        if page.account is not None:
            where.add("a.id = ?", (await self.account(page.account)).id)
        query = f"{_KEYS} WHERE {where} ORDER BY k.id LIMIT ?"
        rows = await self._read(query, *where.values, max(page.limit, 0))
        return [_key(row) for row in rows]

    async def key(self, ref: str) -> Key:
        with ours(self._path):
            return await find_key(self._reader, ref)

    async def change_key(
        self, ref: str, changes: Mapping[str, object], *, now: float, actor: str
    ) -> Key:
        good = good_changes(changes, now)
        async with self._transaction() as db:
            old = await find_key(db, ref)
            new = replace(old, **good)
            if new != old:
                await _keep(db, old, new, Act(actor, "key.change", now))
            return new

    async def rotate_key(
        self, ref: str, *, grace: float, now: float, actor: str
    ) -> tuple[Key, str]:
        until = now + good_grace(grace)
        secret = new_secret(KEY_START)
        async with self._transaction() as db:
            old = await find_key(db, ref)
            new = replace(
                old,
                digest=digest_of(secret),
                prefix=secret[:PREFIX_LENGTH],
                old_digest=old.digest if grace else None,
                old_until=until if grace else 0.0,
            )
            await _keep(db, old, new, Act(actor, "key.rotate", now))
        return new, secret


async def find_key(db: aiosqlite.Connection, ref: str) -> Key:
    """The one key meant by a name, an id, a whole secret or the start of one.

    Raises NotFound, Ambiguous.
    """
    query = f"{_KEYS} WHERE k.name = ? OR k.id = ? OR k.digest = ?"
    found = await fetch(db, query, ref, id_of(ref), digest_of(ref))
    if not found and ref.startswith(KEY_START):
        found = await fetch(db, f"{_KEYS} WHERE substr(k.prefix, 1, ?) = ?", len(ref), ref)
    if not found:
        raise NotFound(f"there is no key {ref[:PREFIX_LENGTH]!r}")
    if len(found) > 1:
        names = ", ".join(repr(_key(row).name) for row in found[:5])
        raise Ambiguous(f"{len(found)} keys begin with {ref!r}: {names}")
    return _key(found[0])


def new_secret(start: str) -> str:
    """A secret of 256 bits that no one has seen."""
    return start + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def _insert(db: aiosqlite.Connection, key: Key) -> int:
    cells = _cells(key) | {"account_id": key.account.id, "created_at": key.created_at}
    names, marks = ", ".join(cells), ", ".join("?" * len(cells))
    insert = f"INSERT INTO keys ({names}) VALUES ({marks})"
    return (await db.execute(insert, tuple(cells.values()))).lastrowid or 0


async def _keep(db: aiosqlite.Connection, old: Key, new: Key, act: Act) -> None:
    if new.name != old.name:
        await _free(db, new.name)
    cells = _cells(new)
    update = (
        f"UPDATE keys SET {', '.join(f'{name} = ?' for name in cells)},"
        " disabled_at = CASE WHEN ? THEN coalesce(disabled_at, ?) END WHERE id = ?"
    )
    await db.execute(update, (*cells.values(), new.disabled, act.now, new.id))
    await note(db, act, _subject(old), _facts(old), _facts(new))


async def _free(db: aiosqlite.Connection, name: str) -> None:
    if await fetch(db, "SELECT 1 FROM keys WHERE name = ?", name):
        raise NameTaken(f"there is a key named {name!r} already")


def _cells(key: Key) -> dict[str, Any]:
    """What is kept of a key and can change, by column."""
    plain = ("name", "digest", "prefix", "expires_at", "note", "lenient", "old_digest", "old_until")
    return {
        **{name: getattr(key, name) for name in plain},
        **{name: orjson.dumps(getattr(key, name)).decode() for name in _KEPT_AS_JSON},
    }


def _key(row: Sequence[Any]) -> Key:
    cells = dict(zip(_COLUMNS, row, strict=False))  # the account's columns come after
    kept = {name: orjson.loads(cells.pop(name)) for name in _KEPT_AS_JSON}
    lenient = cells.pop("lenient")
    return Key(
        lenient=None if lenient is None else bool(lenient),
        account=account_of(row[len(_COLUMNS) :]),
        disabled=cells.pop("disabled_at") is not None,
        models=tuple(kept["models"]),
        endpoints=tuple(kept["endpoints"]),
        addresses=tuple(kept["addresses"]),
        limits=Limits(**kept["limits"]),
        caps=Caps(**kept["caps"]),
        **cells,
    )


def _facts(key: Key) -> Facts:
    facts = asdict(key)
    return {"account": key.account.name, **{name: facts[name] for name in _SAID}}


def _subject(key: Key) -> str:
    return f"key {key.id} {key.name}"
