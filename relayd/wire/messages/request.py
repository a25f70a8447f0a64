"""The head of a Messages request, or of a count of its tokens (which has no `max_tokens`)."""

from __future__ import annotations

from relayd.wire.head import Head, read_text_head
from relayd.wire.paths import Target


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of this request; BadCall when the body is no request."""
    return read_text_head(body, target, "max_tokens")
