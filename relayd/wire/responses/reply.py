"""Whole replies of the Responses API: usage, errors, and errors worded for clients.

`input_tokens` includes what came from the cache and what was written to it, `output_tokens`
includes reasoning. Hosted tools are metered apart, in `tool_usage` beside `usage`.
"""

from __future__ import annotations

from typing import Any

import orjson

from relayd.errors import BadStatus, RelayError
from relayd.model import Operation, Usage
from relayd.wire.facts import (
    error_text,
    last_object,
    parsed,
    section,
    text,
    tokens,
    uncached,
)
from relayd.wire.head import NOT_JSON, ErrorReply, ReplyFacts

# HTTP status -> OpenAI's error type; other 4xx are invalid requests, other 5xx server errors.
ERROR_TYPES = {
    402: "insufficient_quota",
    408: "timeout",
    409: "conflict",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout",
}


def usage_of(response: dict[str, Any]) -> Usage | None:
    """The normal form of a response object's usage; None when it counts nothing."""
    raw = section(response.get("usage"))
    prompt, output = tokens(raw.get("input_tokens")), tokens(raw.get("output_tokens"))
    total = tokens(raw.get("total_tokens"))
    if prompt is None and output is None and total is None:
        return None
    into, out = section(raw.get("input_tokens_details")), section(raw.get("output_tokens_details"))
    read, written = tokens(into.get("cached_tokens")), tokens(into.get("cache_write_tokens"))
    usage = Usage(
        in_uncached=uncached(prompt, read, written),
        cache_read=read,
        cache_write_other=written,
        out_total=output,
        reasoning=tokens(out.get("reasoning_tokens")),
        total_reported=total,
        server_tools=_server_tools(response),
    )
    _split_writes(usage, section(into.get("cache_write_tokens_details")))
    return usage


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself; counting tokens consumes none."""
    value = parsed(body)
    if value is None:
        return NOT_JSON
    usage = usage_of(value) if operation == "generate" else None
    return ReplyFacts(usage, error_text(value.get("error")), True, text(value.get("id")))


def tail_usage(tail: bytes) -> Usage | None:
    """Usage from the end of a reply that was too large to hold whole."""
    return usage_of({"usage": last_object(tail, b"usage")})


def status_of(exc: RelayError) -> int:
    """The status for OpenAI's clients, who know no 529."""
    overloaded = exc.status == 529 or (isinstance(exc, BadStatus) and exc.upstream_status == 529)
    return 503 if overloaded else exc.status


def error(exc: RelayError, request_id: str) -> ErrorReply:
    """`exc` in OpenAI's words."""
    status = status_of(exc)
    usual = "server_error" if status >= 500 else "invalid_request_error"
    kind = (
        "insufficient_quota" if exc.code == "insufficient_quota" else ERROR_TYPES.get(status, usual)
    )
    body = {"message": exc.message, "type": kind, "param": exc.param, "code": exc.code}
    return ErrorReply(status, orjson.dumps({"error": body, "request_id": request_id}))


def _split_writes(usage: Usage, details: dict[str, Any]) -> None:
    """Move what is known by its time to live out of the undivided count."""
    usage.cache_write_30m = tokens(details.get("ttl_30m_tokens"))
    usage.cache_write_12h = tokens(details.get("ttl_12h_tokens"))
    if usage.cache_write_other is not None and details:
        known = (usage.cache_write_30m or 0) + (usage.cache_write_12h or 0)
        usage.cache_write_other = max(usage.cache_write_other - known, 0)


def _server_tools(response: dict[str, Any]) -> dict[str, int]:
    meters = section(response.get("tool_usage")).items()
    counts = ((name, tokens(section(meter).get("num_requests"))) for name, meter in meters)
    return {name: count for name, count in counts if count}
