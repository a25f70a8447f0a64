"""Whole replies of the endpoints for pictures, audio, moderation and ranking: usage and errors.

Their `usage` speaks of input and output tokens, or of seconds; those who rank say what they bill in
places of their own. What was made counts as well: a reply with three pictures has three, whatever
else it says. A transcript may also be plain text, whose time stamps tell how long the audio was.
"""

from __future__ import annotations

from typing import Any

from relayd.model import Operation, Usage
from relayd.wire import lengths
from relayd.wire.consumed import milliseconds, usage_of
from relayd.wire.facts import error_text, first_tokens, parsed, section, text, tokens
from relayd.wire.head import ReplyFacts

_NO_PICTURE = "there is no picture in the reply"


def reply_usage(body: bytes, operation: Operation) -> ReplyFacts:
    """What a whole reply says of itself."""
    value = parsed(body)
    if value is None:
        heard = lengths.last_moment(body) if operation == "transcribe" else None
        return ReplyFacts(None if heard is None else Usage(audio_ms=heard), None, False, "")
    error = error_text(value.get("error"))
    usage = usage_of(value.get("usage"))
    if operation == "image":
        usage, error = _of_pictures(value, usage, error)
    elif operation == "transcribe":
        usage = _of_transcript(value, usage)
    elif operation == "rerank":
        usage = _of_ranking(value, usage)
    return ReplyFacts(usage, error, True, text(value.get("id")))


def drawn(usage: Usage | None, count: int) -> Usage:
    """The usage of so many pictures. All output is pictures unless the details say otherwise."""
    usage = usage or Usage()
    usage.images = count
    if usage.out_image is None:
        usage.out_image = usage.out_total
    return usage


def spoken(usage: Usage | None) -> Usage | None:
    """The usage of speech: all output is audio unless the details say otherwise."""
    if usage is not None and usage.out_audio is None:
        usage.out_audio = usage.out_total
    return usage


def _of_pictures(
    value: dict[str, Any], usage: Usage | None, error: str | None
) -> tuple[Usage | None, str | None]:
    pictures = value.get("data")
    count = len(pictures) if isinstance(pictures, list) else 0
    if count or error is not None:
        return drawn(usage, count), error
    return usage, _NO_PICTURE


def _of_transcript(value: dict[str, Any], usage: Usage | None) -> Usage | None:
    """With the length that the verbose form tells, where the usage does not."""
    length = milliseconds(value.get("duration"))
    if length is None or (usage is not None and usage.audio_ms is not None):
        return usage
    usage = usage or Usage()
    usage.audio_ms = length
    return usage


def _of_ranking(value: dict[str, Any], usage: Usage | None) -> Usage | None:
    meta = section(value.get("meta"))
    billed, counted = section(meta.get("billed_units")), section(meta.get("tokens"))
    searches = tokens(billed.get("search_units"))
    into = first_tokens(billed.get("input_tokens"), counted.get("input_tokens"))
    if usage is None and searches is None and into is None:
        return None
    usage = usage or Usage(in_uncached=into)
    usage.searches = searches
    return usage
