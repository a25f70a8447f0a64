"""Is this reply an answer, the client's mistake, or the upstream's failure?

Pure. One table of statuses, one function for a whole reply, and one for an error that came as a
stream's first event, where the status says 200 and only the error's own words tell. An answer and
a client's mistake pass byte for byte; a failure of the upstream is reworded, so that it never looks
like success and never shows our credential's trouble. A rate limit passes as well, but carries the
error that lets the request be tried elsewhere first.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from relayd.errors import BadReply, BadStatus, RelayError
from relayd.model import FormatName, Operation, Usage
from relayd.wire.facts import error_text, objects, parsed, refuses_key, section
from relayd.wire.formats import FORMATS
from relayd.wire.waits import retry_after

RawHeaders = list[tuple[bytes, bytes]]

# What may answer with something else than JSON: audio; transcripts as text or subtitles.
PLAIN: frozenset[Operation] = frozenset({"speech", "transcribe"})
OUR_CREDENTIAL = frozenset({401, 402, 403})
# What the upstream's own failure becomes; anything else of the 5xx becomes 502 (behaviour.md 3).
REWORDED = {503: 503, 504: 504, 529: 503, 524: 504, 522: 504}
# Passed as they came when nobody else can answer, but another upstream may well.
TRY_ELSEWHERE = {408: "upstream_408", 429: "rate_limit_exceeded"}

# What the words in an error event mean, as the status that the same error has as a whole reply
# (wire-formats 1.5). Lower case; `code`, `status`, `type` and the reasons in `details` use them.
WORDS = {
    400: "invalid_request_error invalid_argument failed_precondition out_of_range bad_request "
    "bad_request_error badrequesterror context_length_exceeded string_above_max_length "
    "content_filter content_policy_violation image_too_large image_too_small image_parse_error "
    "image_content_policy_violation image_file_too_large image_file_not_found empty_image_file "
    "failed_to_download_image",
    401: "authentication_error unauthenticated invalid_api_key api_key_invalid",
    402: "billing_error",
    403: "permission_error permission_denied unsupported_country_region_territory",
    404: "not_found_error not_found model_not_found",
    409: "conflict_error already_exists",
    413: "request_too_large",
    429: "rate_limit_error rate_limit_exceeded requests tokens slow_down resource_exhausted "
    "insufficient_quota credit_balance_exhausted enforced_spend_limit_reached ramp_limit_exceeded "
    "contract_spend_limit_reached",
    # `cancelled`, and 499: not by our client, which is still there.
    500: "server_error api_error internal internal_error internal_server_error cancelled 499",
    503: "service_unavailable_error server_is_overloaded unavailable",
    504: "timeout timeout_error deadline_exceeded",
    529: "overloaded_error overloaded",
}
MEANINGS = {word: status for status, words in WORDS.items() for word in words.split()}
# Codes of which there are ever more.
_OF_CLIENTS = ("invalid_", "unsupported_", "missing_")
_UNKNOWN = 500


class Verdict(NamedTuple):
    """What to tell the client, and what the ledger says.

    `retry` is set where another upstream may do better: the reply passes only when none is left.
    `produced`: tokens of what it says, as far as can be told without usage; None where its size has
    to tell. `heard`: milliseconds of audio that the time stamps of a transcript tell of.
    """

    status: int
    outcome: str
    error_code: str
    usage: Usage | None
    retry: BadStatus | None = None
    response_id: str = ""
    produced: int | None = None
    heard: int | None = None


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
    if status == 400 and refuses_key(body):
        status = 401
    said = FORMATS[name].reply_usage(body, operation).error
    moment = None if now is None else datetime.fromtimestamp(now, UTC)
    failure = _failure(status, said, retry_after(headers, body, moment))
    if failure is not None and status not in TRY_ELSEWHERE:
        raise failure
    # The client's mistake, or a rate limit: as received.
    outcome = "upstream_error" if status == 429 else "bad_request"
    return Verdict(status, outcome, f"upstream_{status}", None, failure)


def first_event_error(
    name: FormatName, data: bytes, headers: RawHeaders | None = None, *, now: float | None = None
) -> RelayError | None:
    """What it means that a stream, of status 200, began with the error in `data`.

    Arguments:
        data: the JSON of the event, as the stream's observer keeps it.
        headers: of the reply, which may tell when to try again.
        now: Unix seconds, as for `judge`.
    Returns: what to raise, or None where the mistake is the client's: then the event passes.
    """
    value = parsed(data) or {}
    error = _error_in(name, value)
    status = _meaning(error, value)
    moment = None if now is None else datetime.fromtimestamp(now, UTC)
    return _failure(status, error_text(error), retry_after(headers or [], data, moment))


def _error_in(name: FormatName, value: dict[str, Any]) -> object:
    """The error of an event: its `error`, that of a failed response, or the flat event itself."""
    nested = section(value.get("response")).get("error") if name == "responses" else None
    return nested or value.get("error") or value


def _meaning(error: object, value: dict[str, Any]) -> int:
    """The status that an error would have as a whole reply, by the first word that is known."""
    for word in _words(section(error), value):
        number = _status_said(word)
        if number is not None:
            return number
    return _UNKNOWN


def _words(error: dict[str, Any], value: dict[str, Any]) -> Iterator[object]:
    """What may tell the kind of an error, the most particular first."""
    details = error.get("details")
    yield section(details).get("error_code")
    yield from (detail.get("reason") for detail in objects(details))
    for key in ("code", "status", "type"):
        yield error.get(key)
    yield from (value.get("code"), value.get("status"))


def _status_said(word: object) -> int | None:
    said = str(word).lower()
    if said in MEANINGS:
        return MEANINGS[said]
    if len(said) == 3 and said.isdecimal() and 400 <= int(said) < 600:
        return int(said)
    return 400 if said.startswith(_OF_CLIENTS) else None


def _judge_success(
    name: FormatName, operation: Operation, status: int, headers: RawHeaders, body: bytes
) -> Verdict:
    if operation == "other":  # nobody knows what it says
        return Verdict(status, "ok", "", None)
    facts = FORMATS[name].reply_usage(body, operation)
    if not facts.is_json:
        if operation in PLAIN and _is_plain(operation, headers, body):
            heard = None if facts.usage is None else facts.usage.audio_ms
            return Verdict(status, "ok", "", None, heard=heard)
        if not body and status != 204:
            raise BadReply("The upstream sent an empty reply.")
        if _claims_json(headers):
            raise BadReply("The upstream sent a reply that is not valid JSON.")
        if operation in PLAIN:
            raise BadReply("The upstream sent a page where audio or text was expected.")
        # It does not claim to be JSON: the client gets it as it is, the ledger knows.
        return Verdict(status, "upstream_error", "upstream_not_json", None)
    if facts.error is not None:
        if (
            name == "responses" and facts.response_id
        ):  # a Responses object with status "failed" is a proper answer
            return Verdict(status, "upstream_error", "upstream_failed_response", facts.usage)
        raise BadReply(f"The upstream answered 200 with an error: {facts.error}")
    return Verdict(status, "ok", "", facts.usage, response_id=facts.response_id)


def _failure(status: int, said: str | None, wait: float | None) -> BadStatus | None:
    """The upstream's failure that `status` tells of; None where it tells of the client's."""
    if status in OUR_CREDENTIAL:
        return BadStatus(
            "The upstream refused relayd's credential or account; the operator has to look at it.",
            upstream_status=status,
            status=502,
            code="upstream_credential",
        )
    if status < 500 and status not in TRY_ELSEWHERE:
        return None
    code = "overloaded" if status in (503, 529) else f"upstream_{status}"
    told = status if status in TRY_ELSEWHERE else REWORDED.get(status, 502)
    return BadStatus(
        f"The upstream failed with status {status}{': ' + said if said else '.'}",
        upstream_status=status,
        status=told,
        code=TRY_ELSEWHERE.get(status, code),
        retry_after=wait,
    )


def _claims_json(headers: RawHeaders) -> bool:
    return b"json" in _claimed(headers)


def _claimed(headers: RawHeaders) -> bytes:
    """The content type, lower case; JSON where there is none."""
    return next((v.lower() for n, v in headers if n == b"content-type"), b"application/json")


def _is_plain(operation: Operation, headers: RawHeaders, body: bytes) -> bool:
    """Whether this is what was asked for: audio, or the text of a transcript, which is empty where
    nobody says anything. A page comes from whatever stands in between."""
    claimed = _claimed(headers)
    if b"json" in claimed or b"html" in claimed:
        return False
    is_text = claimed.startswith(b"text/")
    return bool(body) or is_text if operation == "transcribe" else bool(body) and not is_text
