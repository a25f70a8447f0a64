"""Whole replies of the Responses API: usage, errors, and errors worded for clients.

`input_tokens` includes what came from the cache and what was written to it, `output_tokens`
includes reasoning. Hosted tools are metered apart, in `tool_usage` beside `usage`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from relayd.model import Operation, Usage
from relayd.wire.facts import (
    added,
    error_text,
    last_object,
    parsed,
    section,
    text,
    tokens,
    uncached,
)
from relayd.wire.head import NOT_JSON, ReplyFacts


def usage_of(response: dict[str, Any]) -> Usage | None:
    """The normal form of a response object's usage; None when it counts nothing."""
    raw = section(response.get("usage"))
    prompt, output = tokens(raw.get("input_tokens")), tokens(raw.get("output_tokens"))
    total = tokens(raw.get("total_tokens"))
    if prompt is None and output is None and total is None:
        return None
    into, out = section(raw.get("input_tokens_details")), section(raw.get("output_tokens_details"))
    read, written = tokens(into.get("cached_tokens")), _written(into)
    return Usage(
        in_uncached=uncached(prompt, read, added(*written)),
        cache_read=read,
        cache_write_30m=written.half_hour,
        cache_write_12h=written.half_day,
        cache_write_other=written.other,
        out_total=output,
        reasoning=tokens(out.get("reasoning_tokens")),
        total_reported=total,
        server_tools=_server_tools(response),
    )


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself; counting tokens consumes none."""
    value = parsed(body)
    if value is None:
        return NOT_JSON
    if operation == "follow_up":  # a response that failed is a proper answer, as any other
        failed = None if value.get("object") else error_text(value.get("error"))
        return ReplyFacts(usage_of(value), failed, True, "")
    usage = usage_of(value) if operation == "generate" else None
    return ReplyFacts(usage, error_text(value.get("error")), True, text(value.get("id")))


def tail_usage(tail: bytes) -> Usage | None:
    """Usage from the end of a reply that was too large to hold whole."""
    return usage_of({"usage": last_object(tail, "usage")})


class _Written(NamedTuple):
    """Tokens written to a cache, by their time to live: no token is in two of the counts."""

    half_hour: int | None
    half_day: int | None
    other: int | None


def _written(into: dict[str, Any]) -> _Written:
    split = section(into.get("cache_write_tokens_details"))
    half_hour, half_day = tokens(split.get("ttl_30m_tokens")), tokens(split.get("ttl_12h_tokens"))
    undivided = tokens(into.get("cache_write_tokens"))
    if undivided is not None:
        undivided = max(undivided - (half_hour or 0) - (half_day or 0), 0)
    return _Written(half_hour, half_day, undivided)


def _server_tools(response: dict[str, Any]) -> dict[str, int]:
    meters = section(response.get("tool_usage")).items()
    counts = ((name, tokens(section(meter).get("num_requests"))) for name, meter in meters)
    return {name: count for name, count in counts if count}
