"""The store's admin tokens in the admin API: made, listed, refused."""

from __future__ import annotations

from relayd.accounts import AdminToken
from relayd.web.admin_desk import Ask, Desk, Document


async def listed(desk: Desk, ask: Ask) -> Document:
    """All of them: there are as many as there are operators."""
    tokens = await desk.bureau.store.admin_tokens()
    return {"data": [as_json(token) for token in tokens], "next": None}


async def created(desk: Desk, ask: Ask) -> Document:
    """A new one, with its secret."""
    bureau = desk.bureau
    token, secret = await bureau.store.create_admin_token(
        ask.body["name"], now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return {**as_json(token), "secret": secret}


async def changed(desk: Desk, ask: Ask) -> Document:
    """Refused from now on, or accepted again."""
    bureau = desk.bureau
    token = await bureau.store.set_admin_token_disabled(
        ask.names["token"], ask.body["disabled"], now=bureau.wall(), actor=ask.actor
    )
    await bureau.changed()
    return as_json(token)


def as_json(token: AdminToken) -> Document:
    """Its fields, without the digest."""
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "created_at": token.created_at,
        "disabled": token.disabled,
    }
