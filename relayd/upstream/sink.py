"""Who receives a reply from an upstream's connection."""

from __future__ import annotations

from typing import Protocol

from relayd.errors import UpstreamError

RawHeaders = list[tuple[bytes, bytes]]


class ReplySink(Protocol):
    """Who receives one reply. Called from the event loop's read callback: nothing here may wait."""

    def on_head(self, status: int, headers: RawHeaders) -> None:
        """Status and headers (names in lower case) of the final response."""

    def on_body(self, data: bytes) -> None:
        """The next bytes of the body, decoded of chunking and gzip."""

    def on_end(self) -> None:
        """The reply is whole. Nothing follows."""

    def on_error(self, exc: UpstreamError) -> None:
        """The reply will not be whole. Nothing follows."""


class Nobody:
    """The sink of a reply that nobody waits for any more."""

    def on_head(self, status: int, headers: RawHeaders) -> None: ...

    def on_body(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_error(self, exc: UpstreamError) -> None: ...
