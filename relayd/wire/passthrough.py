"""The observer of one stream whose format is the same on both sides: bytes pass, usage is noticed.

`feed` runs once per network read, thousands of times a second, so it does nothing for a read that
ends between two events and holds none of the format's needles (substrings that only interesting
events have) but count. An event that may matter is parsed at the side; the bytes given out are
the very object that came in. A read that ends inside an event goes through the `Framer`, which
joins the event when its end has come. A format fills in the needles, the reading of one parsed
event, and the words of its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.facts import error_text, parsed, text

Headers = tuple[tuple[bytes, bytes], ...]

EVENT_STREAM: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
EVERYTHING: tuple[bytes, ...] = (b"",)
BYTES_PER_TOKEN = 4
SAMPLED_EVENTS = 8
ENDS = (b"\n\n", b"\n\r\n")
# Events that only keep a connection alive, by their name or type.
PINGS = (b"ping", b"keepalive", b"response.keepalive")
LONGEST_ERROR = 64 * 1024


class Passthrough:
    """What is known of one stream so far.

    Attributes:
        complete: the format's terminal event was seen whole.
        failed: a short text, once an error came inside the stream.
        at_boundary: the bytes given out end between two events; a keep-alive may follow.
        events: reads that completed an event.
        seen: bytes from upstream.
        response_id: the upstream's id of this reply, from its first event.
        first_error_event: the JSON of the first error event, b"" while there is none.
        opened: an answer has begun: something came that is neither an error nor a ping. It stays
            False where an error came first, whatever follows.
    """

    needles: ClassVar[tuple[bytes, ...]] = EVERYTHING
    content: ClassVar[bytes] = b'"delta"'
    keepalive: ClassVar[bytes] = b": keep-alive\n\n"
    stream_headers: ClassVar[Headers] = EVENT_STREAM

    __slots__ = (
        "_delta_bytes",
        "_deltas",
        "_framer",
        "_needles",
        "_recent",
        "_sample",
        "at_boundary",
        "complete",
        "events",
        "failed",
        "first_error_event",
        "opened",
        "response_id",
        "seen",
    )

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        self.complete = False
        self.failed: str | None = None
        self.at_boundary = True
        self.events = 0
        self.seen = 0
        self.response_id = ""
        self.first_error_event = b""
        self.opened = False
        self._framer = sse.Framer(limit)
        # All events up to the first of the answer are read: that one has the id, and shows how
        # this host writes JSON.
        self._needles = EVERYTHING
        self._deltas = 0
        self._delta_bytes = 0
        self._sample = b""
        self._recent = b""

    @property
    def usage(self) -> Usage | None:
        """The usage merged so far, or None while none came."""
        return self._usage()

    def feed(self, chunk: bytes) -> bytes:
        """Notice what `chunk` holds; returns the bytes for the client, which are `chunk` itself."""
        self.seen += len(chunk)
        if self.at_boundary and chunk.endswith(ENDS):
            self._observe(chunk)
            return chunk
        whole = self._framer.feed(chunk)
        self.at_boundary = not self._framer.pending
        if whole:
            self._observe(whole)
        if not self.opened:
            self._open_if_long(self._framer.pending)
        return chunk

    def begins(self, first: bytes) -> bool:
        """Whether a body whose first byte is `first` is a stream of this kind.

        JSON where events were asked for is an error, or a host that ignored `stream`; a page is a
        proxy or a login in between.
        """
        return first not in (b"{", b"[", b"<")

    def finish(self) -> bytes:
        """At the upstream's end: read a last event that no blank line closed, and close it.

        The blank line is added only behind an event that is whole, because SDKs drop it otherwise.
        """
        rest = self._framer.rest()
        if not rest:
            return b""
        self._observe(rest)
        if not _is_whole(sse.parse(rest).data):
            return b""
        self._framer.clear()
        self.at_boundary = True
        return b"\n" if rest.endswith((b"\n", b"\r")) else b"\n\n"

    def error_event(self, exc: RelayError, request_id: str) -> bytes:
        """The bytes that tell the client of a failure in mid-stream, whatever went out before."""
        return self._closing() + self._worded(exc, request_id)

    def estimate_output(self) -> int:
        """Tokens produced so far, from the bytes seen, for a stream that ended without usage."""
        if not self._deltas:
            return 0
        count, size, texts = self._measured()
        # Several events may have come in one read: the sample tells how long one of them is.
        events = max(self._deltas, self._delta_bytes * count // size)
        overhead = (size - texts) // count
        return max(events, (self._delta_bytes - events * overhead) // BYTES_PER_TOKEN)

    def _observe(self, whole: bytes) -> bool:
        """Count `whole`, which holds only whole events, and read it if it may matter.

        Returns: whether it was read.
        """
        self.events += 1
        self._recent = whole
        # `rfind` takes half the time of `in`, which first tries to read its operand as a number.
        if whole.rfind(self.content) >= 0:
            self._deltas += 1
            self._delta_bytes += len(whole)
            self._sample = whole
        for needle in self._needles:
            if whole.rfind(needle) >= 0:
                self._inspect(whole)
                return True
        return False

    def _inspect(self, whole: bytes) -> None:
        line = sse.only_line(whole)
        if line:
            self._read(b"", line)
            return
        for block in sse.blocks(whole):
            event = sse.parse(block)
            self._read(event.name, event.data or _bare_json(block))

    def _read(self, name: bytes, data: bytes) -> None:
        """Read one event's data: the end marker, a JSON object, or nothing that is understood."""
        value = parsed(data) if data else None
        if value is None:
            bare = data.strip()
            self._open(bool(bare))
            if bare == b"[DONE]":
                self._done()
            return
        self.response_id = self.response_id or self._id(value)
        self._event(name, value)
        if self.failed and not self.first_error_event:
            self.first_error_event = data
        if not self.opened:
            self._open(name not in PINGS and text(value.get("type")).encode() not in PINGS)
        if self._needles is EVERYTHING and (self.opened or self.failed):
            self._needles = self._needles_for(data)

    def _open(self, answers: bool) -> None:
        """Note that the answer has begun, if this event is part of one and no error came before."""
        self.opened = self.opened or (answers and self.failed is None)

    def _open_if_long(self, pending: int) -> None:
        """No error is as long as this event already is, so nobody needs to wait for its end."""
        self._open(pending > LONGEST_ERROR)

    def _measured(self) -> tuple[int, int, int]:
        """Some events of the last read with content: how many, their bytes, their bytes of text."""
        count = size = texts = 0
        for block in islice(sse.blocks(self._sample), SAMPLED_EVENTS):
            value = parsed(sse.parse(block).data or _bare_json(block))
            if value is not None and self.content in block:
                texts += self._text_bytes(value)
                size += len(block)
                count += 1
        return (count, size, texts) if count else (1, len(self._sample), 0)

    def _closing(self) -> bytes:
        """What ends the event that was given out in part, so that the next one stands by itself."""
        if self.at_boundary:
            return b""
        rest = self._framer.rest()
        if rest and not sse.parse(rest).data:
            # Nothing but fields without data: our own fields overrule them in the same event.
            return b"" if rest.endswith((b"\n", b"\r")) else b"\n"
        return b"\n\n"

    def _fail(self, error: object) -> None:
        self.failed = self.failed or error_text(error) or "error"

    # What a format fills in.

    def _usage(self) -> Usage | None:
        raise NotImplementedError

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        raise NotImplementedError

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        raise NotImplementedError

    def _done(self) -> None:
        """An end marker came; only chat has one that means something."""

    def _needles_for(self, data: bytes) -> tuple[bytes, ...]:
        """The needles for the way in which this host writes JSON, as its first event shows.

        One that writes `"key" : value` escapes them: then every event is read.
        """
        return EVERYTHING if b'" :' in data else self.needles

    def _id(self, value: dict[str, Any]) -> str:
        return text(value.get("id"))

    def _text_bytes(self, value: dict[str, Any]) -> int:
        """How many bytes of text a content event holds."""
        return string_bytes(value.get("delta"))


def string_bytes(value: object) -> int:
    """The bytes of all strings in `value`, roughly: what a delta adds to the reply."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return sum(string_bytes(inner) for inner in value.values())
    if isinstance(value, list):
        return sum(string_bytes(inner) for inner in value)
    return 0


def merge_counts(known: dict[str, Any], news: Mapping[str, Any]) -> None:
    """Take over what says something: null is silence, and a running total never falls to 0."""
    for key, value in news.items():
        if value or known.get(key) is None:
            known[key] = value


def _bare_json(block: bytes) -> bytes:
    """`block` itself where a host sent JSON without SSE fields: errors, replies not streamed."""
    bare = block.removeprefix(sse.BOM).strip()
    return bare if bare[:1] in (b"{", b"[") else b""


def _is_whole(data: bytes) -> bool:
    if data.strip() == b"[DONE]":
        return True
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
