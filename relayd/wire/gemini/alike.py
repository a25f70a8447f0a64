"""Chunks of a stream that differ in their text and their counts only: the way past the parsing.

As `wire.alike`, with one thing more: Gemini repeats its usage in every chunk, and counts on. So a
chunk is cut in five: what stands before the text, the text, what stands between, the usage, and the
rest. Where the three fixed pieces are the same bytes as before, and the usage is the same but for
its digits, nothing else can have changed; the text alone is parsed, and the usage kept as bytes
until somebody asks. No text can hold the piece between by itself: there are quotes in it, which a
text writes with a backslash.
"""

from __future__ import annotations

from typing import Final

import orjson

MOST_LESSONS: Final = 8
_TEXT: Final = b'"text":'
_USAGE: Final = b'"usageMetadata":'
_DIGITS: Final = b"0123456789"


class Alike:
    """Owns the bytes around the text and the usage of the last chunk that was understood.

    Hosts that write something new into each chunk are given up soon.
    """

    __slots__ = ("_before", "_behind", "_between", "_left", "_shape", "usage")

    def __init__(self) -> None:
        self._before = self._between = self._behind = self._shape = b""
        self._left = MOST_LESSONS
        self.usage = b""  # of the last chunk that was only cut, not parsed

    def __repr__(self) -> str:
        fixed = len(self._before), len(self._between), len(self._behind)
        return f"<Alike {fixed} bytes, {self._left} lessons left>"

    def said(self, data: bytes) -> str | None:
        """The text of a chunk that is like the one before; None for any other, and for no text."""
        before = self._before
        if not before or not data.startswith(before) or not data.endswith(self._behind):
            return None
        start = len(before)
        end = data.find(self._between, start)
        if end < 0:
            return None
        usage = data[end + len(self._between) : len(data) - len(self._behind)]
        if usage.translate(None, _DIGITS) != self._shape:
            return None
        try:
            said = orjson.loads(data[start:end])
        except orjson.JSONDecodeError:
            return None
        if said.__class__ is not str:
            return None
        self.usage = usage
        text: str = said
        return text

    def learn(self, data: bytes, said: str) -> None:
        """`data` says `said` and nothing else, with its usage behind it."""
        if not self._left:
            return
        self._left -= 1
        start = _behind_key(data, _TEXT)
        written = orjson.dumps(said)
        end = start + len(written)
        usage = _behind_key(data, _USAGE)
        until = _object_end(data, usage)
        if start and end < usage < until and data.startswith(written, start):
            self._before, self._between = data[:start], data[end:usage]
            self._behind = data[until:]
            self._shape = data[usage:until].translate(None, _DIGITS)

    def forget(self) -> None:
        """Another kind of chunk came."""
        self._before = b""


def _behind_key(data: bytes, key: bytes) -> int:
    """Where the value of a key begins; 0 where the key does not stand exactly once."""
    if data.count(key) != 1:
        return 0
    start = data.find(key) + len(key)
    return start + (data[start : start + 1] == b" ")


def _object_end(data: bytes, start: int) -> int:
    """Behind the object that begins there; 0 where there is none that is easily found."""
    depth, until = 0, start
    while True:
        closing = data.find(b"}", until)
        if closing < 0 or data[start : start + 1] != b"{":
            return 0
        depth += data.count(b"{", until, closing) - 1
        until = closing + 1
        if not depth:
            return until
