"""The head of a Messages request, or of a count of its tokens (which has no `max_tokens`)."""

from __future__ import annotations

from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    estimated_input,
    largest_count,
    read_object,
)
from relayd.wire.paths import Target


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of this request; BadCall when the body is no request."""
    value = read_object(body)
    model = checked_model(value.get("model"))
    stream = target.operation == "generate" and checked_stream(value.get("stream"))
    size = estimated_input(body)
    head = Head(target, model, stream, body, input_estimate=size, request=value)
    head.max_output = largest_count(value, "max_tokens")
    return head
