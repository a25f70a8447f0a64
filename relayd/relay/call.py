"""A call: what a client asked for, and the client's side of it.

The protocol says the little that the relay needs of a client; the web side brings the real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from relayd.model import FormatName
from relayd.relay.sides import ClientSide, RawHeaders
from relayd.wire.multipart import Form, Spool
from relayd.wire.paths import Target


class Client(ClientSide, Protocol):
    """The client's side of a request: its body, and where the reply goes."""

    @property
    def bytes_in(self) -> int:
        """Bytes of the request's body until now."""

    @property
    def bytes_out(self) -> int:
        """Bytes of the reply's body until now."""

    @property
    def heard_at(self) -> float:
        """When its last bytes came, on the fine clock."""

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""

    @property
    def sends_form(self) -> bool:
        """Whether the body says that it is a multipart form."""

    async def read_body(self) -> bytes:
        """The whole body, within the limits; raises BadCall."""

    async def read_form(self, owner: int) -> Form:
        """The whole body as a form, whose files last as long as the request, which is the
        owner's (an account's); raises BadCall, or NoUpstream where there is no room for it."""

    async def read_spool(self, owner: int) -> Spool:
        """The whole body unread; it lasts as long as the request. Raises as `read_form`."""

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

    @property
    def verb(self) -> str:
        """What was asked for, as the formats call it; "" for a route that is none."""
        return self.target.verb if self.target is not None else ""
