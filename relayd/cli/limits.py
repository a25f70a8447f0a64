"""What narrows a key: the options that `key create` and `key set` share, and how limits are said.

What `none` stands behind is taken away; what is not given stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import wraps
from typing import Any

from relayd.accounts import ENDPOINTS, Caps, Limits
from relayd.cli import tables, values
from relayd.cli.store import Command
from relayd.cli.tables import BOUND
from relayd.money import shown

_LIMITS = ("rpm", "tpm", "concurrency")
_EMPTY = {"models": (), "endpoints": (), "addresses": (), "note": ""}


def narrowing(command: Command) -> Command:
    """The options that say what a key may do, gathered into `asked`."""

    @wraps(command)  # which brings along the options that it has already
    def gathered(**options: Any) -> None:
        asked = {name: options.pop(name) for name in _OPTIONS}
        command(asked=asked, **options)

    for option in reversed(list(_OPTIONS.values())):
        option(gathered)
    return gathered


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "expires_at": values.EXPIRY.option(
        "--expires", "expires_at", help=f"When it ends: {values.EXPIRIES}."
    ),
    "models": values.NAMES.option(
        "--models", multiple=True, help="Only these; wildcards as in 'gpt-*'."
    ),
    "endpoints": values.KINDS.option(
        "--endpoints", multiple=True, help=f"Only these of {', '.join(ENDPOINTS)}."
    ),
    "addresses": values.NETWORKS.option(
        "--address",
        "addresses",
        multiple=True,
        help="Only from this network (CIDR) or address; repeat it for several.",
    ),
    "rpm": values.COUNT.option("--rpm", help="Requests a minute."),
    "tpm": values.COUNT.option("--tpm", help="Tokens a minute, such as 100k."),
    "concurrency": values.COUNT.option("--concurrency", help="Requests at one time."),
    "spend_day": values.CAP.option("--spend-day", help="What it may spend a day."),
    "spend_month": values.CAP.option("--spend-month", help="What it may spend a month."),
    "spend_ever": values.CAP.option("--spend-ever", help="What it may spend altogether."),
    "lenient": values.ANSWER.option(
        "--lenient", help="Whether translations may lose what the other format cannot say."
    ),
    "note": values.TEXT.option("--note", help="A remark for yourself."),
}


def changes_of(asked: Mapping[str, object], limits: Limits, caps: Caps) -> dict[str, Any]:
    """The fields of a key that the options change, starting from these limits and caps."""
    given: dict[str, Any] = values.given(asked, _EMPTY)
    limiting = {name: given.pop(name) for name in _LIMITS if name in given}
    capping = {
        f.name: given.pop(f"spend_{f.name}") for f in fields(Caps) if f"spend_{f.name}" in given
    }
    if limiting:
        given["limits"] = replace(limits, **limiting)
    if capping:
        given["caps"] = replace(caps, **capping)
    return given


def limits_text(limits: Limits, caps: Caps) -> str:
    """`60 rpm, 100k tpm, 4 at once, $5/day`; "" for none at all."""
    parts = [
        *_said(limits.rpm, "rpm"),
        *_said(limits.tpm, "tpm"),
        *_said(limits.concurrency, "at once"),
        *(
            f"{tables.dollars(n).removesuffix('.00')}{when}"
            for n, when in _capped(caps)
            if n is not None
        ),
    ]
    return ", ".join(part.replace(" ", BOUND) for part in parts)


def _said(limit: int | None, what: str) -> list[str]:
    return [] if limit is None else [f"{tables.short_count(limit)} {what}"]


def _capped(caps: Caps) -> tuple[tuple[int | None, str], ...]:
    return (caps.day, "/day"), (caps.month, "/month"), (caps.ever, " ever")


def limits_json(limits: Limits, caps: Caps) -> dict[str, object]:
    """Limits and caps for scripts; null is no limit."""
    spend = {f.name: getattr(caps, f.name) for f in fields(Caps)}
    return {
        **{name: getattr(limits, name) for name in _LIMITS},
        "spend": {name: None if cap is None else shown(cap) for name, cap in spend.items()},
    }
