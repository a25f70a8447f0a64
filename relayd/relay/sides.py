"""What a reply on its way asks of its neighbours: the client, the upstream's connection, the owner.

Protocols only: the web side, the upstream side and the relay bring the real ones, tests bring small
ones that note what they were told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from relayd.errors import RelayError

RawHeaders = list[tuple[bytes, bytes]]


class ClientSide(Protocol):
    """The client's half of an exchange, as far as forwarding needs it."""

    def on_drain(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when the buffer has drained."""

    def start(self, status: int, headers: RawHeaders, length: int | None) -> None:
        """Set the response head; it goes out with the first `write`."""

    def write(self, data: bytes) -> bool:
        """Send body bytes; returns whether more than the bound waits for the client now."""

    def abort(self) -> None:
        """Cut the connection."""


class Owner(Protocol):
    """Whose exchange it is: it knows the request and decides what forwarding does not."""

    @property
    def request(self) -> str:
        """The request's id."""

    def connected(self) -> None:
        """The head of a reply came: whatever becomes of the rest, the upstream can be reached."""

    def claim(self, status: int) -> bool:
        """An answer has begun: may it go to the client, or has another attempt been faster?"""

    def stream_headers(self, headers: RawHeaders) -> RawHeaders:
        """The client's headers of a reply, out of the upstream's."""

    def first_error(self, data: bytes) -> RelayError | None:
        """What an error event that came first means; None: it is for the client."""


class UpstreamSide(Protocol):
    """The upstream's half: a connection that can be held back or dropped."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...

    def detach(self, loop: asyncio.AbstractEventLoop, grace: float) -> None: ...
