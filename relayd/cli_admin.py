"""The commands that look after keys and accounts, and the list of all that an operator has.

A running daemon notices what they change within a second. Results go to stdout and remarks to
stderr, so that `KEY=$(relayd key create bot)` holds the key and nothing else.
"""

from __future__ import annotations

import time
from collections import Counter

import click

from relayd import cli_tables as tables
from relayd.cli_store import Place, database_path, store_options, with_store
from relayd.cli_upstream import upstream_group
from relayd.cli_usage import usage_command
from relayd.model import Account, Key
from relayd.store.sqlite import SqliteStore

__all__ = ["database_path", "register"]


def register(cli: click.Group) -> None:
    """Add the operator's commands to the command line."""
    for command in (key_group, account_group, upstream_group, usage_command):
        cli.add_command(command)


# keys


@click.group("key")
def key_group() -> None:
    """Create, list, disable and enable the keys that clients use."""


@key_group.command("create")
@click.argument("name")
@click.option("--account", default="default", show_default=True, help="Made on first use.")
@store_options
def key_create(place: Place, name: str, account: str, as_json: bool) -> None:
    """Make a key called NAME and print it, this once."""
    key, secret = with_store(
        place, lambda store: store.create_key(name, account, time.time()), create=True
    )
    if as_json:
        tables.print_json({**tables.key_json(key), "secret": secret})
        return
    click.echo(f"Key {name!r} of account {account!r} (id {key.id}):", err=True)
    click.echo(secret)
    click.echo("Keep it now: only its hash is stored, it cannot be shown again.", err=True)


@key_group.command("list")
@store_options
def key_list(place: Place, as_json: bool) -> None:
    """List all keys."""
    keys = with_store(place, lambda store: store.keys())
    if as_json:
        tables.print_json([tables.key_json(key) for key in keys])
    elif keys:
        tables.print_keys(keys)
    else:
        click.echo("No keys yet: relayd key create NAME", err=True)


@key_group.command("disable")
@click.argument("key", metavar="NAME|PREFIX|ID")
@store_options
def key_disable(place: Place, key: str, as_json: bool) -> None:
    """Refuse a key from now on; a running relayd does so within a second."""
    _switch_key(place, key, True, as_json)


@key_group.command("enable")
@click.argument("key", metavar="NAME|PREFIX|ID")
@store_options
def key_enable(place: Place, key: str, as_json: bool) -> None:
    """Accept a disabled key again."""
    _switch_key(place, key, False, as_json)


def _switch_key(place: Place, reference: str, disabled: bool, as_json: bool) -> None:
    key = with_store(place, lambda store: store.set_key_disabled(reference, disabled))
    if as_json:
        tables.print_json(tables.key_json(key))
    else:
        click.echo(f"Key {key.name!r} ({key.prefix}...) is {tables.state(key)}.")


# accounts


@click.group("account")
def account_group() -> None:
    """Create, list, disable and enable accounts, which own keys."""


@account_group.command("create")
@click.argument("name")
@store_options
def account_create(place: Place, name: str, as_json: bool) -> None:
    """Make an account called NAME."""
    account = with_store(place, lambda store: store.create_account(name), create=True)
    _show_account(account, as_json, "created")


@account_group.command("list")
@store_options
def account_list(place: Place, as_json: bool) -> None:
    """List all accounts."""

    async def both(store: SqliteStore) -> tuple[list[Account], list[Key]]:
        return await store.accounts(), await store.keys()

    accounts, keys = with_store(place, both)
    counted = Counter(key.account.id for key in keys)
    if as_json:
        tables.print_json([_account_json(a, counted[a.id]) for a in accounts])
    elif accounts:
        tables.print_accounts(accounts, counted)
    else:
        click.echo("No accounts yet: relayd account create NAME", err=True)


@account_group.command("disable")
@click.argument("account", metavar="NAME|ID")
@store_options
def account_disable(place: Place, account: str, as_json: bool) -> None:
    """Refuse all keys of an account from now on."""
    changed = with_store(place, lambda store: store.set_account_disabled(account, True))
    _show_account(changed, as_json, "disabled")


@account_group.command("enable")
@click.argument("account", metavar="NAME|ID")
@store_options
def account_enable(place: Place, account: str, as_json: bool) -> None:
    """Accept the keys of a disabled account again."""
    changed = with_store(place, lambda store: store.set_account_disabled(account, False))
    _show_account(changed, as_json, "enabled")


def _show_account(account: Account, as_json: bool, what: str) -> None:
    if as_json:
        tables.print_json(_account_json(account))
    else:
        click.echo(f"Account {account.name!r} (id {account.id}) is {what}.")


def _account_json(account: Account, keys: int | None = None) -> dict[str, object]:
    shown: dict[str, object] = {"id": account.id, "name": account.name}
    return {**shown, "disabled": account.disabled, **({} if keys is None else {"keys": keys})}
