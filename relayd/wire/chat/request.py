"""The head of a chat (or legacy completions, or embeddings) request; of others see `media`.

A stream whose client did not ask for usage gets `stream_options.include_usage` injected, and the
observer of its reply hides the extra chunk again. `stream_options` of another type than an object
or null is left for the upstream to refuse.
"""

from __future__ import annotations

from typing import Any

from relayd.wire import splice
from relayd.wire.chat import media
from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    estimated_input,
    largest_count,
    read_object,
)
from relayd.wire.paths import Target
from relayd.wire.splice import Edit

_WHOLE = b'{"include_usage":true}'
_MEMBER = b'"include_usage":true'


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of this request; BadCall when the body is no request."""
    if target.operation in media.OPERATIONS:
        return media.read_head(body, target)
    value = read_object(body)
    model = checked_model(value.get("model"))
    stream = target.operation == "generate" and checked_stream(value.get("stream"))
    edits: tuple[Edit, ...] = ()
    asked_usage = not stream or _asks_usage(value)
    if not asked_usage:
        edits = _usage_edits(body, value)
    size = estimated_input(body)
    head = Head(target, model, stream, body, edits, asked_usage, size, value)
    if target.operation == "generate":
        head.max_output = largest_count(value, "max_completion_tokens", "max_tokens")
        head.choices = _choices(value)
    return head


def _choices(value: dict[str, Any]) -> int:
    """Replies that are paid for: `best_of` makes more than it shows, and a legacy completion has
    as many for each of its prompts."""
    choices = largest_count(value, "n", "best_of") or 1
    prompts = value.get("prompt")
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        choices *= len(prompts)
    return choices


def _asks_usage(value: dict[str, Any]) -> bool:
    options = value.get("stream_options")
    if options is None:
        return False
    return not isinstance(options, dict) or options.get("include_usage") is True


def _usage_edits(body: bytes, value: dict[str, Any]) -> tuple[Edit, ...]:
    start = splice.object_start(body)
    if "stream_options" not in value:
        return (Edit(start + 1, start + 1, b'"stream_options":' + _WHOLE + b","),)
    return tuple(_asking(body, span) for span in splice.values(body, start, "stream_options"))


def _asking(body: bytes, span: splice.Span) -> Edit:
    """The edit that makes one `stream_options` ask for usage, its other members kept."""
    if body[span.start : span.start + 1] != b"{":
        return Edit(span.start, span.end, _WHOLE)
    for inner in splice.values(body, span.start, "include_usage"):
        return Edit(inner.start, inner.end, b"true")
    empty = body[span.start + 1 : span.end - 1].isspace() or span.end - span.start == 2
    return Edit(span.start + 1, span.start + 1, _MEMBER if empty else _MEMBER + b",")
