"""Credits, the audit table and the check of the ledger in the admin API: all that is only added to.

These lists run newest first; `after` of a page is the `next` of the one before, as everywhere.
"""

from __future__ import annotations

import orjson

from relayd.accounts import Change, Credit
from relayd.money import shown
from relayd.store.questions import ChangeFilter
from relayd.web.admin_desk import Ask, Desk, Document, limit_of, page
from relayd.web.admin_keys import dollars


async def listed(desk: Desk, ask: Ask) -> Document:
    """A page of credits, of one account or of all."""
    limit, ref = limit_of(ask), ask.names.get("account", ask.query.get("account"))
    found = await desk.bureau.store.credits(ref, limit + 1, ask.query.get("after"))
    return page([as_json(credit) for credit in found], limit)


async def given(desk: Desk, ask: Ask) -> Document:
    """One more line of credits."""
    bureau, body = desk.bureau, ask.body
    credit = await bureau.store.add_credit(
        ask.names["account"],
        dollars(body["amount"], "amount"),
        kind=body.get("kind", "grant"),
        reason=body.get("reason", ""),
        actor=ask.actor,
        now=bureau.wall(),
    )
    await bureau.changed()
    return as_json(credit)


async def audited(desk: Desk, ask: Ask) -> Document:
    """A page of changes."""
    query, limit = ask.query, limit_of(ask)
    names = ("actor", "action", "subject", "since", "until")
    filters = ChangeFilter(**{name: query.get(name) for name in names})
    bureau = desk.bureau
    changes = await bureau.soon(bureau.store.audit(limit + 1, query.get("after"), filters))
    return page([_change_json(change) for change in changes], limit)


async def verified(desk: Desk, ask: Ask) -> Document:
    """Every sum, recomputed."""
    differences = await desk.bureau.store.verify()
    return {"ok": not differences, "differences": list(differences)}


def as_json(credit: Credit) -> Document:
    """Its fields."""
    return {
        "id": credit.id,
        "account_id": credit.account_id,
        "amount": shown(credit.amount),
        "kind": credit.kind,
        "reason": credit.reason,
        "actor": credit.actor,
        "created_at": credit.created_at,
    }


def _change_json(change: Change) -> Document:
    return {
        "id": change.id,
        "at": change.at,
        "actor": change.actor,
        "action": change.action,
        "subject": change.subject,
        "before": _fragment(change.before),
        "after": _fragment(change.after),
    }


def _fragment(text: str) -> object:
    """JSON text as what it says; a change from nothing has none."""
    return orjson.loads(text) if text else None
