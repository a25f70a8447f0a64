"""Events of a stream that differ in their text only: the way past most of the parsing.

It is sound because a JSON document with one string replaced by another string is that document with
that string: nothing else can have changed where the bytes around it are the same.
"""

from __future__ import annotations

from typing import Final

import orjson

MOST_LESSONS: Final = 8


class Alike:
    """Chunks that differ from the one before in nothing but their text, which is how most hosts
    write most of them: of these only the text is parsed. Owns the bytes around it.

    Hosts that write something new into each chunk are given up soon.

    Arguments:
        key: the member that has the text, quoted, with its colon.
    """

    __slots__ = ("_before", "_behind", "_key", "_left", "block")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._before = self._behind = b""
        self._left = MOST_LESSONS
        self.block = -1

    def __repr__(self) -> str:
        return f"<Alike {len(self._before)}+{len(self._behind)} bytes, {self._left} lessons left>"

    def said(self, data: bytes) -> str | None:
        """The text of a chunk that is like the one before; None for any other, and for no text."""
        before, behind = self._before, self._behind
        if not before or not data.startswith(before) or not data.endswith(behind):
            return None
        try:
            said = orjson.loads(data[len(before) : len(data) - len(behind)])
        except orjson.JSONDecodeError:
            return None
        return said if said.__class__ is str else None

    def learn(self, data: bytes, said: str, block: int) -> None:
        """`data` says `said` and nothing else, in an open block."""
        if not self._left:
            return
        self._left -= 1
        start = data.find(self._key) + len(self._key)
        start += data[start : start + 1] == b" "
        written = orjson.dumps(said)
        if data.count(self._key) == 1 and data.startswith(written, start):
            self._before, self._behind = data[:start], data[start + len(written) :]
            self.block = block

    def forget(self) -> None:
        """Another kind of chunk came."""
        self._before = b""
