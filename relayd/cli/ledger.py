"""The commands that look into the books: whether the sums are right, and who changed what."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click
import orjson

from relayd.accounts import Change
from relayd.cli import tables
from relayd.cli.store import Failed, Place, store_options, with_store
from relayd.cli.tables import BOUND
from relayd.cli.values import TIMES, limit_option, parse_moment
from relayd.store.questions import ChangeFilter

INDENT = "    "
# What a line of the audit table calls `subject` says it already, when something is new.
IN_SUBJECT = ("name", "limits.burst")
MOMENTS = ("expires_at", "old_until")
NAMES = {
    "expires_at": "expires",
    "old_until": "old secret until",
    **{f"limits.{name}": name for name in ("rpm", "tpm", "concurrency", "burst")},
    **{f"caps.{name}": f"spend-{name}" for name in ("day", "month", "ever")},
}


@click.group("ledger")
def ledger_group() -> None:
    """Check the sums of the ledger, and see who changed what."""


@ledger_group.command("verify")
@store_options
def ledger_verify(place: Place, as_json: bool) -> None:
    """Recompute every sum from the rows; exit 1 if anything differs.

    Checked are what each account and key spent, the daily sums that reports read, and that every
    credit belongs to an account. Nothing is changed, and a running relayd is not disturbed.
    """
    differences = with_store(place, lambda store: store.verify())
    if as_json:
        tables.print_json({"good": not differences, "differences": differences})
    elif differences:
        for line in differences:
            click.echo(tables.printable(line))
    else:
        click.echo("The ledger is right: every sum agrees with its rows.")
    if differences:
        click.echo(f"relayd: the ledger has {_counted(len(differences))}", err=True)
        sys.exit(1)


def _counted(number: int) -> str:
    return "1 difference" if number == 1 else f"{number} differences"


@ledger_group.command("audit")
@limit_option
@click.option("--by", metavar="WHO", help="Only what they did, such as cli:anna or token:ops.")
@click.option("--what", metavar="ACTION", help="Only such, from its start: key., credit.add.")
@click.option(
    "--of",
    metavar="NAME",
    help="Only what was done to it: a key, an account, a token; its name or id.",
)
@click.option("--since", metavar="TIME", help=f"Only later ones: {TIMES}.")
@store_options
def ledger_audit(place: Place, limit: int, as_json: bool, **asked: str | None) -> None:
    """List who changed accounts, keys, credits and tokens, newest first."""
    since = None if asked["since"] is None else _moment(asked["since"])
    wanted = ChangeFilter(asked["by"], asked["what"], asked["of"], since)
    changes = with_store(place, lambda store: store.audit(limit, None, wanted))
    if as_json:
        tables.print_json([_change_json(change) for change in changes])
    elif changes:
        _print_log(changes, tables.screen())
        if len(changes) == limit:
            click.echo(f"The latest {limit}; --limit shows more.", err=True)
    else:
        click.echo("Nothing was changed.", err=True)


def _moment(text: str) -> float:
    try:
        return parse_moment(text, time.time())
    except ValueError as error:
        raise Failed(f"--since: {error}") from None


def _print_log(changes: Sequence[Change], room: int | None) -> None:
    """One line for each change; what became of what stands below where it does not fit."""
    cells = [(tables.moment(c.at), c.actor, c.action, c.subject) for c in changes]
    clean = [[tables.printable(cell) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for row, change in zip(clean, changes, strict=True):
        head = "  ".join(map(str.ljust, row, widths))
        told = tables.printable(difference(change))
        if room is not None and len(head) + 2 + len(told) > room:
            lines = tables.wrapped(told, max(room, 60) - len(INDENT))
            head, told = head.rstrip(), "".join(f"\n{INDENT}{line}" for line in lines)
        else:
            head += "  "
        click.echo(head + told.replace(BOUND, " "))


def difference(change: Change) -> str:
    """What became of what: `rpm 60 (was none), note x`; only what is not the same."""
    before, after = _flat(_parsed(change.before)), _flat(_parsed(change.after))
    parts = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old != new and not (name in IN_SUBJECT and old is None):
            was = f" (was {_said(name, old)})" if change.before not in ("", "{}") else ""
            parts.append(f"{NAMES.get(name, name)} {_said(name, new)}{was}".replace(" ", BOUND))
    return ", ".join(parts)


def _parsed(text: str) -> dict[str, Any]:
    """The JSON object that a line of the audit table holds; {} for none."""
    value = orjson.loads(text) if text else None
    return value if isinstance(value, dict) else {}


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """The same with `limits.rpm` for what stands in an inner object; nothing is left out."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": kept for inner, kept in _flat(value).items()}
        elif value not in (None, "", [], False):
            flat[name] = value
    return flat


def _said(name: str, value: Any) -> str:
    if value is None:
        return "no" if name == "disabled" else "none"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if name in MOMENTS:
        return f"{tables.moment(value)} UTC"
    if name.startswith("caps."):
        return tables.dollars(value)
    return "yes" if value is True else str(value)


def _change_json(change: Change) -> dict[str, object]:
    return {
        "id": change.id,
        "at": tables.iso(change.at),
        "actor": change.actor,
        "action": change.action,
        "subject": change.subject,
        "before": _parsed(change.before) or None,
        "after": _parsed(change.after) or None,
    }
