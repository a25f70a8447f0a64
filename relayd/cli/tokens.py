"""The commands that look after admin tokens, the named ways into `/admin/api`.

Each person or program gets one of its own: the audit table then says who did what, and one can be
taken away without the others.
"""

from __future__ import annotations

import time

import click

from relayd.accounts import AdminToken
from relayd.cli import tables
from relayd.cli.store import Place, actor, store_options, with_store
from relayd.cli.tables import Column

_COLUMNS = (
    Column("id", True),
    Column("name"),
    Column("prefix"),
    Column("created (UTC)"),
    Column("state"),
)


@click.group("token")
def token_group() -> None:
    """Create, list, disable and enable tokens for the admin API."""


@token_group.command("create")
@click.argument("name")
@store_options
def token_create(place: Place, name: str, as_json: bool) -> None:
    """Make an admin token called NAME and print it, this once. It may do everything."""
    token, secret = with_store(
        place, lambda s: s.create_admin_token(name, now=time.time(), actor=actor()), create=True
    )
    if as_json:
        tables.print_json({**_token_json(token), "secret": secret})
        return
    click.echo(f"Admin token {token.name!r} (id {token.id}):", err=True)
    click.echo(secret)
    click.echo("Keep it now: only its hash is stored, it cannot be shown again.", err=True)


@token_group.command("list")
@store_options
def token_list(place: Place, as_json: bool) -> None:
    """List the admin tokens that were made here."""
    tokens = with_store(place, lambda store: store.admin_tokens())
    if as_json:
        tables.print_json([_token_json(token) for token in tokens])
    elif tokens:
        tables.print_table(_COLUMNS, [_cells(token) for token in tokens])
    else:
        click.echo("No admin tokens yet: relayd token create NAME", err=True)


@token_group.command("disable")
@click.argument("token", metavar="NAME|ID")
@store_options
def token_disable(place: Place, token: str, as_json: bool) -> None:
    """Refuse an admin token from now on."""
    _switch(place, token, True, as_json)


@token_group.command("enable")
@click.argument("token", metavar="NAME|ID")
@store_options
def token_enable(place: Place, token: str, as_json: bool) -> None:
    """Accept a disabled admin token again."""
    _switch(place, token, False, as_json)


def _switch(place: Place, reference: str, disabled: bool, as_json: bool) -> None:
    token = with_store(
        place,
        lambda s: s.set_admin_token_disabled(reference, disabled, now=time.time(), actor=actor()),
    )
    if as_json:
        tables.print_json(_token_json(token))
    else:
        click.echo(f"Admin token {token.name!r} (id {token.id}) is {_state(token)}.")


def _cells(token: AdminToken) -> tuple[str, ...]:
    created = tables.moment(token.created_at)
    return str(token.id), token.name, token.prefix, created, _state(token)


def _state(token: AdminToken) -> str:
    return "disabled" if token.disabled else "enabled"


def _token_json(token: AdminToken) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "created_at": tables.iso(token.created_at),
        "disabled": token.disabled,
    }
