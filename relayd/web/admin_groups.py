"""Groups in the admin API: to be read; they are changed in the configuration."""

from __future__ import annotations

from relayd.accounts import UNIT, Group
from relayd.errors import Refused
from relayd.money import shown
from relayd.web.admin_desk import Ask, Desk, Document
from relayd.web.admin_keys import caps_json, limits_json


async def listed(desk: Desk, ask: Ask) -> Document:
    """All of them: there are as many as somebody wrote down."""
    return {"data": [as_json(group) for group in desk.bureau.groups().values()], "next": None}


async def one(desk: Desk, ask: Ask) -> Document:
    """One of them; Refused (404)."""
    group = desk.bureau.groups().get(ask.names["group"])
    if group is None:
        asked = ask.names["group"][:200]
        raise Refused(f"There is no group `{asked}`.", status=404, code="not_found")
    return as_json(group)


def as_json(group: Group) -> Document:
    """Its options, under their names in the configuration."""
    return {
        "name": group.name,
        "models": list(group.models),
        "endpoints": list(group.endpoints),
        "limits": limits_json(group.limits),
        "caps": caps_json(group.caps),
        "multiplier": group.multiplier / UNIT,
        "balance": group.balance,
        "strict": group.strict,
        "reserve_cap": None if group.reserve_cap is None else shown(group.reserve_cap),
        "on_disconnect": group.leaving,
        "drain": group.drain,
        "lenient": group.lenient,
        "hide_endpoints": group.hide_endpoints,
    }
