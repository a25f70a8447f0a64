"""The provider's part: a small HTTP server that answers each request with its recorded reply.

A request says which reply it wants in a header that clients of these APIs send and that relays
forward (`TAG`). The reply is chunked, and each of its pieces goes out by itself, one turn of the
loop apart, so that it reaches the relay as a packet of its own. What the relay sent is kept, for
comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from benchmarks.fidelity.recording import Recorded

TAG = "idempotency-key"
LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Script:
    """A reply to play: whose, and cut into which pieces."""

    recorded: Recorded
    pieces: list[bytes]


@dataclass(slots=True)
class RecordedProvider:
    """Answers with recorded replies. Owns the scripts, and what it was sent, both by tag."""

    scripts: dict[str, Script] = field(default_factory=dict)
    received: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen on a free port of loopback; returns the root URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                headers = _headers(await reader.readuntil(b"\r\n\r\n"))
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._answer(headers.get(TAG, ""), body, writer)
        writer.close()

    async def _answer(self, tag: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        script = self.scripts.pop(tag, None)
        if script is None:
            self.problems.append(f"a request came with the tag {tag!r}, which nobody waits for")
            writer.write(b"HTTP/1.1 500 Unknown\r\ncontent-length: 0\r\n\r\n")
            return
        self.received[tag] = body
        await play(script, writer)


async def play(script: Script, writer: asyncio.StreamWriter) -> None:
    """Write head, pieces and end; a reply of one piece is one write."""
    pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in script.pieces if piece]
    pieces = pieces or [b""]
    pieces[0] = _head(script.recorded) + pieces[0]
    pieces[-1] += b"0\r\n\r\n"
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


def _head(recorded: Recorded) -> bytes:
    lines = [
        f"HTTP/1.1 {recorded.status} Recorded",
        f"content-type: {recorded.content_type}",
        "transfer-encoding: chunked",
    ]
    if recorded.retry_after:
        lines.append(f"retry-after: {recorded.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.lower(): value.strip() for name, _, value in pairs}
