"""Credits: what accounts were given, what they have left, and the commands that give and take.

Credits are only ever added, never changed: `topup` adds a grant, `adjust` an adjustment, which
wants a reason. A balance is what was granted less what was spent; an account that was never given
anything has none, and whether it needs one is its group's matter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import click

from relayd.accounts import Account, Credit, Key
from relayd.cli import tables, values
from relayd.cli.store import Failed, Place, actor, store_options, with_store
from relayd.cli.tables import Column
from relayd.money import shown
from relayd.store.sqlite import SqliteStore

# A negative amount looks like an option to the parser; this lets it through.
_SIGNED = {"ignore_unknown_options": True}
_COLUMNS = (
    Column("id", True, spare=2),
    Column("at (UTC)"),
    Column("amount ($)", True),
    Column("kind", spare=1),
    Column("by"),
    Column("reason", wraps=True, optional=True),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """An account with its figures; `granted` is None when it was never given anything."""

    account: Account
    keys: tuple[Key, ...]
    granted: int | None
    spent: int

    @property
    def balance(self) -> int | None:
        """What is left; negative when it is overdrawn."""
        return None if self.granted is None else self.granted - self.spent


async def standings(store: SqliteStore) -> list[Standing]:
    """All accounts with their figures, oldest first."""
    keys: dict[int, list[Key]] = {}
    for key in await store.keys():
        keys.setdefault(key.account.id, []).append(key)
    granted, spent = await store.granted(), await store.spent()
    return [
        Standing(a, tuple(keys.get(a.id, ())), granted.get(a.id), spent.get(a.id, 0))
        for a in await store.accounts()
    ]


async def standing(store: SqliteStore, reference: str) -> Standing:
    """One account with its figures. Raises NotFound."""
    wanted = await store.account(reference)
    return next(found for found in await standings(store) if found.account.id == wanted.id)


@click.command("topup", context_settings=_SIGNED)
@click.argument("account")
@click.argument("amount", metavar="DOLLARS", callback=values.AMOUNT)
@click.option("--reason", default="", help="Kept with it: an invoice, say.")
@store_options
def topup_command(place: Place, account: str, amount: int, reason: str, as_json: bool) -> None:
    """Give an account DOLLARS more, such as 20 or 0.50."""
    if amount <= 0:
        hint = f"; to take back: relayd account adjust {account} {shown(amount)} --reason WHY"
        raise Failed(f"a top-up is more than 0{hint if amount else ''}")
    _add(place, account, amount, ("grant", reason), as_json)


@click.command("adjust", context_settings=_SIGNED)
@click.argument("account")
@click.argument("amount", metavar="DOLLARS", callback=values.AMOUNT)
@click.option("--reason", required=True, help="Why; it is kept with it.")
@store_options
def adjust_command(place: Place, account: str, amount: int, reason: str, as_json: bool) -> None:
    """Correct a balance by DOLLARS, such as -5 or 2.50."""
    _add(place, account, amount, ("adjustment", reason), as_json)


def _add(
    place: Place,
    reference: str,
    amount: int,
    why: tuple[Literal["grant", "adjustment"], str],
    as_json: bool,
) -> None:
    kind, reason = why

    async def add(store: SqliteStore) -> tuple[Credit, Standing, bool]:
        before = await standing(store, reference)
        new = await store.add_credit(
            str(before.account.id), amount, kind=kind, reason=reason, actor=actor(), now=time.time()
        )
        return new, await standing(store, str(before.account.id)), before.granted is None

    credit, now, is_first = with_store(place, add)
    if as_json:
        tables.print_json({**_credit_json(credit, now.account.name), "balance": _balance(now)})
        return
    change = f"${shown(abs(amount))} {'more' if amount > 0 else 'less'}"
    balance = tables.dollars(now.balance or 0)
    click.echo(f"Account {now.account.name!r} has {change}: its balance is {balance}.")
    if is_first:
        click.echo("It is its first credit: unless its group says `balance: off`,", err=True)
        click.echo("its requests are refused from now on when the balance is used up.", err=True)


@click.command("credits")
@click.argument("account")
@values.limit_option
@store_options
def credits_command(place: Place, account: str, limit: int, as_json: bool) -> None:
    """List the credits of an account, newest first."""

    async def both(store: SqliteStore) -> tuple[Standing, list[Credit]]:
        found = await standing(store, account)
        return found, await store.credits(str(found.account.id), limit)

    found, credits = with_store(place, both)
    name = found.account.name
    if as_json:
        lines = [_credit_json(credit, name) for credit in credits]
        tables.print_json({**standing_json(found), "credits": lines})
    elif found.granted is None:
        click.echo(f"Account {name!r} has no credits: relayd account topup {name} 20", err=True)
    else:
        tables.print_table(_COLUMNS, [_cells(credit) for credit in credits])
        click.echo(f"Balance: {sum_of(found)}")
        if len(credits) == limit:
            click.echo(f"The latest {limit}; --limit shows more.", err=True)


CREDIT_COMMANDS = (topup_command, adjust_command, credits_command)


# --- how they are shown ---------------------------------------------------------------------------


def _balance(found: Standing) -> str | None:
    return None if found.balance is None else shown(found.balance)


def sum_of(found: Standing) -> str:
    """A balance and what it comes from, for people."""
    granted, balance = found.granted or 0, found.balance or 0
    return (
        f"{tables.dollars(balance)} ("
        f"granted {tables.dollars(granted)}, spent {tables.dollars(found.spent)})"
    )


def _cells(credit: Credit) -> tuple[str, ...]:
    return (
        str(credit.id),
        tables.moment(credit.created_at),
        tables.money(credit.amount),
        credit.kind,
        credit.actor,
        credit.reason,
    )


def account_json(account: Account) -> dict[str, object]:
    """An account for scripts."""
    return {
        "id": account.id,
        "name": account.name,
        "group": account.group,
        "disabled": account.disabled,
        "created_at": tables.iso(account.created_at),
        "note": account.note,
    }


def standing_json(found: Standing) -> dict[str, object]:
    """With its figures, as exact decimal strings of dollars; null is no balance kept."""
    return {
        **account_json(found.account),
        "keys": len(found.keys),
        "granted": None if found.granted is None else shown(found.granted),
        "spent": shown(found.spent),
        "balance": _balance(found),
    }


def _credit_json(credit: Credit, account: str) -> dict[str, object]:
    return {
        "id": credit.id,
        "account": account,
        "amount": shown(credit.amount),
        "kind": credit.kind,
        "reason": credit.reason,
        "actor": credit.actor,
        "created_at": tables.iso(credit.created_at),
    }
