"""What people type behind an option, and what it means: amounts, times, lists, networks.

A value that cannot be meant is refused before anything is opened or changed: one line that names
the option and says what is wanted, exit code 1. `none` takes away what an option had set, which is
not the same as leaving the option out, so it has a value of its own.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import click

from relayd.accounts import ENDPOINTS
from relayd.cli.store import Failed
from relayd.money import pico

TIMES = "30m, 2h, 1d, 2w (ago), or 2026-11-01 or 2026-11-01T08:00 (UTC)"
EXPIRIES = "12h, 30d, 2w (from now), or 2027-01-31 or 2027-01-31T08:00 (UTC)"
LONGEST_COUNT = 10**12  # of requests or tokens a minute; more is a slip of the hand

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_THOUSANDS = {"": 1, "k": 1000, "m": 1_000_000}

limit_option = click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    metavar="N",
    help="At most so many.  [default: 50]",
)


class Nothing(Enum):
    """`none`: what was set is taken away."""

    NOTHING = "none"


NOTHING: Final = Nothing.NOTHING


class Value:
    """What stands behind an option or argument: click calls it with the text, or with the texts of
    an option that may be repeated.

    Arguments:
        metavar: how the help shows it.
        parse: makes a value of a text; its ValueError is what the person is told.
    """

    def __init__(self, metavar: str, parse: Callable[[str], Any]) -> None:
        self.metavar = metavar
        self._parse = parse

    def __repr__(self) -> str:
        return f"Value({self.metavar})"

    def option(self, *names: str, **more: Any) -> Callable[[Any], Any]:
        """The option of such a value."""
        return click.option(*names, metavar=self.metavar, callback=self, **more)

    def __call__(self, _context: click.Context, param: click.Parameter, given: Any) -> Any:
        """Raises Failed."""
        if given is None:
            return None
        if isinstance(given, tuple):
            return _joined([self._one(param, text) for text in given])
        return self._one(param, given)

    def _one(self, param: click.Parameter, text: str) -> Any:
        is_option = isinstance(param, click.Option)
        if is_option and text.strip().lower() == NOTHING.value:
            return NOTHING
        try:
            return self._parse(text)
        except ValueError as error:
            raise Failed(f"{param.opts[0]}: {error}" if is_option else str(error)) from None


def _joined(lists: Sequence[Any]) -> object:
    """The lists of a repeated option as one; None when it was never given."""
    if NOTHING in lists:
        return NOTHING
    return tuple(dict.fromkeys(name for names in lists for name in names)) or None


def parse_moment(text: str, now: float) -> float:
    """The Unix time that `1d`, `2h`, `30m` (ago) or a date with or without a time stands for.

    Without a zone, UTC is meant, as in the report's times. Raises ValueError.
    """
    seconds = _counted_seconds(text)
    if seconds is not None:
        return max(0.0, now - seconds)
    moment = _date(text)
    if moment is None:
        raise ValueError(f"{text!r} is no time: write {TIMES}")
    return moment


def parse_expiry(text: str, now: float) -> float:
    """The same for a time to come: `30d` is from now on. Raises ValueError for the past, too."""
    seconds = _counted_seconds(text)
    moment = _date(text) if seconds is None else now + seconds
    if moment is None:
        raise ValueError(f"{text!r} is no time: write {EXPIRIES}")
    if moment <= now:
        raise ValueError(f"{text!r} is in the past")
    if moment > _LAST:
        raise ValueError(f"{text!r} is too far away; `none` is for ever")
    return moment


def parse_answer(text: str) -> bool:
    """`yes` or `no`."""
    if text.lower() not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.lower() == "yes"


_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `15m`, `24h`, `7d`, or `0`. Raises ValueError."""
    seconds = 0 if text.strip() == "0" else _counted_seconds(text)
    if seconds is None:
        raise ValueError(f"{text!r} is no duration: write 30m, 24h or 7d")
    return float(seconds)


def _counted_seconds(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip(), re.ASCII)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def _date(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_count(text: str) -> int:
    """`60`, `100k`, `2M`: a whole number of 1 or more. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15})([km]?)", text.strip().replace("_", "").lower(), re.ASCII)
    number = int(found[1]) * _THOUSANDS[found[2]] if found else 0
    if not 1 <= number <= LONGEST_COUNT:
        raise ValueError(f"{text!r} is no number such as 60, 100k or 2M; `none` is no limit")
    return number


def parse_cap(text: str) -> int:
    """Dollars that may be spent, in pico-dollars; 0 is a cap, too. Raises ValueError."""
    amount = pico(text)
    if amount < 0:
        raise ValueError(f"{text!r} is less than nothing; `none` is no cap")
    return amount


def parse_list(text: str) -> tuple[str, ...]:
    """`a, b,c` as ("a", "b", "c"). Raises ValueError where nothing is named."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError(f"{text!r} names nothing; `none` takes the restriction away")
    return names


def parse_endpoints(text: str) -> tuple[str, ...]:
    """A list of the kinds of endpoints that there are. Raises ValueError."""
    names = parse_list(text.lower())
    for name in names:
        if name not in ENDPOINTS:
            raise ValueError(f"{name!r} is none of {', '.join(ENDPOINTS)}")
    return names


def parse_networks(text: str) -> tuple[str, ...]:
    """A list of addresses and networks, IPv4 or IPv6, in their usual form. Raises ValueError."""
    return tuple(map(_network, parse_list(text)))


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
        exact = ipaddress.ip_interface(text).ip == network.network_address
    except ValueError:
        raise ValueError(
            f"{text!r} is no address or network such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    if not exact:  # 10.0.0.5/8: one machine, or sixteen million?
        raise ValueError(f"{text!r} is no network; did you mean {network}?")
    return str(network)


EXPIRY = Value("TIME", lambda text: parse_expiry(text, time.time()))
DURATION = Value("TIME", parse_duration)
COUNT = Value("N", parse_count)
CAP = Value("DOLLARS", parse_cap)
AMOUNT = Value("DOLLARS", pico)
NAMES = Value("A,B", parse_list)
KINDS = Value("A,B", parse_endpoints)
NETWORKS = Value("CIDR", parse_networks)
TEXT = Value("TEXT", str)
ANSWER = Value("yes|no", parse_answer)


def given(asked: Mapping[str, object], empty: Mapping[str, object]) -> dict[str, object]:
    """The options that were given; what `none` took away has the value that `empty` names."""
    return {
        name: empty.get(name) if value is NOTHING else value
        for name, value in asked.items()
        if value is not None
    }
