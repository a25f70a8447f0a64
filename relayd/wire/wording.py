"""Errors in OpenAI's words, which its two formats have in common."""

from __future__ import annotations

import orjson

from relayd.errors import BadStatus, RelayError
from relayd.wire.head import ErrorReply

# HTTP status -> OpenAI's error type; other 4xx are invalid requests, other 5xx server errors.
ERROR_TYPES = {
    402: "insufficient_quota",
    408: "timeout",
    409: "conflict",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout",
}
# Where the code alone tells the type.
TYPES_OF_CODES = {
    "insufficient_quota": "insufficient_quota",
    "moderation_blocked": "image_generation_user_error",
    "image_generation_user_error": "image_generation_user_error",
}


def status_of(exc: RelayError) -> int:
    """The status for OpenAI's clients, who know no 529."""
    overloaded = exc.status == 529 or (isinstance(exc, BadStatus) and exc.upstream_status == 529)
    return 503 if overloaded else exc.status


def error(exc: RelayError, request_id: str) -> ErrorReply:
    """`exc` in OpenAI's words."""
    status = status_of(exc)
    return ErrorReply(status, orjson.dumps({"error": error_object(exc), "request_id": request_id}))


def error_object(exc: RelayError) -> dict[str, str | None]:
    """The `error` member, alike in whole replies and in streams."""
    status = status_of(exc)
    usual = "server_error" if status >= 500 else "invalid_request_error"
    kind = TYPES_OF_CODES.get(exc.code) or ERROR_TYPES.get(status, usual)
    return {"message": exc.message, "type": kind, "param": exc.param, "code": exc.code}
