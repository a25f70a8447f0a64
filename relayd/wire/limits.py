"""The headers that tell a client how its limits stand, in the names of its format.

OpenAI's clients read `x-ratelimit-reset-requests: 6m0s`, Anthropic's a moment in RFC 3339; Google
has no such headers, and its clients get OpenAI's. Only limits that exist are told. Where ours are
told, the upstream's are taken out: they are about the operator's account, and two of a name would
be worse than none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil

from relayd.model import FormatName

Pairs = list[tuple[bytes, bytes]]

# A limit a minute, what is left of it, and seconds until all of it is again.
Standing = tuple[int, int, float]

LONGEST_RESET = 365 * 86400.0  # seconds; no calendar has room for what can be owed by mistake
PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def headers(
    format: FormatName, requests: Standing | None, tokens: Standing | None, moment: float
) -> Pairs:
    """The headers for a client of `format`.

    Arguments:
        requests, tokens: how the limits stand; None where there is none.
        moment: Unix seconds, which resets are counted from.
    """
    found: Pairs = []
    for name, standing in ((b"requests", requests), (b"tokens", tokens)):
        if standing is None:
            continue
        limit, remaining, reset = standing
        reset = min(reset, LONGEST_RESET)
        if format == "messages":
            found += (
                (b"anthropic-ratelimit-%b-limit" % name, b"%d" % limit),
                (b"anthropic-ratelimit-%b-remaining" % name, b"%d" % remaining),
                (b"anthropic-ratelimit-%b-reset" % name, _rfc3339(ceil(moment + reset))),
            )
        else:
            found += (
                (b"x-ratelimit-limit-%b" % name, b"%d" % limit),
                (b"x-ratelimit-remaining-%b" % name, b"%d" % remaining),
                (b"x-ratelimit-reset-%b" % name, duration(reset)),
            )
    return found


def replaced(upstream: Iterable[tuple[bytes, bytes]], ours: Pairs) -> Pairs:
    """The upstream's headers (names in lower case) with our limits instead of its own."""
    if not ours:
        return list(upstream)
    return [pair for pair in upstream if not pair[0].startswith(PREFIXES)] + ours


def duration(seconds: float) -> bytes:
    """As OpenAI writes it: `20ms`, `1s`, `8.64s`, `6m0s`, `1h0m0s`; rounded up to milliseconds."""
    millis = ceil(seconds * 1000 - 1e-6)
    if millis < 1000:
        return b"%dms" % max(millis, 0)
    whole, rest = divmod(millis, 1000)
    minutes, second = divmod(whole, 60)
    text = b"%d" % second
    if rest:
        text += (b".%03d" % rest).rstrip(b"0")
    if not minutes:
        return text + b"s"
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%bs" % (hours, minutes, text) if hours else b"%dm%bs" % (minutes, text)


@lru_cache(maxsize=256)
def _rfc3339(moment: int) -> bytes:
    # Remembered: many replies are within a second of each other, and this is 5 us.
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
