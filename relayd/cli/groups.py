"""`relayd group list`: what the accounts of each group may do and what they pay.

Groups are configuration: they are changed in the file, not here.
"""

from __future__ import annotations

import click

from relayd.accounts import ENDPOINTS, UNIT, Group
from relayd.cli import tables
from relayd.cli.limits import limits_json, limits_text
from relayd.cli.settings import groups
from relayd.cli.store import Place, store_options
from relayd.cli.tables import Column
from relayd.money import shown

_COLUMNS = (
    Column("group"),
    Column("models", wraps=True),
    Column("endpoints", wraps=True, spare=2),
    Column("limits of an account", wraps=True),
    Column("price", True),
    Column("balance"),
    Column("strict", spare=1),
    Column("on disconnect", spare=3),
)


@click.group("group")
def group_group() -> None:
    """Show the groups of the configuration."""


@group_group.command("list")
@store_options
def group_list(place: Place, as_json: bool) -> None:
    """List the groups of accounts: what they may, and what they pay.

    A group is changed in the configuration, then by a reload (SIGHUP).
    """
    found = groups(place)
    if found is None:
        raise click.UsageError("groups are configuration: give --config PATH")
    if as_json:
        tables.print_json([_group_json(group) for group in found.values()])
    else:
        tables.print_table(_COLUMNS, [_cells(group) for group in found.values()])


def _cells(group: Group) -> tuple[str, ...]:
    drain = f" {group.drain:g} s" if group.leaving == "drain" else ""
    return (
        group.name,
        "all" if group.models == ("*",) else ", ".join(group.models),
        "all" if set(group.endpoints) == set(ENDPOINTS) else ", ".join(group.endpoints),
        limits_text(group.limits, group.caps) or "none",
        f"x {_multiplier(group)}",
        group.balance,
        "yes" if group.strict else "no",
        f"{group.leaving}{drain}",
    )


def _multiplier(group: Group) -> str:
    """`1`, `0.85`: millionths as a decimal number."""
    whole, rest = divmod(group.multiplier, UNIT)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _group_json(group: Group) -> dict[str, object]:
    cap = group.reserve_cap
    return {
        "name": group.name,
        "models": group.models,
        "endpoints": group.endpoints,
        **limits_json(group.limits, group.caps),
        "burst": group.limits.burst,
        "multiplier": _multiplier(group),
        "balance": group.balance,
        "strict": group.strict,
        "reserve_cap": None if cap is None else shown(cap),
        "on_disconnect": group.leaving,
        "drain": group.drain,
        "lenient": group.lenient,
        "hide_endpoints": group.hide_endpoints,
    }
