"""Refusals: what the demo provider will not do, worded as each real provider words it.

Wire facts: wire-formats 1.5. One table row per status; the codes are those that clients switch on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from relayd.model import FormatName


class Refusal(Exception):
    """A request that is answered with an error status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.type = type


class Words(NamedTuple):
    """How the three vendors name one status."""

    openai: str
    anthropic: str
    google: str


WORDS: Final = {
    400: Words("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    401: Words("invalid_request_error", "authentication_error", "UNAUTHENTICATED"),
    403: Words("invalid_request_error", "permission_error", "PERMISSION_DENIED"),
    404: Words("invalid_request_error", "not_found_error", "NOT_FOUND"),
    405: Words("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    413: Words("invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
    429: Words("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    431: Words("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    500: Words("server_error", "api_error", "INTERNAL"),
    503: Words("service_unavailable_error", "overloaded_error", "UNAVAILABLE"),
    529: Words("service_unavailable_error", "overloaded_error", "UNAVAILABLE"),
}


def words(status: int) -> Words:
    """The names of a status; an unknown one is worded as a server error."""
    return WORDS.get(status, WORDS[500])


def openai_error(refusal: Refusal) -> dict[str, object]:
    """`{"error": {...}}` of chat, responses and embeddings."""
    return {
        "error": {
            "message": refusal.message,
            "type": refusal.type or words(refusal.status).openai,
            "param": refusal.param,
            "code": refusal.code,
        }
    }


def anthropic_error(refusal: Refusal, request_id: str) -> dict[str, object]:
    """`{"type": "error", ...}` of messages."""
    error = {"type": words(refusal.status).anthropic, "message": refusal.message}
    return {"type": "error", "error": error, "request_id": request_id}


def google_error(refusal: Refusal, retry_after: float | None = None) -> dict[str, object]:
    """`{"error": {...}}` of Gemini; a 429 says in RetryInfo when to come back."""
    status = words(refusal.status).google
    error: dict[str, object] = {
        "code": refusal.status,
        "message": refusal.message,
        "status": status,
    }
    if retry_after is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{retry_after:g}s"}]
    return {"error": error}


def error_body(
    format: FormatName, refusal: Refusal, seed: str, retry_after: float | None = None
) -> bytes:
    """The error as the whole body of a reply."""
    if format == "messages":
        return orjson.dumps(anthropic_error(refusal, f"req_{seed}"))
    if format == "gemini":
        return orjson.dumps(google_error(refusal, retry_after), option=orjson.OPT_INDENT_2)
    return orjson.dumps(openai_error(refusal))
