"""One end of a tunnel: a connection that has left HTTP, and carries whatever both sides say.

Strategy: the transport is given another protocol, so that neither aiohttp's server connection nor
our own client connection has to know of anything but HTTP. Whoever held the transport before hears
of it once more, when the connection is lost: pools and listeners count their connections by that.
What comes before anybody listens is kept, up to a bound; then the socket is not read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MOST_EARLY = 64 * 1024  # bytes that may come before anybody listens
HIGH_WATER = 256 * 1024  # bytes that wait for the other side beyond which ours is not read
LOW_WATER = 64 * 1024


class Receiver(Protocol):
    """Who listens to an end. Called from the event loop's callbacks: nothing here may wait."""

    def on_data(self, end: End, data: bytes) -> None:
        """Bytes came."""

    def on_room(self, end: End) -> None:
        """The other side has taken most of what waited for it."""

    def on_lost(self, end: End) -> None:
        """The connection is gone. Nothing follows."""


class End(asyncio.Protocol):
    """One end. Owns its transport.

    Arguments:
        transport: of a connection that is open.
        former: who had it until now.
        early: bytes that came already.
    """

    __slots__ = ("_early", "_former", "_holds", "_receiver", "full", "lost", "transport")

    def __init__(
        self, transport: asyncio.Transport, former: asyncio.BaseProtocol, early: bytes = b""
    ) -> None:
        self.transport = transport
        self.full = False  # more waits to be sent than should
        self.lost = False
        self._former: asyncio.BaseProtocol | None = former
        self._early = early
        self._receiver: Receiver | None = None
        self._holds: set[str] = set()  # why it is not read
        transport.set_protocol(self)
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def __repr__(self) -> str:
        state = "lost" if self.lost else "full" if self.full else "open"
        return f"<End {state}{' paused' if self._holds else ''}>"

    def join(self, receiver: Receiver) -> None:
        """Tell `receiver` from now on, first of all what came until now."""
        self._receiver = receiver
        early, self._early = self._early, b""
        if early:
            receiver.on_data(self, early)
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()  # aiohttp may have stopped before it gave this away
        self.resume("early")
        if self.lost:
            receiver.on_lost(self)

    def leave(self, early: bytes) -> None:
        """Tell nobody for now, and keep what comes, `early` first, for who joins next."""
        self._receiver = None
        self._early = early

    def write(self, data: bytes) -> bool:
        """Send bytes; returns whether too much waits now."""
        if not self.lost and data:
            self.transport.write(data)
        return self.full

    def pause(self, why: str = "room") -> None:
        """Do not read for now."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds.add(why)

    def resume(self, why: str = "room") -> None:
        """Read again, if there is no other reason not to."""
        if why not in self._holds:
            return
        self._holds.discard(why)
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """Hang up once all is sent."""
        self.transport.close()

    def abort(self) -> None:
        """Hang up now."""
        self.transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.on_data(self, data)
            return
        self._early += data
        if len(self._early) > MOST_EARLY:
            self.pause("early")

    def eof_received(self) -> bool:
        return False  # half a connection is of no use: it closes

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._receiver is not None:
            self._receiver.on_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        former, self._former = self._former, None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_lost(self)
        if former is not None:
            former.connection_lost(exc)
