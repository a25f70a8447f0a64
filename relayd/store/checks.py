"""What a key, an account or a credit may be made of: said once, for the commands and the admin API.

Each check returns what is to be stored or raises a refusal whose message is for people. Everything
is checked before anything is written, so a refused act has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from math import isfinite
from typing import Any

from relayd.accounts import ENDPOINTS, Caps, Limits
from relayd.money import MOST, shown
from relayd.store.refusals import BadAmount, BadName, BadValue

# How the secrets of keys, and of administrators, begin.
KEY_START = "sk-relayd-"
ADMIN_START = "rat-"

MOST_ENTRIES = 1000  # models or networks of one key
LONGEST_TEXT = 1000
LONGEST_NAME = 100
_MOST_COUNT = 10**12
_LONGEST_BURST = 86_400.0


def good_name(name: str) -> str:
    """The name, if it can be told from an id and a secret, and printed in one line."""
    if not _is_line(name, LONGEST_NAME):
        raise BadName(
            f"{name[:100]!r} is not a name: 1 to 100 printable characters, no outer spaces"
        )
    if name.isdigit() or name.startswith((KEY_START, ADMIN_START)):
        raise BadName(f"{name[:20]!r} is not a name: it looks like an id or a key")
    return name


def good_group(name: str) -> str:
    """The name of a group; whether the configuration has one is not known here."""
    if not _is_line(name, LONGEST_NAME):
        raise BadValue(f"{name[:100]!r} is not the name of a group")
    return name


def good_text(text: str) -> str:
    """A note or a reason."""
    if len(text) > LONGEST_TEXT:
        raise BadValue(f"a note or reason has at most {LONGEST_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("a note or reason has characters that are none") from None
    return text


def good_grace(grace: float) -> float:
    """Seconds that a rotated secret stays good."""
    if not isfinite(grace) or grace < 0:
        raise BadValue(f"{grace} is no time that the old secret could stay good")
    return grace


def good_amount(amount: int, kind: str) -> int:
    """The amount of a credit."""
    if kind not in ("grant", "adjustment"):
        raise BadAmount(f"{kind[:20]!r} is neither a grant nor an adjustment")
    if kind == "grant" and amount <= 0:
        raise BadAmount("a grant must be more than 0; an adjustment may be less")
    if not amount:
        raise BadAmount("an adjustment by 0 is none")
    if abs(amount) > MOST:
        raise BadAmount(f"an amount is at most {shown(MOST)} dollars")
    return amount


def good_sum(total: int) -> int:
    """All credits of an account together: 64 bits must hold them."""
    if abs(total) > MOST:
        raise BadAmount(f"the credits of an account together are at most {shown(MOST)} dollars")
    return total


def good_changes(changes: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Fields of a key, each as it is stored. Raises BadName, BadValue."""
    unknown = [name for name in changes if name not in _FIELDS and name != "expires_at"]
    if unknown:
        raise BadValue(f"a key has no {unknown[0][:50]!r} to change")
    good = {name: _FIELDS[name](value) for name, value in changes.items() if name in _FIELDS}
    if "expires_at" in changes:
        good["expires_at"] = _good_expiry(changes["expires_at"], now)
    return good


def _good_expiry(expires_at: float | None, now: float) -> float | None:
    if expires_at is None:
        return None
    if not isfinite(expires_at) or expires_at <= now:
        raise BadValue("the expiry is in the past, or no time at all")
    return float(expires_at)


def _good_models(models: Iterable[str]) -> tuple[str, ...]:
    return _each(models, "a model name", lambda model: _is_line(model, 2 * LONGEST_NAME))


def _good_endpoints(endpoints: Iterable[str]) -> tuple[str, ...]:
    what = f"an endpoint ({', '.join(ENDPOINTS)})"
    return _each(endpoints, what, lambda endpoint: endpoint in ENDPOINTS)


def _good_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    return _each(addresses, "an address or network such as 10.0.0.0/8", _is_network)


def _each(values: Iterable[str], what: str, is_good: Callable[[str], bool]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(values))
    for value in found:
        if not is_good(value):
            raise BadValue(f"{value[:100]!r} is not {what}")
    if len(found) > MOST_ENTRIES:
        raise BadValue(f"a key has at most {MOST_ENTRIES} of each")
    return found


def _good_limits(limits: Limits) -> Limits:
    for name, value in (
        ("rpm", limits.rpm),
        ("tpm", limits.tpm),
        ("concurrency", limits.concurrency),
    ):
        if value is not None and not _is_count(value, 1, _MOST_COUNT):
            raise BadValue(f"{name} must be a whole number from 1 on")
    if not 0 < limits.burst <= _LONGEST_BURST:
        raise BadValue("burst must be seconds, more than 0 and at most a day")
    return limits


def _good_caps(caps: Caps) -> Caps:
    for name, value in (("day", caps.day), ("month", caps.month), ("ever", caps.ever)):
        if value is not None and not _is_count(value, 0, MOST):
            raise BadAmount(f"the cap per {name} must be from 0 to {shown(MOST)} dollars")
    return caps


def _good_answer(value: bool | None) -> bool | None:
    return None if value is None else bool(value)


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_line(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isprintable() and text == text.strip()


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": good_name,
    "note": good_text,
    "disabled": bool,
    "lenient": _good_answer,
    "models": _good_models,
    "endpoints": _good_endpoints,
    "addresses": _good_addresses,
    "limits": _good_limits,
    "caps": _good_caps,
}
