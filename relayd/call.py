"""A call: what a client asked for, and the client's side of it.

The protocol says the little that the relay needs of a client; the web side brings the real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from relayd.model import FormatName
from relayd.sides import ClientSide, RawHeaders
from relayd.wire.paths import Target


class Client(ClientSide, Protocol):
    """The client's side of a request: its body, and where the reply goes."""

    bytes_in: int
    bytes_out: int

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""

    async def read_body(self) -> bytes:
        """The whole body, within the limits; raises BadCall."""

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send a whole response."""

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes of a started response and end it."""


class Call(NamedTuple):
    """What a client asked for, before its body is read."""

    request_id: str
    format: FormatName
    target: Target | None
    credential: str
    headers: Iterable[tuple[bytes, bytes]]
    started: float
    started_at: float
    path: str
    address: str = ""
