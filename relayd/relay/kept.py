"""What is kept of a reply's body: all of it until it is judged, or its opening and its tail.

A whole reply is small nearly always, and is held until it is complete. One that grows beyond that
is forwarded as it comes: its first bytes say which reply it is, and its last how much was used.
Nothing is copied for each piece.
"""

from __future__ import annotations

from collections import deque
from typing import Final

OPENING: Final = 1024
TAIL: Final = 64 * 1024  # of what is forwarded at least this much of the end: usage stands there


class Kept:
    """Owns the pieces.

    Attributes:
        pieces: all of the body, or its tail.
        opening: how it begins, where it is forwarded.
        size: bytes of the body until now.
    """

    __slots__ = ("_held", "opening", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.opening = b""
        self.size = 0
        self._held = 0  # bytes of the pieces

    def __repr__(self) -> str:
        return f"<Kept {self._held} of {self.size} bytes>"

    @property
    def body(self) -> bytes:
        """All that is kept, in one piece from now on."""
        if len(self.pieces) != 1:
            self.pieces = deque((b"".join(self.pieces),))
        return self.pieces[0]

    @body.setter
    def body(self, made: bytes) -> None:
        """Another one stands in its place."""
        self.pieces, self._held = deque((made,)), len(made)

    def hold(self, data: bytes) -> None:
        """One more piece of a body that is held."""
        self.pieces.append(data)
        self.size += len(data)
        self._held += len(data)

    def let_go(self) -> bytes:
        """It is forwarded from now on: returns what was held."""
        held = b"".join(self.pieces)
        self.body, self.opening = held[-TAIL:], held[:OPENING]
        return held

    def slide(self, data: bytes) -> None:
        """One more piece of a body that is forwarded: the oldest may be forgotten for it."""
        self.hold(data)
        while self._held - len(self.pieces[0]) >= TAIL:
            self._held -= len(self.pieces.popleft())
