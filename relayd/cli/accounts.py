"""The commands that look after accounts, which pay for keys (their credits: `credits`).

A running daemon sees each change within a second.
"""

from __future__ import annotations

import time

import click

from relayd.accounts import Account
from relayd.cli import tables
from relayd.cli.credits import (
    CREDIT_COMMANDS,
    Standing,
    account_json,
    standing,
    standing_json,
    standings,
    sum_of,
)
from relayd.cli.settings import check_group
from relayd.cli.store import Place, actor, store_options, with_store
from relayd.cli.tables import Column

_COLUMNS = (
    Column("id", True, spare=2),
    Column("name"),
    Column("group"),
    Column("keys", True),
    Column("balance ($)", True),
    Column("spent ($)", True),
    Column("note", spare=3, optional=True),
    Column("state"),
)


@click.group("account")
def account_group() -> None:
    """Look after accounts, which pay for keys, and their credits.

    An ACCOUNT is named by its name or its id.
    """


for _command in CREDIT_COMMANDS:
    account_group.add_command(_command)


@account_group.command("create")
@click.argument("name")
@click.option("--group", metavar="NAME", help="Of the configuration.  [default: default]")
@click.option("--note", default="", help="A remark for yourself.")
@store_options
def account_create(place: Place, name: str, group: str | None, note: str, as_json: bool) -> None:
    """Make an account called NAME."""
    check_group(place, group)
    account = with_store(
        place,
        lambda s: s.create_account(name, group or "default", note, now=time.time(), actor=actor()),
        create=True,
    )
    _say(account, as_json, "created")


@account_group.command("list")
@store_options
def account_list(place: Place, as_json: bool) -> None:
    """List all accounts: what they have left, and what they spent."""
    found = with_store(place, standings)
    if as_json:
        tables.print_json([standing_json(one) for one in found])
    elif found:
        tables.print_table(_COLUMNS, [_cells(one) for one in found])
    else:
        click.echo("No accounts yet: relayd account create NAME", err=True)


@account_group.command("show")
@click.argument("account")
@store_options
def account_show(place: Place, account: str, as_json: bool) -> None:
    """Show an account: its balance, its spending, its keys."""
    found = with_store(place, lambda store: standing(store, account))
    if as_json:
        tables.print_json(standing_json(found))
    else:
        tables.print_facts(_facts(found))


@account_group.command("set")
@click.argument("account")
@click.option("--name", metavar="NAME", help="What it is called from now on.")
@click.option("--group", metavar="NAME", help="Of the configuration.")
@click.option("--note", help="A remark for yourself.")
@store_options
def account_set(
    place: Place,
    account: str,
    name: str | None,
    group: str | None,
    note: str | None,
    as_json: bool,
) -> None:
    """Change an account's name, group or note."""
    if name is None and group is None and note is None:
        raise click.UsageError("say what to change: --name, --group or --note")
    check_group(place, group)
    changed = with_store(
        place,
        lambda s: s.change_account(
            account, name=name, group=group, note=note, now=time.time(), actor=actor()
        ),
    )
    _say(changed, as_json, f"now in group {changed.group!r}" if group else "changed")


@account_group.command("disable")
@click.argument("account")
@store_options
def account_disable(place: Place, account: str, as_json: bool) -> None:
    """Refuse all keys of an account from now on."""
    _switch(place, account, True, as_json)


@account_group.command("enable")
@click.argument("account")
@store_options
def account_enable(place: Place, account: str, as_json: bool) -> None:
    """Accept the keys of a disabled account again."""
    _switch(place, account, False, as_json)


def _switch(place: Place, reference: str, disabled: bool, as_json: bool) -> None:
    changed = with_store(
        place,
        lambda s: s.change_account(reference, disabled=disabled, now=time.time(), actor=actor()),
    )
    _say(changed, as_json, "disabled" if disabled else "enabled")


def _say(account: Account, as_json: bool, what: str) -> None:
    if as_json:
        tables.print_json(account_json(account))
    else:
        click.echo(f"Account {account.name!r} (id {account.id}) is {what}.")


# --- how they are shown ---------------------------------------------------------------------------


def _cells(found: Standing) -> tuple[str, ...]:
    account = found.account
    return (
        str(account.id),
        account.name,
        account.group,
        tables.count(len(found.keys)),
        "-" if found.balance is None else tables.money(found.balance),
        tables.money(found.spent),
        account.note,
        "disabled" if account.disabled else "enabled",
    )


def _facts(found: Standing) -> list[tuple[str, str]]:
    account = found.account
    balance = "none kept: it was never given a credit" if found.granted is None else sum_of(found)
    names = [key.name for key in found.keys]
    more = [f"{len(names) - 20} more"] if len(names) > 20 else []
    facts = [
        ("account", f"{account.name} (id {account.id})"),
        ("group", account.group),
        ("state", "disabled" if account.disabled else "enabled"),
        ("created", f"{tables.moment(account.created_at)} UTC" if account.created_at else "-"),
        ("balance", balance),
        ("spent", tables.dollars(found.spent)),
        ("keys", ", ".join([*names[:20], *more]) or "none yet"),
    ]
    return [*facts, ("note", account.note)] if account.note else facts
