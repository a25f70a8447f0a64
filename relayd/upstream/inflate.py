"""Decodes a body that comes compressed although identity was asked for.

In steps, and only so many in one turn of the loop: a small packet can become a large buffer, and
time that others wait for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from relayd.errors import BadReply

_ANY_WRAPPER = 32 + zlib.MAX_WBITS  # zlib: accepts those of gzip and of zlib
_STEP = 256 * 1024  # decoded bytes
_STEPS = 16  # in one turn of the loop: some ten milliseconds


class Inflating:
    """One compressed body under way. Owned by its connection.

    `waiting` is what has come and is not decoded yet.
    """

    __slots__ = ("_decoder", "waiting")

    def __init__(self) -> None:
        self.waiting = b""
        self._decoder = zlib.decompressobj(_ANY_WRAPPER)

    def __repr__(self) -> str:
        return f"<Inflating ended={self.ended}, {len(self.waiting)} bytes wait>"

    @property
    def ended(self) -> bool:
        """Whether what came is whole."""
        return self._decoder.eof

    def run(self, take: Callable[[bytes], None], goes_on: Callable[[], bool]) -> None:
        """Decode some of what waits.

        Arguments:
            take: is given what was decoded.
            goes_on: whether more of it is wanted, asked before each step.

        Raises BadReply for a damaged body; nothing waits any more then.
        """
        try:
            for _ in range(_STEPS):
                if not self.waiting or not goes_on():
                    break
                plain = self._step()
                if plain:
                    take(plain)
        except zlib.error:
            self.waiting = b""
            raise BadReply("The upstream sent a damaged gzip body.") from None

    def _step(self) -> bytes:
        decoder = self._decoder
        plain = decoder.decompress(self.waiting, _STEP)
        self.waiting = decoder.unconsumed_tail
        if decoder.eof and decoder.unused_data:  # a gzip file may have several members
            self.waiting = decoder.unused_data
            self._decoder = zlib.decompressobj(_ANY_WRAPPER)
        return plain


def inflating_of(encoding: bytes) -> Inflating | None:
    """What decodes a body of this encoding; None where it is not encoded.

    The observer of usage needs plain bytes, so what we cannot decode is refused (BadReply).
    """
    encoding = encoding.strip().lower()
    if encoding in (b"gzip", b"x-gzip", b"deflate"):
        return Inflating()
    if encoding in (b"", b"identity"):
        return None
    raise BadReply("The upstream insists on a content-encoding that relayd does not decode.")
