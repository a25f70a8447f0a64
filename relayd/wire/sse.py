"""Server-sent events, read liberally: where an event ends, and what is in it.

Strategy: everything stays bytes, and only CR, LF and CRLF end a line (`bytes.splitlines`, never
the one of `str`, which also splits at U+2028 and friends inside JSON). A block is an event with
its blank line; `Framer` cuts a byte stream at blank lines wherever the reads happened to be cut.
It looks at each byte once: an unfinished block is kept as a list of pieces and joined when its
end has come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
DEFAULT_LIMIT = 64 * 1024 * 1024


class Event(NamedTuple):
    """One event: the last `event:` line, and all `data:` lines joined by a line feed."""

    name: bytes
    data: bytes


def parse(block: bytes) -> Event:
    """The event in `block`; one without data when it holds only comments or unknown fields."""
    name, data = b"", []
    for line in block.removeprefix(BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(name, b"\n".join(data))


def only_line(block: bytes) -> bytes:
    """The data of a block that is one `data:` line and nothing else; b"" for any other block."""
    end = block.find(b"\n")
    alone = block.startswith(b"data:") and block[end:] in (b"\n\n", b"\n\r\n")
    return block[5:end].rstrip(b"\r") if alone and block.find(b"\r", 0, end - 1) < 0 else b""


def boundaries(data: bytes) -> Iterator[int]:
    """The position behind each blank line in `data`."""
    if b"\r" in data:
        for found in _BLANK.finditer(data):
            yield found.end()
        return
    at = data.find(b"\n\n")
    while at >= 0:
        yield at + 2
        at = data.find(b"\n\n", at + 2)


def last_boundary(data: bytes) -> int:
    """The position behind the last blank line in `data`, or 0.

    A CR at the very end may be half of a CRLF, so a blank line that ends there does not count yet,
    unless the lines of this stream end with CR alone.
    """
    if b"\r" not in data:
        at = data.rfind(b"\n\n")
        return at + 2 if at >= 0 else 0
    ends = list(boundaries(data))
    if ends and ends[-1] == len(data) and data.endswith(b"\r") and b"\n" in data:
        ends.pop()
    return ends[-1] if ends else 0


def blocks(data: bytes) -> Iterator[bytes]:
    """`data` cut behind each blank line: the blocks joined are `data` again."""
    start = 0
    for end in boundaries(data):
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


class Framer:
    """Cuts a byte stream at event boundaries.

    Owns the pieces of the block that is not finished yet, at most `limit` bytes: a larger block is
    let go, and `feed` then starts again behind its end.
    """

    __slots__ = ("_limit", "_pieces", "_tail", "pending", "skipping")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._tail = b""
        self.pending = 0
        self.skipping = False

    def feed(self, chunk: bytes) -> bytes:
        """The whole blocks that end in `chunk`, begun earlier or not; b"" when none does."""
        if not self.pending and not chunk.strip(b"\r\n"):
            return chunk
        seam = self._tail + chunk
        cut = last_boundary(seam) - len(self._tail)
        if cut < 0 or (cut == 0 and not self.pending):
            self._keep(chunk)
            return b""
        whole = (
            self._after_skipped(seam) if self.skipping else b"".join([*self._pieces, chunk[:cut]])
        )
        self._pieces, self._tail, self.pending, self.skipping = [], b"", 0, False
        if cut < len(chunk):
            self._keep(chunk[cut:])
        return whole

    def rest(self) -> bytes:
        """The unfinished block so far; b"" when there is none or it was let go."""
        return b"".join(self._pieces)

    def clear(self) -> None:
        """Forget the unfinished block."""
        self._pieces, self._tail, self.pending, self.skipping = [], b"", 0, False

    def _keep(self, chunk: bytes) -> None:
        self.pending += len(chunk)
        self._tail = (self._tail + chunk[-2:])[-2:]
        if self.pending > self._limit:
            self.skipping = True
            self._pieces = []
        if not self.skipping:
            self._pieces.append(chunk)

    def _after_skipped(self, seam: bytes) -> bytes:
        return seam[next(boundaries(seam)) : last_boundary(seam)]
