"""Whole replies of the Gemini API: usage, errors, and errors worded for clients.

The prompt count includes the cached part, not the tool prompt; candidates exclude thoughts,
except on some surfaces, where the total shows that they are included. Zeros are left out of the
JSON, so a missing count of candidates is what the total leaves. Tokens of pictures that came out
are at least one picture. Array-mode errors come as a one-element array.
"""

from __future__ import annotations

import math
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
    section,
    text,
    tokens,
    uncached,
)
from relayd.wire.head import NOT_JSON, ErrorReply, ReplyFacts

# HTTP status -> Google's canonical code; other 4xx are invalid arguments, other 5xx unavailable.
ERROR_STATUSES = {
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    504: "DEADLINE_EXCEEDED",
}
_RPC = "type.googleapis.com/google.rpc."


def usage_of(value: object) -> Usage | None:
    """The normal form of a `usageMetadata` object; None when it counts nothing."""
    raw = section(value)
    prompt, total = tokens(raw.get("promptTokenCount")), tokens(raw.get("totalTokenCount"))
    read, tool = (
        tokens(raw.get("cachedContentTokenCount")),
        tokens(raw.get("toolUsePromptTokenCount")),
    )
    output = _output(raw, prompt, tool, total)
    if prompt is None and output is None and total is None:
        return None
    into = _by_modality(raw.get("promptTokensDetails") or raw.get("promptTokenDetails"))
    out = _by_modality(raw.get("candidatesTokensDetails"))
    return Usage(
        in_uncached=uncached(prompt, read, None),
        cache_read=read,
        out_total=output,
        reasoning=tokens(raw.get("thoughtsTokenCount")),
        in_audio=into.get("AUDIO"),
        in_image=into.get("IMAGE"),
        in_video=into.get("VIDEO"),
        out_audio=out.get("AUDIO"),
        out_image=out.get("IMAGE"),
        tool_prompt=tool,
        total_reported=total,
        images=1 if out.get("IMAGE") else None,
    )


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself; counting tokens consumes none."""
    value = parsed(body)
    if value is None:
        return NOT_JSON
    usage = None if operation == "count_tokens" else usage_of(value.get("usageMetadata"))
    if usage is not None and b'"inlineData"' in body:
        usage.images = _pictures(value) or usage.images
    return ReplyFacts(usage, error_text(value.get("error")), True, text(value.get("responseId")))


def _pictures(value: dict[str, Any]) -> int:
    """How many pictures are in a reply, without those of its thoughts."""
    contents = [section(each.get("content")) for each in objects(value.get("candidates"))]
    parts = [part for content in contents for part in objects(content.get("parts"))]
    kinds = [
        text(section(p.get("inlineData")).get("mimeType")) for p in parts if not p.get("thought")
    ]
    return sum(kind.startswith("image/") for kind in kinds)


def tail_usage(tail: bytes) -> Usage | None:
    """Usage from the end of a reply that was too large to hold whole."""
    return usage_of(last_object(tail, "usageMetadata"))


def error(exc: RelayError, request_id: str) -> ErrorReply:
    """`exc` in Google's words."""
    return ErrorReply(status_of(exc), orjson.dumps(error_object(exc, request_id)))


def error_object(exc: RelayError, request_id: str) -> dict[str, Any]:
    """The body of an error, alike in whole replies and in streams: clients need an int `code`."""
    status = status_of(exc)
    usual = "UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT"
    details: list[dict[str, Any]] = [
        {"@type": _RPC + "ErrorInfo", "reason": exc.code.upper(), "domain": "relayd"},
        {"@type": _RPC + "RequestInfo", "requestId": request_id},
    ]
    if exc.retry_after is not None:
        details.append(
            {"@type": _RPC + "RetryInfo", "retryDelay": f"{math.ceil(exc.retry_after)}s"}
        )
    name = ERROR_STATUSES.get(status, usual)
    return {"error": {"code": status, "message": exc.message, "status": name, "details": details}}


def status_of(exc: RelayError) -> int:
    """The status for Google's clients, who know no 529."""
    overloaded = exc.status == 529 or (isinstance(exc, BadStatus) and exc.upstream_status == 529)
    return 503 if overloaded else exc.status


def _output(
    raw: dict[str, Any], prompt: int | None, tool: int | None, total: int | None
) -> int | None:
    """All output tokens, thoughts included."""
    candidates, thoughts = (
        tokens(raw.get("candidatesTokenCount")),
        tokens(raw.get("thoughtsTokenCount")),
    )
    before = (prompt or 0) + (tool or 0)
    if candidates is None:
        return thoughts if total is None else max(total - before, thoughts or 0)
    if total is not None and before + candidates == total:
        return candidates
    return candidates + (thoughts or 0)


def _by_modality(details: object) -> dict[str, int | None]:
    """Tokens by modality; one that is named twice is the sum of both."""
    counts: dict[str, int | None] = {}
    for detail in objects(details):
        name = text(detail.get("modality"))
        counts[name] = added(counts.get(name), tokens(detail.get("tokenCount")))
    return counts
