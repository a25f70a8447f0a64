"""What a streamed reply goes through on its way to the client, as the relay sees it.

`Passthrough` is one, where both sides speak one format; `Transcode` is the other. Forwarding, the
end of a request and the books know only this.
"""

from __future__ import annotations

from typing import Protocol

from relayd.errors import RelayError
from relayd.model import Usage

Headers = tuple[tuple[bytes, bytes], ...]


class Pipe(Protocol):
    """One reply's way.

    Attributes:
        keepalive: bytes that keep the client's connection alive, where `at_boundary`.
        stream_headers: of the client's reply.
        at_boundary: the bytes given out end between two events.
        complete: the upstream's terminal event was seen whole.
        failed: a short text, once an error came inside the stream.
        opened: an answer has begun: something came that is neither an error nor a ping.
        seen: bytes from upstream.
        response_id: the upstream's id of this reply.
        first_error_event: the JSON of the first error event in the upstream's format, or b"".
    """

    # Read only, so that a class attribute will do.
    @property
    def keepalive(self) -> bytes: ...
    @property
    def stream_headers(self) -> Headers: ...
    @property
    def at_boundary(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    @property
    def failed(self) -> str | None: ...
    @property
    def opened(self) -> bool: ...
    @property
    def seen(self) -> int: ...
    @property
    def response_id(self) -> str: ...
    @property
    def first_error_event(self) -> bytes: ...
    @property
    def usage(self) -> Usage | None: ...

    def feed(self, chunk: bytes) -> bytes:
        """The bytes for the client that `chunk` makes."""

    def begins(self, first: bytes) -> bool:
        """Whether a body whose first byte is `first` is a stream of the upstream's format."""

    def finish(self) -> bytes:
        """At the upstream's end: the bytes that are still to come."""

    def error_event(self, exc: RelayError, request_id: str) -> bytes:
        """The bytes that tell the client of a failure in mid-stream, whatever went out before."""

    def estimate_output(self) -> int:
        """Tokens produced so far, for a stream that ended without usage."""
