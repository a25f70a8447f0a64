"""How long an upstream asks us to wait, in whatever form it says so.

Strategy: a list of places to look in, most explicit first; the first that holds a time is
believed. OpenAI and Anthropic send `retry-after`, Google writes a RetryInfo into the body, and
hosts that send neither often tell when their limits begin anew: of those limits only the
exhausted ones count, and the longest of them, because before that the next try fails too. All
places share one reader of times, since hosts mix the forms: seconds, `6m0s`, a date of either
kind, a Unix time. What is no time, or too far away to be advice, is None, never an error.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from relayd.wire.facts import error_details

RawHeaders = Sequence[tuple[bytes, bytes]]

LONGEST_WAIT = 7 * 86400.0  # seconds; a longer wait is no advice
# A plain number from here on is a Unix time, and from here on one in milliseconds.
_UNIX, _UNIX_MILLIS = 1e9, 1e12
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_STEP = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(d|h|ms|m|s|us|ns)"
_STEPS = re.compile(_STEP)
_DURATION = re.compile(rf"(?:{_STEP})+")
# The names of a limit's two headers, around the name of the limit itself.
_RESETS = (
    (re.compile(rb"(x-)?ratelimit-reset(?:-(.+))?"), b"%sratelimit-remaining%s"),
    (re.compile(rb"(anthropic-)ratelimit-(.+)-reset"), b"%sratelimit%s-remaining"),
)


def retry_after(
    headers: RawHeaders, body: bytes = b"", now: datetime | None = None
) -> float | None:
    """Seconds until another try makes sense, or None where nothing useful is said.

    Arguments:
        headers: of the reply.
        body: of the reply; Google's wait stands there.
        now: for the forms that are a moment, which are no advice without it.
    """
    values = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    millis = values.get(b"retry-after-ms", "")
    for found in (
        _useful(_number(millis) / 1000),
        _useful(_seconds(values.get(b"retry-after", ""), now)),
        _longest(_seconds(delay, now) for delay in _delays(body)),
        _longest(_seconds(reset, now) for reset in _exhausted(values)),
    ):
        if found is not None:
            return found
    return None


def _useful(seconds: float) -> float | None:
    """A wait, or None for one that is no number or no advice; what has passed is no wait at all."""
    return max(seconds, 0.0) if seconds <= LONGEST_WAIT else None


def _longest(waits: Iterable[float]) -> float | None:
    return max((wait for wait in map(_useful, waits) if wait is not None), default=None)


def _delays(body: bytes) -> Iterator[str]:
    """What the RetryInfo entries in an error's details say."""
    if b'"retryDelay"' in body:
        for detail in error_details(body):
            delay = detail.get("retryDelay")
            if isinstance(delay, dict):  # the message that the string stands for, written out
                delay = delay.get("seconds")
            yield str(delay)


def _exhausted(values: dict[bytes, str]) -> Iterator[str]:
    """When each limit begins anew of which nothing is left, or of which no more is known."""
    for name, value in values.items():
        remaining = _remaining_of(name)
        if remaining is not None and _number(values.get(remaining, "0")) <= 0:
            yield value


def _remaining_of(name: bytes) -> bytes | None:
    """The header that tells what is left of a limit, if `name` tells when it begins anew."""
    for pattern, remaining in _RESETS:
        found = pattern.fullmatch(name)
        if found:
            limit = b"-" + found[2] if found[2] else b""
            return remaining % (found[1] or b"", limit)
    return None


def _seconds(written: str, now: datetime | None) -> float:
    """The wait that `written` means, in whichever form; not a number, or endless, for garbage."""
    number = _number(written)
    if math.isnan(number):
        return _duration(written) if _DURATION.fullmatch(written) else _until(written, now)
    if number < _UNIX:
        return number
    moment = number / 1000 if number >= _UNIX_MILLIS else number
    return math.inf if now is None else moment - now.timestamp()


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan


def _duration(written: str) -> float:
    """The sum of steps such as `6m`, `0s` and `12ms`."""
    return sum(float(count) * _UNITS[unit] for count, unit in _STEPS.findall(written))


def _until(date: str, now: datetime | None) -> float:
    """From now until a date as in RFC 3339 or in HTTP."""
    if now is None or not date:
        return math.inf
    moment = _moment(date)
    if moment is None:
        return math.inf
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()


def _moment(date: str) -> datetime | None:
    for read in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            return read(date)
        except (ValueError, OverflowError, IndexError, TypeError):
            continue
    return None
