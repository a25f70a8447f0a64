"""The named ways into the admin API. Like keys: made here, given out once, kept as a hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiosqlite

from relayd.accounts import AdminToken
from relayd.store.accounts import id_of
from relayd.store.changes import Act, note
from relayd.store.checks import ADMIN_START, good_name
from relayd.store.database import Database, fetch
from relayd.store.keys import digest_of, new_secret
from relayd.store.refusals import NameTaken, NotFound

PREFIX_LENGTH = len(ADMIN_START) + 6
_TOKENS = "SELECT id, name, digest, prefix, created_at, disabled_at FROM admin_tokens"


class TokenTable(Database):
    """The ways into the admin API."""

    async def create_admin_token(
        self, name: str, *, now: float, actor: str
    ) -> tuple[AdminToken, str]:
        secret = new_secret(ADMIN_START)
        digest, prefix = digest_of(secret), secret[:PREFIX_LENGTH]
        token = AdminToken(0, good_name(name), digest, prefix, now)
        async with self._transaction() as db:
            if await fetch(db, f"{_TOKENS} WHERE name = ?", name):
                raise NameTaken(f"there is an admin token named {name!r} already")
            new = await db.execute(
                "INSERT INTO admin_tokens (name, digest, prefix, created_at) VALUES (?, ?, ?, ?)",
                (name, digest, prefix, now),
            )
            token = replace(token, id=new.lastrowid or 0)
            said = {"name": name, "prefix": prefix}
            await note(db, Act(actor, "token.create", now), _subject(token), {}, said)
        return token, secret

    async def admin_tokens(self) -> list[AdminToken]:
        return [_token(row) for row in await self._read(f"{_TOKENS} ORDER BY id")]

    async def set_admin_token_disabled(
        self, ref: str, disabled: bool, *, now: float, actor: str
    ) -> AdminToken:
        async with self._transaction() as db:
            old = await _find(db, ref)
            new = replace(old, disabled=disabled)
            if new != old:
                update = "UPDATE admin_tokens SET disabled_at = CASE WHEN ? THEN ? END WHERE id = ?"
                await db.execute(update, (disabled, now, old.id))
                act = Act(actor, "token.disable" if disabled else "token.enable", now)
                was, now_is = {"disabled": old.disabled}, {"disabled": disabled}
                await note(db, act, _subject(old), was, now_is)
            return new


async def _find(db: aiosqlite.Connection, ref: str) -> AdminToken:
    found = await fetch(db, f"{_TOKENS} WHERE name = ? OR id = ?", ref, id_of(ref))
    if not found:
        raise NotFound(f"there is no admin token {ref[:PREFIX_LENGTH]!r}")
    return _token(found[0])


def _token(row: Sequence[Any]) -> AdminToken:
    return replace(AdminToken(*row[:-1]), disabled=row[-1] is not None)


def _subject(token: AdminToken) -> str:
    return f"token {token.id} {token.name}"
