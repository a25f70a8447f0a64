"""A reply of one format, given to a client of another: read, restored, written.

One network read makes at most one write. Nothing waits here but what the client's format cannot say
yet. Whatever an upstream sends, the client's bytes obey its format; a reply that cannot be read to
its end (too many parts, an event that is too large) ends with an error in that format.

Nearly all reads hold whole events that only go on with the open text and differ from the one before
in nothing else. These are looked for first (`alike`), because this is done a thousand times for one
answer: their text goes from the bytes of the one side into those of the other, past the reader, the
events and all that looks at events. Then come events written the way most hosts write them, each of
one line; everything else goes the long way through `sse`.
"""

from __future__ import annotations

from typing import Final

import orjson

from relayd.errors import BadReply, RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.alike import Alike
from relayd.wire.checked import DEEPEST_DOCUMENT, is_shallow
from relayd.wire.codec import Reader, Writer
from relayd.wire.events import Counted, Delta, End, Event, Events, Failure, Start, fold
from relayd.wire.facts import parsed
from relayd.wire.head import LARGE_BODY
from relayd.wire.parts import Document
from relayd.wire.pipe import Headers
from relayd.wire.restore import Restore

BYTES_PER_TOKEN: Final = 4
LARGEST: Final = 64 * 1024 * 1024
# Of one event or whole reply; so many stop the loop for half a second. Probabilities of tokens have
# the most brackets that an answer may properly have: forty for a token.
MOST_BRACKETS: Final = 300_000
MOST_VALUES: Final = 1_000_000
JSON_STARTS: Final = (b"{", b"[", b"<")
# A reply that is too much of something; or that holds what JSON can say, and orjson not write: a
# number or a depth beyond its bounds. It has no other name for that than TypeError.
UNSAYABLE: Final = (OverflowError, orjson.JSONEncodeError)
_TWO_LINE_ENDS: Final = [b"", b""]
_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n")
_SHORT: Final = 2 * DEEPEST_DOCUMENT  # bytes: what is no longer cannot be nested too deep
_TOO_DEEP: Final = "The upstream's reply is nested too deep to be translated."
_TOO_MANY: Final = "The upstream's reply holds too many values to be translated."
_TOO_LARGE: Final = "The upstream's reply is too large to be translated."


class Transcode:
    """The pipe between two formats. Owns the reader, the writer and the unfinished event.

    Arguments:
        reader: of the upstream's format.
        writer: of the client's.
        restore: None where the request changed nothing that the reply must change back.
        largest: bytes of one event, and of all that a reply says: some writers have to say all of
            it once more in their last event.
    """

    __slots__ = (
        "_alike",
        "_framer",
        "_largest",
        "_other",
        "_produced",
        "_reader",
        "_restore",
        "_writer",
        "at_boundary",
        "complete",
        "failed",
        "first_error_event",
        "keepalive",
        "opened",
        "response_id",
        "seen",
        "stream_headers",
        "usage",
    )

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        restore: Restore | None = None,
        largest: int = LARGEST,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._restore = restore
        self._alike = Alike()
        self._framer = sse.Framer(largest)
        self._largest = largest
        self._produced = 0  # characters of text
        self._other = 0  # bytes of events that said anything else
        self.keepalive: bytes = writer.keepalive
        self.stream_headers: Headers = writer.stream_headers
        self.at_boundary = True  # only whole events are ever given out
        self.complete = False
        self.failed: str | None = None
        self.first_error_event = b""
        self.opened = False
        self.response_id = ""
        self.seen = 0
        self.usage: Usage | None = None

    def __repr__(self) -> str:
        state = "complete" if self.complete else self.failed or f"{self._framer.pending} pending"
        return f"<Transcode {self._reader!r} -> {self._writer!r} {state}>"

    def feed(self, chunk: bytes) -> bytes:
        """The client's bytes for `chunk`."""
        self.seen += len(chunk)
        if not self._framer.pending:
            said = self._alike.said(chunk)
            if said:
                return self._more(said)
        return b"" if self.failed is not None else self._feed(chunk)

    def _feed(self, chunk: bytes) -> bytes:
        framer = self._framer
        if framer.pending:
            whole = framer.feed(chunk)
        else:
            found = single(chunk)
            if found is not None:
                return self._read(*found, chunk)
            whole = chunk if chunk.endswith(_BLANK_LINES) else framer.feed(chunk)
        out = [self._block(block) for block in blocks_in(whole)]
        if framer.skipping and self.failed is None:
            out.append(self._give_up(_TOO_LARGE))
        return b"".join(out)

    def _block(self, block: bytes) -> bytes:
        said = self._alike.said(block)
        if said:
            return self._more(said)
        found = single(block)
        if found is not None:
            return self._read(*found, block)
        event = sse.parse(block)
        return self._read(*event) if event.data else b""

    def _more(self, said: str) -> bytes:
        """The open text goes on: an event that nobody had to read."""
        alike = self._alike
        self._produced += len(said)
        try:
            if self._produced + self._other > self._largest:
                raise OverflowError(_TOO_LARGE)
            out = self._writer.say(alike.block, said)
            if alike.heard is not None:
                beside = alike.heard(said, alike.counts)
                if beside:
                    out += self._written(beside, b"")
        except UNSAYABLE as exc:
            return self._give_up(_why(exc))
        return out

    def begins(self, first: bytes) -> bool:
        """JSON where events were asked for is a whole reply, or an error: see `streamed`."""
        return first not in JSON_STARTS

    def finish(self) -> bytes:
        """The rest, at the upstream's end: an event without its blank line, and the end.

        What the upstream left out is not made up: `complete` stays False, and the relay says so.
        A failure that is not the upstream's is one of the reply itself.
        """
        event = sse.parse(self._framer.rest())
        out = self._read(event.name, event.data) if event.data else b""
        self._framer.clear()
        if self.failed is not None:
            return out
        ended = self._reader.end()
        events: Events = [e for e in ended if not isinstance(e, Failure) or e.status < 500]
        try:
            return out + self._written(events, b"")
        except UNSAYABLE as exc:
            return out + self._give_up(_why(exc))

    def error_event(self, exc: RelayError, request_id: str) -> bytes:
        """The failure in the client's words; the writer knows the request's id."""
        return self._writer.error(exc)

    def estimate_output(self) -> int:
        """From the text that came."""
        return self._produced // BYTES_PER_TOKEN

    def _read(self, name: bytes, data: bytes, whole: bytes = b"") -> bytes:
        """One event; `whole` is what it came in, where that is written as most hosts do."""
        if self.complete or self.failed is not None:
            return b""
        try:
            if len(data) > _SHORT:
                _check(data)
            events = self._reader.read(name, data)
            out = self._written(events, data)
            self._learn(whole)
            return out
        except UNSAYABLE as exc:
            return self._give_up(_why(exc))

    def _learn(self, whole: bytes) -> None:
        """Know the next events by the one that was just read, if they can be known by it."""
        plain, restore = self._reader.plain, self._restore
        kept = plain is not None and restore is not None and restore.keeps(plain.said.block)
        if whole and plain is not None and not kept:
            self._alike.learn(whole, plain, self.seen)
        else:
            self._alike.forget()

    def _give_up(self, why: str) -> bytes:
        """The reply cannot be read on; nothing of it counts any more."""
        self.failed, self.complete = why, False
        self._alike.forget()
        self._framer.clear()
        return self._writer.error(BadReply(why))

    def _written(self, events: Events, data: bytes) -> bytes:
        for event in events:
            if event.__class__ is Delta:
                self._produced += len(event.text)
            else:
                self._note(event, data)
        if self._produced + self._other > self._largest:
            raise OverflowError(_TOO_LARGE)
        if self._restore is not None:
            events = self._restore.apply(events)
        return self._writer.write(events) if events else b""

    def _note(self, event: Event, data: bytes) -> None:
        """What the relay wants to know."""
        self._other += len(data)
        match event:
            case Start():
                self.opened = self.failed is None
                self.response_id = event.id
                self.usage = event.usage or self.usage
            case Counted():
                self.usage = event.usage
            case Failure():
                self.failed = event.message
                self.first_error_event = self.first_error_event or data
            case End():
                self.complete = self.failed is None


def single(chunk: bytes) -> tuple[bytes, bytes] | None:
    """Name and data, where `chunk` is one event written as most hosts write it; None for any other:
    a fifth of the time that framing takes."""
    if chunk[:6] == b"data: ":
        end = chunk.find(b"\n")
        rest = chunk[end:]
        if rest == b"\n\n":
            return None if b"\r" in chunk else (b"", chunk[6:end])
        crlf = rest == b"\n\r\n" and chunk.find(b"\r") == end - 1
        return (b"", chunk[6 : end - 1]) if crlf else None
    lines = chunk.split(b"\n")
    if len(lines) != 4 or b"\r" in chunk:
        return None
    event, line, *blank = lines
    if event[:7] != b"event: " or line[:6] != b"data: " or blank != _TWO_LINE_ENDS:
        return None
    return event[7:], line[6:]


def blocks_in(whole: bytes) -> list[bytes]:
    """The events in bytes that end with one, as they came."""
    returns = whole.count(b"\r")
    if not returns:
        pieces, end = whole.split(b"\n\n"), b"\n\n"
    elif returns == whole.count(b"\r\n") == whole.count(b"\n"):
        pieces, end = whole.split(b"\r\n\r\n"), b"\r\n\r\n"
    else:
        return list(sse.blocks(whole))
    last = pieces.pop()  # nothing, where the bytes end with an event
    blocks = [piece + end for piece in pieces]
    return [*blocks, last] if last else blocks


def may_be_read(data: bytes) -> bool:
    """Whether an event, or a whole reply, holds few enough things: parsing makes an object of each
    on the event loop, and readers look at each. To be asked before anything parses it."""
    return data.count(b"{") + data.count(b"[") <= MOST_BRACKETS and _is_sparse(data)


def _is_sparse(data: bytes) -> bool:
    """Whether few values stand in it; what is small holds few. Commas of texts count as well."""
    return len(data) <= LARGE_BODY or data.count(b",") <= MOST_VALUES


def _check(data: bytes) -> None:
    """Raise OverflowError where an event holds too much, or is nested deeper than a writer could
    write again."""
    brackets = data.count(b"{") + data.count(b"[")
    if brackets > MOST_BRACKETS or not _is_sparse(data):
        raise OverflowError(_TOO_MANY)
    if brackets > DEEPEST_DOCUMENT and not is_shallow(parsed(data) or {}):
        raise OverflowError(_TOO_DEEP)


def _why(exc: Exception) -> str:
    known = isinstance(exc, OverflowError)
    return str(exc) if known else "The upstream's reply holds what cannot be written again."


def rewritten(
    document: Document, reader: Reader, writer: Writer, restore: Restore | None
) -> Document:
    """A whole reply as a document of the client's format. Raises BadReply where it is none."""
    try:
        return writer.whole(fold(_events(document, reader, restore)))
    except UNSAYABLE as exc:
        raise BadReply(_why(exc), detail=str(exc)) from None


def whole(document: Document, reader: Reader, writer: Writer, restore: Restore | None) -> bytes:
    """A whole reply in the client's format. Raises BadReply where it is none."""
    try:
        return orjson.dumps(writer.whole(fold(_events(document, reader, restore))))
    except UNSAYABLE as exc:
        raise BadReply(_why(exc), detail=str(exc)) from None


def streamed(document: Document, reader: Reader, writer: Writer, restore: Restore | None) -> bytes:
    """A whole reply as the stream that the client asked for, where the upstream does not stream.
    Raises BadReply where it is none."""
    try:
        return writer.write(_events(document, reader, restore))
    except UNSAYABLE as exc:
        raise BadReply(_why(exc), detail=str(exc)) from None


def estimated_output(document: Document, reader: Reader) -> int:
    """Tokens of a whole reply that could be read, from its text."""
    said = (event.text for event in reader.whole(document) if isinstance(event, Delta))
    return sum(map(len, said)) // BYTES_PER_TOKEN


def _events(document: Document, reader: Reader, restore: Restore | None) -> Events:
    if not is_shallow(document):
        raise OverflowError(_TOO_DEEP)
    events = reader.whole(document)
    for event in events:
        if isinstance(event, Failure):
            raise BadReply(f"The upstream answered with an error: {event.message}")
    return restore.apply(events) if restore is not None else events
