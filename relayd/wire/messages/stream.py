"""Messages streams under way: `message_start` has the input side, `message_delta` running totals.

The two are merged field by field; null says nothing and does not erase, and a total does not fall
back to 0, which some hosts send as a place holder. Only `message_stop` ends a stream.
"""

from __future__ import annotations

from typing import Any

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.facts import section, text
from relayd.wire.head import Head
from relayd.wire.messages import reply
from relayd.wire.passthrough import EVENT_STREAM, Passthrough, merge_counts, string_bytes


class MessagesPassthrough(Passthrough):
    """The observer of a Messages stream."""

    needles = (b'"message_', b'"error"')
    keepalive = b'event: ping\ndata: {"type":"ping"}\n\n'
    stream_headers = ((b"content-type", b"text/event-stream"), *EVENT_STREAM[1:])

    __slots__ = ("_raw_usage",)

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._raw_usage: dict[str, Any] = {}

    def _usage(self) -> Usage | None:
        return reply.usage_of(self._raw_usage)

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        kind = text(value.get("type")) or name.decode(errors="replace")
        # A host that ignored `stream` answers with the message alone.
        message = value if kind == "message" else section(value.get("message"))
        merge_counts(self._raw_usage, section(message.get("usage")) or section(value.get("usage")))
        if kind in ("message_stop", "message"):
            self.complete = True
        if kind == "error" or value.get("error"):
            self._fail(value.get("error"))

    def _id(self, value: dict[str, Any]) -> str:
        return text(section(value.get("message")).get("id")) or super()._id(value)

    def _text_bytes(self, value: dict[str, Any]) -> int:
        delta = dict(section(value.get("delta")))
        delta.pop("type", None)
        return string_bytes(delta)

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        return b"event: error\ndata: " + orjson.dumps(reply.error_object(exc, request_id)) + b"\n\n"


def observer(head: Head) -> Passthrough:
    """A fresh observer for the stream that answers `head`."""
    return MessagesPassthrough()
