"""Accounts in the admin API, with their money: what they were given, what they paid, what is left.

The sums are the store's: what is settled and written, a fraction of a second behind what the relay
itself goes by.
"""

from __future__ import annotations

import difflib

from relayd.accounts import Account
from relayd.errors import BadCall
from relayd.money import shown
from relayd.web.admin_desk import Ask, Bureau, Desk, Document, asked_page, limit_of, page


async def listed(desk: Desk, ask: Ask) -> Document:
    """A page of them, oldest first."""
    store = desk.bureau.store
    accounts = await store.accounts_page(asked_page(ask))
    granted, spent = await store.granted(), await store.spent()
    rows = [as_json(one, granted.get(one.id, 0), spent.get(one.id, 0)) for one in accounts]
    return page(rows, limit_of(ask))


async def created(desk: Desk, ask: Ask) -> Document:
    """A new one; its group must be in the configuration."""
    bureau, body = desk.bureau, ask.body
    group = body.get("group", "default")
    check_group(bureau, group)
    account = await bureau.store.create_account(
        body["name"], group, body.get("note", ""), now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return as_json(account, 0, 0)


async def one(desk: Desk, ask: Ask) -> Document:
    """One of them."""
    return await _with_money(desk.bureau, await desk.bureau.store.account(ask.names["account"]))


async def changed(desk: Desk, ask: Ask) -> Document:
    """What is given is changed."""
    bureau = desk.bureau
    if "group" in ask.body:
        check_group(bureau, ask.body["group"])
    account = await bureau.store.change_account(
        ask.names["account"], **ask.body, now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return await _with_money(bureau, account)


def check_group(bureau: Bureau, name: str) -> None:
    """Raises BadCall for a group that the configuration does not have."""
    groups = bureau.groups()
    if name not in groups:
        near = difflib.get_close_matches(name, groups, n=1)
        meant = f"; did you mean `{near[0]}`?" if near else "."
        raise BadCall(f"There is no group `{name}`{meant}", param="group", code="unknown_group")


def as_json(account: Account, granted: int, spent: int) -> Document:
    """Its fields and sums."""
    return {
        "id": account.id,
        "name": account.name,
        "group": account.group,
        "disabled": account.disabled,
        "note": account.note,
        "created_at": account.created_at,
        "granted": shown(granted),
        "spent": shown(spent),
        "balance": shown(granted - spent),
    }


async def _with_money(bureau: Bureau, account: Account) -> Document:
    granted, spent = await bureau.store.granted(), await bureau.store.spent()
    return as_json(account, granted.get(account.id, 0), spent.get(account.id, 0))
