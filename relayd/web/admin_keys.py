"""Keys in the admin API. A secret is in the answer that made it, and nowhere else.

Of limits and caps a change may give a part: what is left out stays, null takes a limit away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relayd.accounts import NO_CAPS, NO_LIMITS, Caps, Key, Limits
from relayd.errors import BadCall
from relayd.money import pico, shown
from relayd.store.questions import NewKey
from relayd.web.admin_desk import Ask, Desk, Document, asked_page, limit_of, page

LISTS = ("models", "endpoints", "addresses")


async def listed(desk: Desk, ask: Ask) -> Document:
    """A page of them, oldest first."""
    store = desk.bureau.store
    keys = await store.keys_page(asked_page(ask))
    spent = await store.key_spent_ever([key.id for key in keys])
    return page([as_json(key, spent.get(key.id, 0)) for key in keys], limit_of(ask))


async def created(desk: Desk, ask: Ask) -> Document:
    """A new one, of an account that exists: a misspelt name makes none."""
    bureau = desk.bureau
    account = await bureau.store.account(ask.body["account"])
    fields = _fields({**ask.body, "account": account.name}, NO_LIMITS, NO_CAPS)
    key, secret = await bureau.store.create_key(
        NewKey(**fields), now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return {**as_json(key, 0), "secret": secret}


async def one(desk: Desk, ask: Ask) -> Document:
    """One of them."""
    return await _with_money(desk, await desk.bureau.store.key(ask.names["key"]))


async def changed(desk: Desk, ask: Ask) -> Document:
    """What is given is changed."""
    bureau = desk.bureau
    key = await bureau.store.key(ask.names["key"])
    changes = _fields(ask.body, key.limits, key.caps)
    key = await bureau.store.change_key(str(key.id), changes, now=bureau.wall(), actor=ask.actor)
    await bureau.changed()
    return await _with_money(desk, key)


async def rotated(desk: Desk, ask: Ask) -> Document:
    """A new secret; identity and history stay."""
    bureau = desk.bureau
    key, secret = await bureau.store.rotate_key(
        ask.names["key"], grace=ask.body.get("grace", 0.0), now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return {**await _with_money(desk, key), "secret": secret}


def as_json(key: Key, spent: int) -> Document:
    """Its fields, without digests, and what was paid for it ever."""
    return {
        "id": key.id,
        "name": key.name,
        "account": key.account.name,
        "account_id": key.account.id,
        "prefix": key.prefix,
        "created_at": key.created_at,
        "disabled": key.disabled,
        "expires_at": key.expires_at,
        **{name: list(getattr(key, name)) for name in LISTS},
        "limits": limits_json(key.limits),
        "caps": caps_json(key.caps),
        "note": key.note,
        "lenient": key.lenient,
        "rotated_until": None if key.old_digest is None else key.old_until,
        "spent": shown(spent),
    }


def limits_json(limits: Limits) -> Document:
    """By name; null is none."""
    return {
        "rpm": limits.rpm,
        "tpm": limits.tpm,
        "concurrency": limits.concurrency,
        "burst": limits.burst,
    }


def caps_json(caps: Caps) -> Document:
    """By name, in dollars; null is none."""
    amounts = {"day": caps.day, "month": caps.month, "ever": caps.ever}
    return {name: None if cap is None else shown(cap) for name, cap in amounts.items()}


def dollars(amount: str, param: str) -> int:
    """Pico-dollars of what a body says; BadCall for what is out of bounds."""
    if amount != amount.strip():  # a pattern's `$` lets a line end by
        raise BadCall(f"{param}: {amount!r} is not an amount", param=param)
    try:
        return pico(amount)
    except ValueError as exc:
        raise BadCall(f"{param}: {exc}", param=param) from None


def _fields(body: Mapping[str, Any], limits: Limits, caps: Caps) -> dict[str, Any]:
    """A body's fields as the store takes them; limits and caps are laid over what there is."""
    fields = {name: tuple(value) if name in LISTS else value for name, value in body.items()}
    if "limits" in body:
        fields["limits"] = replace(limits, **_whole(body["limits"]))
    if "caps" in body:
        given = body["caps"].items()
        amounts = {n: None if cap is None else dollars(cap, f"caps.{n}") for n, cap in given}
        fields["caps"] = replace(caps, **amounts)
    return fields


def _whole(limits: Mapping[str, Any]) -> dict[str, Any]:
    """To the document 60.0 is a whole number, as to JSON; `burst` may be any."""
    floats = {name for name, value in limits.items() if isinstance(value, float)} - {"burst"}
    return {name: int(value) if name in floats else value for name, value in limits.items()}


async def _with_money(desk: Desk, key: Key) -> Document:
    spent = await desk.bureau.store.key_spent_ever([key.id])
    return as_json(key, spent.get(key.id, 0))
