"""A JSON array that arrives in pieces: its elements, each as soon as it is whole.

Gemini streams one array when it is not asked for server-sent events. The splitter keeps only what
must be known between two reads (how deep, inside a string or not, behind a comma or not) and the
pieces of the unfinished element; one regular expression runs from bracket to bracket, so each
byte is looked at once. A bare object in place of the array, as in errors, counts as its only
element.
"""

from __future__ import annotations

import re

_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_TO_QUOTE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_QUOTE, _LIST, _OPEN = ord('"'), ord("["), b"{["


class ArraySplitter:
    """Where a streamed array stands.

    Attributes:
        opened: the opening bracket was seen.
        closed: the closing bracket was seen.
        elements: how many elements are complete.
        after_comma: a comma came behind the last element.
        pending: bytes of the unfinished element.
    """

    __slots__ = (
        "_base",
        "_depth",
        "_escaped",
        "_in_string",
        "_limit",
        "_pieces",
        "after_comma",
        "closed",
        "elements",
        "opened",
        "pending",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Elements begin at this depth: inside the array's bracket, or outside of everything.
        self._base = 1
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._pieces: list[bytes] = []
        self.opened = False
        self.closed = False
        self.elements = 0
        self.after_comma = False
        self.pending = 0

    @property
    def inside(self) -> bool:
        """An element has begun and not ended."""
        return self._depth > self._base or self._in_string

    def feed(self, chunk: bytes) -> list[bytes]:
        """The elements that end in `chunk`; one beyond the limit is counted but not returned."""
        found: list[bytes] = []
        at = start = 0
        while at < len(chunk) and not self.closed:
            if self._in_string:
                at = self._leave_string(chunk, at)
                continue
            at = self._next_bracket(chunk, at)
            if at == len(chunk):
                break
            if chunk[at] == _QUOTE:
                self._in_string = True
            elif chunk[at] in _OPEN:
                start = self._descend(chunk, at, start)
            elif self._ascend():
                found += self._whole(chunk[start : at + 1])
            at += 1
        if self.inside:
            self._keep(chunk[start:])
        return found

    def _leave_string(self, chunk: bytes, at: int) -> int:
        """The position behind the closing quote, or the end of `chunk`."""
        end = _run(_TO_QUOTE, chunk, at + self._escaped)
        # Stopped short of a quote: a backslash is the last byte, and what it escapes comes later.
        self._escaped = end < len(chunk) and chunk[end] != _QUOTE
        self._in_string = end == len(chunk) or self._escaped
        return end + 1

    def _next_bracket(self, chunk: bytes, at: int) -> int:
        """The next bracket, or the quote of a string that does not end in `chunk`, or its end."""
        end = _run(_TO_BRACKET, chunk, at)
        if self._depth == self._base and b"," in chunk[at:end]:
            self.after_comma = True
        return end

    def _descend(self, chunk: bytes, at: int, start: int) -> int:
        """Enter a bracket; returns where the element it belongs to starts in `chunk`."""
        if not self._depth:
            self.opened = chunk[at] == _LIST
            self._base = int(self.opened)
        begins = self._depth == self._base
        self._depth += 1
        return at if begins else start

    def _ascend(self) -> bool:
        """Leave a bracket; True when that ended an element."""
        self._depth -= 1
        self.closed = self._depth == 0
        return self._depth == self._base

    def _whole(self, last: bytes) -> list[bytes]:
        self.elements += 1
        self.after_comma = False
        too_large = self.pending > self._limit
        element = b"".join([*self._pieces, last])
        self._pieces, self.pending = [], 0
        return [] if too_large else [element]

    def _keep(self, piece: bytes) -> None:
        self.pending += len(piece)
        if self.pending > self._limit:
            self._pieces = []
        else:
            self._pieces.append(piece)


def _run(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    """Where `pattern`, which matches even nothing, stops."""
    found = pattern.match(chunk, at)
    return found.end() if found else at
