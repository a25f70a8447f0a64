"""Gemini streams under way, as server-sent events or as one JSON array.

Nearly every chunk has usage, as running totals of which each may be missing: the last value of
each field counts. So a chunk that differs from the one before in nothing but its text and its
counts (`alike`) is not parsed, and of many such chunks only the last one's counts are. A finish
reason, or a prompt that was blocked, ends an event stream as far as the format can say; an array
ends with its bracket. Nothing but white space may keep such a stream alive.
"""

from __future__ import annotations

from typing import Any

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.alike import Alike, Plain
from relayd.wire.events import Delta
from relayd.wire.facts import objects, parsed, section, text
from relayd.wire.gemini import reply
from relayd.wire.head import Head
from relayd.wire.jsonarray import ArraySplitter
from relayd.wire.passthrough import EVENT_STREAM, Passthrough, merge_counts, string_bytes

_RARE = frozenset({"error", "promptFeedback"})
_TEXT = Plain(Delta(0, ""), b'"text":')


class GeminiPassthrough(Passthrough):
    """The observer of a Gemini event stream."""

    needles = (b'"usageMetadata"', b'"finishReason"', b'"error"', b'"promptFeedback"')
    content = b'"parts"'
    keepalive = b"\r\n"
    stream_headers = ((b"content-type", b"text/event-stream"), *EVENT_STREAM[1:])

    __slots__ = ("_alike", "_plain", "_raw_usage")

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._raw_usage: dict[str, Any] = {}
        self._alike = Alike()
        self._plain = False  # the event that was read last says text and counts at most

    def _observe(self, whole: bytes) -> bool:
        if self._alike.said(whole):
            self.events += 1
            self._deltas += 1
            self._delta_bytes += len(whole)
            self._recent = self._sample = whole
            return False
        self._catch_up()
        self._plain = False
        found = super()._observe(whole)
        if self._plain:
            self._alike.learn(whole, _TEXT, self.seen)
        else:
            self._alike.forget()
        return found

    def _catch_up(self) -> None:
        """Read the counts of the last event that nobody had to read."""
        raw, self._alike.counts = self._alike.counts, b""
        merge_counts(self._raw_usage, parsed(raw) or {})

    def _usage(self) -> Usage | None:
        self._catch_up()
        return reply.usage_of(self._raw_usage)

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        usage = value.get("usageMetadata")
        if isinstance(usage, dict):
            merge_counts(self._raw_usage, usage)
        self._plain = not value.keys() & _RARE
        if value.get("error"):
            self._fail(value["error"])
        for candidate in objects(value.get("candidates")):
            if candidate.get("finishReason"):
                self.complete, self._plain = True, False
        if "promptFeedback" in value and section(value["promptFeedback"]).get("blockReason"):
            self.complete = True

    def _id(self, value: dict[str, Any]) -> str:
        return text(value.get("responseId"))

    def _text_bytes(self, value: dict[str, Any]) -> int:
        contents = [section(each.get("content")) for each in objects(value.get("candidates"))]
        parts = [part for content in contents for part in objects(content.get("parts"))]
        texts = [part.get(key) for part in parts for key in ("text", "functionCall")]
        return sum(map(string_bytes, texts))

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        return b"data: " + orjson.dumps(reply.error_object(exc, request_id)) + b"\r\n\r\n"


class GeminiArray(GeminiPassthrough):
    """The observer of a Gemini reply that is streamed as one JSON array."""

    keepalive = b"\n"
    stream_headers = ((b"content-type", b"application/json"), *EVENT_STREAM[1:])

    __slots__ = ("_splitter",)

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._splitter = ArraySplitter(limit)

    def feed(self, chunk: bytes) -> bytes:
        """Notice what `chunk` holds; returns `chunk` itself."""
        self.seen += len(chunk)
        for element in self._splitter.feed(chunk):
            self._observe(element)
        if not self.opened:
            self._open_if_long(self._splitter.pending)
        self.at_boundary = not self._splitter.inside
        self.complete = self._splitter.closed
        return chunk

    def begins(self, first: bytes) -> bool:
        """An array begins with its bracket."""
        return first == b"["

    def finish(self) -> bytes:
        """Nothing is held back, and an array that lacks its bracket is not complete."""
        return b""

    def error_event(self, exc: RelayError, request_id: str) -> bytes:
        """One more element, and the closing bracket, wherever the array stands."""
        if self._splitter.closed:
            return b""
        element = orjson.dumps(reply.error_object(exc, request_id)) + b"\n]"
        if not self._splitter.opened:
            return b"[" + element
        first = self._splitter.after_comma or not (self._splitter.elements or self._splitter.inside)
        return element if first else b"\n,\r\n" + element

    def _inspect(self, whole: bytes) -> None:
        self._read(b"", whole)


def observer(head: Head) -> Passthrough:
    """A fresh observer for the stream that answers `head`."""
    return GeminiPassthrough() if head.target.sse else GeminiArray()
