"""Whole replies of chat, legacy completions and embeddings: usage and errors; of others see `made`.

`prompt_tokens` includes what came from the cache and what was written to it; `completion_tokens`
includes reasoning, except at hosts whose total shows that they count it apart. Hosts that predate
the detail objects name the cached part in their own way.
"""

from __future__ import annotations

from relayd.model import Operation, Usage
from relayd.wire import consumed, embeddings
from relayd.wire.chat import made, media
from relayd.wire.facts import (
    error_text,
    first_tokens,
    last_object,
    parsed,
    requests_made,
    section,
    text,
    tokens,
    uncached,
)
from relayd.wire.head import NOT_JSON, ReplyFacts


def usage_of(value: object) -> Usage | None:
    """The normal form of a chat `usage` object; None when it counts nothing."""
    raw = section(value)
    prompt, completion = tokens(raw.get("prompt_tokens")), tokens(raw.get("completion_tokens"))
    total = tokens(raw.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return None
    into, out = (
        section(raw.get("prompt_tokens_details")),
        section(raw.get("completion_tokens_details")),
    )
    read, written = _cached(raw), tokens(into.get("cache_write_tokens"))
    reasoning = tokens(out.get("reasoning_tokens"))
    return Usage(
        in_uncached=uncached(prompt, read, written),
        cache_read=read,
        cache_write_other=written,
        out_total=_with_reasoning(completion, reasoning, prompt, total),
        reasoning=reasoning,
        in_audio=tokens(into.get("audio_tokens")),
        in_image=tokens(into.get("image_tokens")),
        in_video=tokens(into.get("video_tokens")),
        out_audio=tokens(out.get("audio_tokens")),
        out_image=tokens(out.get("image_tokens")),
        total_reported=total,
        server_tools=requests_made(raw.get("server_tool_use_details")),
    )


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself."""
    if operation in media.OPERATIONS:
        return made.reply_usage(body, operation)
    value = parsed(body)
    if value is None:
        return NOT_JSON
    read = embeddings.usage_of if operation == "embed" else usage_of
    return ReplyFacts(
        read(usage_object(value)), error_text(value.get("error")), True, text(value.get("id"))
    )


def usage_object(value: dict[str, object]) -> object:
    """Where the usage is: at the top, or where Groq puts it in streams."""
    return value.get("usage") or section(value.get("x_groq")).get("usage")


def tail_usage(tail: bytes) -> Usage | None:
    """Usage from the end of a reply that was too large to hold whole."""
    raw = last_object(tail, "usage")
    if "completion_tokens" in raw:
        return usage_of(raw)
    return consumed.usage_of(raw) if "input_tokens" in raw else embeddings.usage_of(raw)


def _cached(raw: dict[str, object]) -> int | None:
    return first_tokens(
        section(raw.get("prompt_tokens_details")).get("cached_tokens"),
        raw.get("cached_tokens"),
        raw.get("num_cached_tokens"),
        raw.get("prompt_cache_hit_tokens"),
    )


def _with_reasoning(
    completion: int | None, reasoning: int | None, prompt: int | None, total: int | None
) -> int | None:
    """All output tokens: where the total is only reached with the reasoning on top, with it."""
    if completion is None or not reasoning or prompt is None:
        return completion
    return completion + reasoning if total == prompt + completion + reasoning else completion
