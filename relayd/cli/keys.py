"""The commands that look after keys, the credentials of clients.

Secrets go to stdout and remarks to stderr, so that `KEY=$(relayd key create bot)` holds the key
and nothing else. What `create` and `set` can say of a key stands in `limits`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from relayd.accounts import NO_CAPS, NO_LIMITS, Key
from relayd.cli import tables, values
from relayd.cli.limits import changes_of, limits_json, limits_text, narrowing
from relayd.cli.settings import calendar
from relayd.cli.store import Place, actor, store_options, with_store
from relayd.cli.tables import Column
from relayd.money import shown
from relayd.policy.calendar import Calendar
from relayd.store.questions import NewKey
from relayd.store.sqlite import SqliteStore

DEFAULT = "default"
_COLUMNS = (
    Column("id", True, spare=2),
    Column("name"),
    Column("account"),
    Column("prefix"),
    Column("spent ($)", True),
    Column("limits", wraps=True, optional=True),
    Column("expires", spare=1, optional=True),
    Column("created (UTC)", spare=3),
    Column("state"),
)


@click.group("key")
def key_group() -> None:
    """Look after the keys that clients use, and what each of them may.

    A KEY is named by its name, its id, or its prefix as the list shows it.
    """


@key_group.command("create")
@click.argument("name")
@click.option(
    "--account", default=DEFAULT, metavar="NAME", show_default=True, help="Made on first use."
)
@narrowing
@store_options
def key_create(
    place: Place, name: str, account: str, asked: Mapping[str, object], as_json: bool
) -> None:
    """Make a key called NAME and print it, this once.

    Without options it may do all that the group of its account may.

    Example: relayd key create laptop --account alice --expires 30d --rpm 60
    """
    ask = NewKey(name, account, **changes_of(asked, NO_LIMITS, NO_CAPS))

    async def create(store: SqliteStore) -> tuple[Key, str, bool]:
        before = {found.name for found in await store.accounts()}
        key, secret = await store.create_key(ask, now=time.time(), actor=actor())
        return key, secret, key.account.name not in before

    key, secret, is_first = with_store(place, create, create=True)
    if as_json:
        tables.print_json({**key_json(key), "secret": secret})
        return
    new = ", a new account" if is_first and account != DEFAULT else ""
    click.echo(f"Key {key.name!r} of account {key.account.name!r}{new} (id {key.id}):", err=True)
    click.echo(secret)
    click.echo("Keep it now: only its hash is stored, it cannot be shown again.", err=True)


@key_group.command("list")
@click.option("--account", metavar="ACCOUNT", help="Only those of this account.")
@store_options
def key_list(place: Place, account: str | None, as_json: bool) -> None:
    """List all keys: spending, limits, and whether they work."""

    async def both(store: SqliteStore) -> tuple[list[Key], dict[int, int]]:
        wanted = await store.account(account) if account else None
        keys = [k for k in await store.keys() if wanted is None or k.account.id == wanted.id]
        return keys, await store.key_spent_ever()

    keys, spent = with_store(place, both)
    if as_json:
        tables.print_json([{**key_json(k), "spent": shown(spent.get(k.id, 0))} for k in keys])
    elif keys:
        tables.print_table(_COLUMNS, [_cells(key, spent.get(key.id, 0)) for key in keys])
    else:
        click.echo("No keys yet: relayd key create NAME", err=True)


@key_group.command("show")
@click.argument("key")
@store_options
def key_show(place: Place, key: str, as_json: bool) -> None:
    """Show what a key may do, and what it spent."""
    days = calendar(place)

    async def everything(store: SqliteStore) -> tuple[Key, dict[str, int]]:
        found = await store.key(key)
        return found, await _spending(store, found, days)

    found, spent = with_store(place, everything)
    if as_json:
        amounts = {name: shown(amount) for name, amount in spent.items()}
        tables.print_json({**key_json(found), "spent": amounts})
    else:
        tables.print_facts(_facts(found, spent))


async def _spending(store: SqliteStore, key: Key, days: Calendar) -> dict[str, int]:
    today = days.day(time.time())
    by_day = (await store.key_spent(today // 100 * 100 + 1)).get(key.id, {})
    return {
        "day": by_day.get(today, 0),
        "month": sum(by_day.values()),
        "ever": (await store.key_spent_ever([key.id])).get(key.id, 0),
    }


@key_group.command("set")
@click.argument("key")
@click.option("--name", metavar="NAME", help="What it is called from now on.")
@narrowing
@store_options
def key_set(
    place: Place, key: str, name: str | None, asked: Mapping[str, object], as_json: bool
) -> None:
    """Change what a key may do.

    What is not given stays as it is; `none` takes a restriction away.

    Example: relayd key set laptop --rpm 60 --models none
    """

    async def change(store: SqliteStore) -> Key:
        old = await store.key(key)
        changes = changes_of(asked, old.limits, old.caps) | ({} if name is None else {"name": name})
        if not changes:
            raise click.UsageError("say what to change: see relayd key set --help")
        return await store.change_key(str(old.id), changes, now=time.time(), actor=actor())

    changed = with_store(place, change)
    if as_json:
        tables.print_json(key_json(changed))
    else:
        tables.print_facts(_facts(changed))


@key_group.command("rotate")
@click.argument("key")
@values.DURATION.option("--grace", help="How long the old one still works, such as 24h.")
@store_options
def key_rotate(place: Place, key: str, grace: object, as_json: bool) -> None:
    """Give a key a new secret and print it, this once.

    It stays the same key: its limits, its spending and its history stay."""
    seconds = grace if isinstance(grace, float) else 0.0
    changed, secret = with_store(
        place, lambda s: s.rotate_key(key, grace=seconds, now=time.time(), actor=actor())
    )
    if as_json:
        tables.print_json({**key_json(changed), "secret": secret})
        return
    end = f"works until {tables.moment(changed.old_until)} UTC" if seconds else "is refused"
    click.echo(f"Key {changed.name!r} (id {changed.id}) is now:", err=True)
    click.echo(secret)
    click.echo(f"The old one {end}. Keep this one now, it cannot be shown again.", err=True)


@key_group.command("disable")
@click.argument("key")
@store_options
def key_disable(place: Place, key: str, as_json: bool) -> None:
    """Refuse a key from now on.

    A running relayd does so within a second."""
    _switch(place, key, True, as_json)


@key_group.command("enable")
@click.argument("key")
@store_options
def key_enable(place: Place, key: str, as_json: bool) -> None:
    """Accept a disabled key again."""
    _switch(place, key, False, as_json)


def _switch(place: Place, reference: str, disabled: bool, as_json: bool) -> None:
    changes = {"disabled": disabled}
    key = with_store(
        place, lambda s: s.change_key(reference, changes, now=time.time(), actor=actor())
    )
    if as_json:
        tables.print_json(key_json(key))
    else:
        click.echo(f"Key {key.name!r} ({key.prefix}...) is {state(key)}.")


# --- how a key is shown ---------------------------------------------------------------------------


def _cells(key: Key, spent: int) -> tuple[str, ...]:
    return (
        str(key.id),
        key.name,
        key.account.name,
        key.prefix,
        tables.money(spent),
        limits_text(key.limits, key.caps),
        tables.date(key.expires_at) if key.expires_at is not None else "",
        tables.moment(key.created_at),
        state(key),
    )


def _facts(key: Key, spent: Mapping[str, int] | None = None) -> list[tuple[str, str]]:
    group = key.account.group
    everything = f"all that group {group!r} has"
    facts = [
        ("key", f"{key.name} (id {key.id})"),
        ("account", f"{key.account.name} (id {key.account.id}, group {group!r})"),
        ("state", state(key)),
        ("secret", f"{key.prefix}..."),
        ("created", f"{tables.moment(key.created_at)} UTC"),
        ("expires", "never" if key.expires_at is None else f"{tables.moment(key.expires_at)} UTC"),
        ("models", ", ".join(key.models) or everything),
        ("endpoints", ", ".join(key.endpoints) or everything),
        ("addresses", ", ".join(key.addresses) or "any"),
        ("limits", limits_text(key.limits, key.caps) or "none of its own"),
    ]
    if key.lenient is not None:
        facts.append(("lenient", "yes" if key.lenient else "no"))
    if spent is not None:
        amounts = [(spent["day"], "today"), (spent["month"], "this month"), (spent["ever"], "ever")]
        facts.append(("spent", ", ".join(f"{tables.dollars(n)} {when}" for n, when in amounts)))
    if key.old_digest is not None and key.old_until > time.time():
        facts.append(("old secret", f"works until {tables.moment(key.old_until)} UTC"))
    return [*facts, ("note", key.note)] if key.note else facts


def state(key: Key) -> str:
    """Whether the key works, and if not, why."""
    if key.disabled:
        return "disabled"
    if key.account.disabled:
        return "account disabled"
    over = key.expires_at is not None and key.expires_at <= time.time()
    return "expired" if over else "enabled"


def key_json(key: Key) -> dict[str, object]:
    """A key without its digests; amounts are exact decimal strings of dollars."""
    return {
        "id": key.id,
        "name": key.name,
        "account": key.account.name,
        "prefix": key.prefix,
        "created_at": tables.iso(key.created_at),
        "expires_at": None if key.expires_at is None else tables.iso(key.expires_at),
        "disabled": key.disabled,
        "account_disabled": key.account.disabled,
        "state": state(key),
        "models": key.models,
        "endpoints": key.endpoints,
        "addresses": key.addresses,
        **limits_json(key.limits, key.caps),
        "note": key.note,
        "lenient": key.lenient,
    }
