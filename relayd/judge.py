"""Is this whole reply an answer, the client's mistake, or the upstream's failure?

Pure. One table of statuses, one function. An answer and a client's mistake pass byte for byte; a
failure of the upstream is reworded, so that it never looks like success and never shows our
credential's trouble.
"""

from __future__ import annotations

import email.utils
import math
from datetime import UTC, datetime
from typing import NamedTuple

from relayd.errors import BadReply, BadStatus
from relayd.model import FormatName, Operation, Usage
from relayd.wire.formats import FORMATS
from relayd.wire.head import ReplyFacts

RawHeaders = list[tuple[bytes, bytes]]

OUR_CREDENTIAL = frozenset({401, 402, 403})
# What the upstream's own failure becomes; anything else of the 5xx becomes 502 (behaviour.md 3).
REWORDED = {503: 503, 504: 504, 529: 503, 524: 504, 522: 504}
LONGEST_WAIT = 7 * 86400.0  # seconds; a longer retry-after is no advice


class Verdict(NamedTuple):
    """What to tell the client, and what the ledger says."""

    status: int
    outcome: str
    error_code: str
    usage: Usage | None


def judge(
    name: FormatName,
    operation: Operation,
    status: int,
    headers: RawHeaders,
    body: bytes,
    *,
    now: float | None = None,
) -> Verdict:
    """Judge a whole reply.

    Arguments:
        now: Unix seconds, for a retry-after that is a date.
    Returns: how it passes, unchanged.
    Raises: BadStatus or BadReply, when it is the upstream's failure and must be reworded.
    """
    if 200 <= status < 300:
        return _judge_success(name, operation, status, headers, body)
    if status < 400:
        raise BadReply(f"The upstream answered with an unexpected status {status}.")
    facts = FORMATS[name].reply_usage(body, operation)
    if status in OUR_CREDENTIAL or (status == 400 and b"API_KEY_INVALID" in body):
        raise BadStatus(
            "The upstream refused relayd's credential or account; the operator has to look at it.",
            upstream_status=status,
            status=502,
            code="upstream_credential",
        )
    if status >= 500:
        moment = None if now is None else datetime.fromtimestamp(now, UTC)
        raise _reworded(status, retry_after(headers, moment), facts)
    # The client's mistake, or a rate limit: as received.
    outcome = "upstream_error" if status == 429 else "bad_request"
    return Verdict(status, outcome, f"upstream_{status}", None)


def _judge_success(
    name: FormatName, operation: Operation, status: int, headers: RawHeaders, body: bytes
) -> Verdict:
    facts = FORMATS[name].reply_usage(body, operation)
    if not facts.is_json:
        if not body and status != 204:
            raise BadReply("The upstream sent an empty reply.")
        if _claims_json(headers):
            raise BadReply("The upstream sent a reply that is not valid JSON.")
        # It does not claim to be JSON: the client gets it as it is, the ledger knows.
        return Verdict(status, "upstream_error", "upstream_not_json", None)
    if facts.error is not None:
        if (
            name == "responses" and facts.response_id
        ):  # a Responses object with status "failed" is a proper answer
            return Verdict(status, "upstream_error", "upstream_failed_response", facts.usage)
        raise BadReply(f"The upstream answered 200 with an error: {facts.error}")
    return Verdict(status, "ok", "", facts.usage)


def _reworded(status: int, wait: float | None, facts: ReplyFacts) -> BadStatus:
    said = f": {facts.error}" if facts.error else "."
    return BadStatus(
        f"The upstream failed with status {status}{said}",
        upstream_status=status,
        status=REWORDED.get(status, 502),
        code="overloaded" if status in (503, 529) else f"upstream_{status}",
        retry_after=wait,
    )


def _claims_json(headers: RawHeaders) -> bool:
    claimed = next((v.lower() for n, v in headers if n == b"content-type"), b"application/json")
    return b"json" in claimed


def retry_after(headers: RawHeaders, now: datetime | None = None) -> float | None:
    """Seconds until another try makes sense: `retry-after-ms`, or `retry-after`, number or date.

    Arguments:
        now: for the date form, which is no advice without it.
    """
    values = dict(headers)
    written = values.get(b"retry-after", b"")
    for value, unit in ((values.get(b"retry-after-ms", b""), 0.001), (written, 1.0)):
        try:
            seconds = float(value) * unit
        except ValueError:
            continue
        return max(seconds, 0.0) if seconds < LONGEST_WAIT else None
    seconds = _until(written.decode("latin-1"), now)
    return max(seconds, 0.0) if seconds < LONGEST_WAIT else None


def _until(date: str, now: datetime | None) -> float:
    if now is None:
        return math.inf
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.inf
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
