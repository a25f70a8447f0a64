"""What each format brings along for translation: the Protocols that its four modules satisfy.

A codec is pure and knows one format. `decode` and `encode` are functions; a reader and a writer
hold the state of one reply. A whole reply goes through the same reader and the same writer as a
stream: `Reader.whole` makes the events of a document, `Writer.whole` makes a document of the folded
events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from relayd.errors import RelayError
from relayd.wire.alike import Plain
from relayd.wire.events import Events, Reply
from relayd.wire.neutral import Request
from relayd.wire.parts import Document
from relayd.wire.paths import Target
from relayd.wire.setting import Coming, Going, Written
from relayd.wire.vectors import Texts, Vectors

Headers = tuple[tuple[bytes, bytes], ...]


class Reader(Protocol):
    """Reads one upstream's reply. Liberal: nothing that comes makes it raise; what is no reply at
    all becomes a `Failure`. Bounded: blocks, choices, bytes of one event.

    Attributes:
        plain: how the last event that was read went on with an open text; None where it did
            anything else. Of the next events those that are like it need not be read.
    """

    @property
    def plain(self) -> Plain | None: ...

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one server-sent event; [] for what says nothing."""

    def whole(self, document: Document) -> Events:
        """The events of a whole reply, `End` included."""

    def end(self) -> Events:
        """The upstream's bytes have ended: what is still open is closed, and `End`; or a `Failure`
        where the format says that more should have come."""


class Writer(Protocol):
    """Writes one client's reply. Strict: whatever the order of blocks in the events, the bytes obey
    the format's grammar."""

    keepalive: bytes
    stream_headers: Headers

    def write(self, events: Events) -> bytes:
        """The bytes of these events; b"" for those that say nothing yet. `End` closes the stream as
        the format has it, `Failure` is its error in the middle of a stream."""

    def say(self, block: int, text: str) -> bytes:
        """As `write` of one `Delta` without logprobs, in the least time."""

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure of ours in the middle, whatever went out before."""

    def whole(self, reply: Reply) -> Document:
        """A whole reply. `reply.failure` is not its business."""


class Embed(NamedTuple):
    """How a format asks for vectors.

    Attributes:
        decode: a request; raises BadCall.
        encode: raises CannotTranslate.
        reply: an upstream's reply; raises BadReply.
        document: the client's reply to its texts, from the model by that name, with an estimate of
            the tokens where nobody counted them; raises BadReply where the counts differ.
    """

    decode: Callable[[Document, Target], Texts]
    encode: Callable[[Texts, Going], Document]
    reply: Callable[[Document], Vectors]
    document: Callable[[Vectors, Texts, str, int], Document]


class Codec(NamedTuple):
    """A format's row.

    Attributes:
        decode: a request's body and its target; raises BadCall.
        encode: raises CannotTranslate.
        reader: a fresh one for each reply of an upstream.
        writer: a fresh one for each reply to a client.
        decode_count, encode_count: a request for a count of tokens, the same way; None where the
            format has no counter.
        count_reply: the count that a reply to one states, None where it states none.
        count_document: the reply to one.
        embed: None where the format has no vectors.
    """

    decode: Callable[[Document, Target], Request]
    encode: Callable[[Request, Going], Written]
    reader: Callable[[], Reader]
    writer: Callable[[Coming], Writer]
    decode_count: Callable[[Document, Target], Request] | None = None
    encode_count: Callable[[Request, Going], Written] | None = None
    count_reply: Callable[[Document], int | None] | None = None
    count_document: Callable[[int], Document] | None = None
    embed: Embed | None = None
