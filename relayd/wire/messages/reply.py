"""Whole replies of the Messages API: usage, errors, and errors worded for clients.

`input_tokens` excludes what came from the cache and what was written to it. When a reply took
several passes (`iterations`: compaction, advisors, fallbacks), the top level covers only some of
them, so the sum of the passes is what was consumed.
"""

from __future__ import annotations

from typing import Any

import orjson

from relayd.errors import BadStatus, RelayError
from relayd.model import Operation, Usage
from relayd.wire.facts import (
    added,
    error_text,
    last_object,
    objects,
    parsed,
    requests_made,
    section,
    text,
    tokens,
)
from relayd.wire.head import NOT_JSON, ErrorReply, ReplyFacts

# HTTP status -> Anthropic's error type; other 4xx are invalid requests, other 5xx API errors.
ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529


def usage_of(value: object) -> Usage | None:
    """The normal form of a messages `usage` object; None when it counts nothing."""
    raw = section(value)
    passes = [_one_pass(each) for each in objects(raw.get("iterations")) or [raw]]
    usage = Usage(
        in_uncached=added(*(each.in_uncached for each in passes)),
        cache_read=added(*(each.cache_read for each in passes)),
        cache_write_5m=added(*(each.cache_write_5m for each in passes)),
        cache_write_1h=added(*(each.cache_write_1h for each in passes)),
        out_total=added(*(each.out_total for each in passes)),
        reasoning=tokens(section(raw.get("output_tokens_details")).get("thinking_tokens")),
        server_tools=requests_made(raw.get("server_tool_use")),
    )
    counted = usage.in_uncached is not None or usage.out_total is not None
    return usage if counted else None


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself; counting tokens consumes none."""
    value = parsed(body)
    if value is None:
        return NOT_JSON
    usage = usage_of(value.get("usage")) if operation == "generate" else None
    return ReplyFacts(usage, error_text(value.get("error")), True, text(value.get("id")))


def tail_usage(tail: bytes) -> Usage | None:
    """Usage from the end of a reply that was too large to hold whole."""
    return usage_of(last_object(tail, "usage"))


def error(exc: RelayError, request_id: str) -> ErrorReply:
    """`exc` in Anthropic's words."""
    return ErrorReply(status_of(exc), orjson.dumps(error_object(exc, request_id)))


def error_object(exc: RelayError, request_id: str) -> dict[str, Any]:
    """The body of an error, alike in whole replies and in streams."""
    status = status_of(exc)
    usual = "api_error" if status >= 500 else "invalid_request_error"
    inner = {"type": ERROR_TYPES.get(status, usual), "message": exc.message}
    return {"type": "error", "error": inner, "request_id": request_id}


def status_of(exc: RelayError) -> int:
    """The status for Anthropic's clients: overload has a number of its own there."""
    overloaded = exc.status == 503 or (
        isinstance(exc, BadStatus) and exc.upstream_status == OVERLOADED
    )
    return OVERLOADED if overloaded else exc.status


def _one_pass(raw: dict[str, Any]) -> Usage:
    split = section(raw.get("cache_creation"))
    short = tokens(split.get("ephemeral_5m_input_tokens"))
    long = tokens(split.get("ephemeral_1h_input_tokens"))
    written = tokens(raw.get("cache_creation_input_tokens"))
    # What the split does not account for was written with the default time to live, five minutes.
    rest = max((written or 0) - (short or 0) - (long or 0), 0)
    return Usage(
        in_uncached=tokens(raw.get("input_tokens")),
        cache_read=tokens(raw.get("cache_read_input_tokens")),
        cache_write_5m=short if written is None else (short or 0) + rest,
        cache_write_1h=long,
        out_total=tokens(raw.get("output_tokens")),
    )
