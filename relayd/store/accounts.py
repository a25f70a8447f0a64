"""The table of accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import aiosqlite

from relayd.accounts import Account
from relayd.store.changes import Act, Facts, note
from relayd.store.checks import good_group, good_name, good_text
from relayd.store.database import Database, fetch, ours
from relayd.store.questions import FIRST_PAGE, Page
from relayd.store.refusals import NameTaken, NotFound
from relayd.store.where import Where

ACCOUNT = "a.id, a.name, a.disabled_at, a.group_name, a.note, a.created_at"
_ACCOUNTS = f"SELECT {ACCOUNT} FROM accounts a"


class AccountTable(Database):
    """Who pays."""

    async def create_account(
        self, name: str, group: str = "default", note: str = "", *, now: float, actor: str
    ) -> Account:
        wanted = Account(0, good_name(name), False, good_group(group), good_text(note), now)
        async with self._transaction() as db:
            return await add_account(db, wanted, actor)

    async def accounts(self) -> list[Account]:
        return [account_of(row) for row in await self._read(f"{_ACCOUNTS} ORDER BY a.id")]

    async def accounts_page(self, page: Page = FIRST_PAGE) -> list[Account]:
        where = Where()
        where.add_page(page, "a", "a.name || char(10) || a.note")
        if page.account is not None:
            where.add("a.id = ?", (await self.account(page.account)).id)
        query = f"{_ACCOUNTS} WHERE {where} ORDER BY a.id LIMIT ?"
        rows = await self._read(query, *where.values, max(page.limit, 0))
        return [account_of(row) for row in rows]

    async def account(self, ref: str) -> Account:
        with ours(self._path):
            return await find_account(self._reader, ref)

    async def change_account(
        self,
        ref: str,
        *,
        now: float,
        actor: str,
        name: str | None = None,
        group: str | None = None,
        note: str | None = None,
        disabled: bool | None = None,
    ) -> Account:
        changes: dict[str, Any] = {
            "name": None if name is None else good_name(name),
            "group": None if group is None else good_group(group),
            "note": None if note is None else good_text(note),
            "disabled": disabled,
        }
        async with self._transaction() as db:
            old = await find_account(db, ref)
            new = replace(old, **{k: v for k, v in changes.items() if v is not None})
            if new != old:
                await _keep(db, old, new, Act(actor, "account.change", now))
            return new


async def find_account(db: aiosqlite.Connection, ref: str) -> Account:
    """The account of that name or id. Raises NotFound."""
    found = await fetch(db, f"{_ACCOUNTS} WHERE a.name = ? OR a.id = ?", ref, id_of(ref))
    if not found:
        raise NotFound(f"there is no account {ref[:100]!r}")
    return account_of(found[0])


async def account_named(db: aiosqlite.Connection, name: str, now: float, actor: str) -> Account:
    """The account of that name, made now if there is none. Raises BadName."""
    found = await fetch(db, f"{_ACCOUNTS} WHERE a.name = ?", name)
    if found:
        return account_of(found[0])
    return await add_account(db, Account(0, good_name(name), created_at=now), actor)


async def add_account(db: aiosqlite.Connection, wanted: Account, actor: str) -> Account:
    """Keep a new account, whose id is given now. Raises NameTaken."""
    await _free(db, wanted.name)
    new = await db.execute(
        "INSERT INTO accounts (name, group_name, note, created_at) VALUES (?, ?, ?, ?)",
        (wanted.name, wanted.group, wanted.note, wanted.created_at),
    )
    account = replace(wanted, id=new.lastrowid or 0)
    act = Act(actor, "account.create", wanted.created_at)
    await note(db, act, _subject(account), {}, _facts(account))
    return account


def account_of(row: Sequence[Any]) -> Account:
    """The account in a row of the columns ACCOUNT."""
    account_id, name, disabled_at, group, note, created_at = row
    return Account(account_id, name, disabled_at is not None, group, note, created_at)


async def _keep(db: aiosqlite.Connection, old: Account, new: Account, act: Act) -> None:
    if new.name != old.name:
        await _free(db, new.name)
    await db.execute(
        "UPDATE accounts SET name = ?, group_name = ?, note = ?,"
        " disabled_at = CASE WHEN ? THEN coalesce(disabled_at, ?) END WHERE id = ?",
        (new.name, new.group, new.note, new.disabled, act.now, new.id),
    )
    await note(db, act, _subject(old), _facts(old), _facts(new))


async def _free(db: aiosqlite.Connection, name: str) -> None:
    if await fetch(db, f"{_ACCOUNTS} WHERE a.name = ?", name):
        raise NameTaken(f"there is an account named {name!r} already")


def id_of(ref: str) -> int:
    """The id that a reference may be, or one that nothing has."""
    return int(ref) if ref.isascii() and ref.isdigit() and len(ref) < 19 else -1


def _facts(account: Account) -> Facts:
    facts = asdict(account)
    return {name: facts[name] for name in ("name", "group", "note", "disabled")}


def _subject(account: Account) -> str:
    return f"account {account.id} {account.name}"
