"""The head of a Responses request, of a compaction, or of a count of its input tokens."""

from __future__ import annotations

from relayd.wire.conversation import of_responses, previous_response
from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    estimated_input,
    read_object,
)
from relayd.wire.paths import Target


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of this request; BadCall when the body is no request."""
    value = read_object(body)
    model = checked_model(value.get("model"))
    stream = target.operation == "generate" and checked_stream(value.get("stream"))
    return Head(
        target,
        model,
        stream,
        body,
        input_estimate=estimated_input(body),
        conversation=of_responses(value) if target.operation == "generate" else b"",
        # A count needs the account that has the reply no less.
        previous_response=previous_response(value),
    )
