"""Where a reply goes in tests of the upstream side: it is collected, and its end can be waited
for."""

from __future__ import annotations

import asyncio

from relayd.errors import UpstreamError

RawHeaders = list[tuple[bytes, bytes]]


class Collected:
    """A sink that keeps everything. Owns the future that its end resolves."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.pieces: list[bytes] = []
        self.problem: UpstreamError | None = None
        self.ends = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def body(self) -> bytes:
        """All that came."""
        return b"".join(self.pieces)

    def on_head(self, status: int, headers: RawHeaders) -> None:
        assert not self.status, "told the head twice"
        self.status, self.headers = status, headers

    def on_body(self, data: bytes) -> None:
        assert self.status, "a body before its head"
        assert not self.ends, "a body after the end"
        self.pieces.append(data)

    def on_end(self) -> None:
        self._end()

    def on_error(self, exc: UpstreamError) -> None:
        self.problem = exc
        self._end()

    def _end(self) -> None:
        self.ends += 1
        assert self.ends == 1, "told the end twice"
        if not self._done.done():
            self._done.set_result(None)

    async def done(self) -> Collected:
        """Wait for the end."""
        async with asyncio.timeout(5):
            await self._done
        return self
