"""Usage of OpenAI's embeddings: there is no output, and some hosts report the total alone."""

from __future__ import annotations

from relayd.model import Usage
from relayd.wire.facts import first_tokens, section, tokens


def usage_of(value: object) -> Usage | None:
    """The normal form of an embeddings `usage` object; None when it counts nothing."""
    raw = section(value)
    prompt = first_tokens(raw.get("prompt_tokens"), raw.get("total_tokens"))
    if prompt is None:
        return None
    return Usage(in_uncached=prompt, total_reported=tokens(raw.get("total_tokens")))
