"""What pictures, audio and rankings consumed, as their replies' `usage` says it.

It speaks of input and output tokens with details, or of seconds; hosts that know only chat's names
for the same counts are understood as well.
"""

from __future__ import annotations

from typing import Any

from relayd.model import Usage
from relayd.wire.facts import first_tokens, section, tokens, uncached

_LONGEST = 10**7  # seconds of audio; more is garbage


def usage_of(value: object) -> Usage | None:
    """The normal form of such a `usage` object; None when it counts nothing."""
    raw = section(value)
    length = milliseconds(raw.get("seconds"))
    into = first_tokens(raw.get("input_tokens"), raw.get("prompt_tokens"))
    out = first_tokens(raw.get("output_tokens"), raw.get("completion_tokens"))
    total = tokens(raw.get("total_tokens"))
    if into is None and out is None:
        into = total
    if into is None and out is None:
        return None if length is None else Usage(audio_ms=length)
    ins = _details(raw, "input_token_details", "input_tokens_details", "prompt_tokens_details")
    outs = _details(raw, "output_token_details", "output_tokens_details")
    read = tokens(ins.get("cached_tokens"))
    return Usage(
        in_uncached=uncached(into, read, None),
        cache_read=read,
        out_total=out,
        in_audio=tokens(ins.get("audio_tokens")),
        in_image=tokens(ins.get("image_tokens")),
        out_audio=tokens(outs.get("audio_tokens")),
        out_image=tokens(outs.get("image_tokens")),
        total_reported=total,
        audio_ms=length,
    )


def milliseconds(seconds: object) -> int | None:
    """Whole milliseconds of a length in seconds, rounded up; None for what is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return int(-(-seconds * 1000 // 1)) if 0 <= seconds <= _LONGEST else None


def _details(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((raw[name] for name in names if isinstance(raw.get(name), dict)), {})
