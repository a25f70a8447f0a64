"""A request body that goes up in pieces, as fast as the upstream takes them.

The pieces come from a spool, so that of a body of any size no more than one piece is in memory, and
another attempt can send it again. A piece is read while nothing waits to be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from relayd.tasks import child

PIECE: Final = 256 * 1024


class Source(Protocol):
    """Where the bytes are kept."""

    async def load(self, start: int, end: int) -> bytes:
        """Those from `start` up to `end`; OSError where they cannot be had."""


class Upload:
    """The body of one request.

    Arguments:
        parts: bytes as they are, and spans of the source.
        source: has the spans.
        moved: called whenever the upstream has taken a piece.
    """

    __slots__ = ("_parts", "_source", "moved")

    def __init__(
        self,
        parts: Sequence[bytes | tuple[int, int]],
        source: Source,
        moved: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._source = source
        self.moved = moved

    def __repr__(self) -> str:
        return f"<Upload of {len(self._parts)} parts>"

    def pieces(self) -> Iterator[bytes | tuple[int, int]]:
        """What to send, one piece after the other; a span is to be loaded."""
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            start, end = part
            for at in range(start, end, PIECE):
                yield at, min(at + PIECE, end)

    async def load(self, piece: bytes | tuple[int, int]) -> bytes:
        """The bytes of a piece; OSError where they cannot be had."""
        return piece if isinstance(piece, bytes) else await self._source.load(*piece)


class Pump:
    """Sends an upload. Owned by the connection, which says when the transport takes more.

    Arguments:
        upload: what to send.
        transport: where to.
        ended: called once, with whether all was sent; not if it is stopped.
    """

    __slots__ = ("_ended", "_task", "_transport", "_upload", "_writable")

    def __init__(
        self,
        upload: Upload,
        transport: asyncio.WriteTransport,
        ended: Callable[[bool], None],
    ) -> None:
        self._upload = upload
        self._transport = transport
        self._ended = ended
        self._writable = asyncio.Event()
        self._writable.set()
        self._task = child(self._send())

    def __repr__(self) -> str:
        return f"<Pump of {self._upload!r}>"

    def pause(self) -> None:
        """The transport has enough for now."""
        self._writable.clear()

    def resume(self) -> None:
        """The transport takes more."""
        self._writable.set()

    def stop(self) -> None:
        """Send nothing more."""
        self._task.cancel()

    async def _send(self) -> None:
        upload = self._upload
        try:
            for piece in upload.pieces():
                data = await upload.load(piece)
                await self._writable.wait()
                if self._transport.is_closing():
                    return  # whoever closed it says why
                self._transport.write(data)
                upload.moved()
        except OSError:
            self._ended(False)
        else:
            self._ended(True)
