"""What Google says of the sources of an answer, as citations of its text.

A segment is told in bytes of UTF-8, a citation in characters, so the text has to be at hand when
its sources come, which is behind it. What is kept is bounded; beyond that, sources have no places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relayd.wire.events import Cite
from relayd.wire.facts import objects, section, text
from relayd.wire.parts import Citation, Document

LONGEST: Final = 4 * 1024 * 1024  # characters
MOST: Final = 1000  # places and citations of one text
LONGEST_QUOTE: Final = 4000  # characters; one quote may have many sources, and a source many quotes
LONGEST_URL: Final = 8000
_STEP: Final = 4096  # bytes between two places whose distance from the start is kept
_INSIDE: Final = bytes(range(0x80, 0xC0))  # of a character of UTF-8 but its first


class Said:
    """The text of one block so far. Owns its pieces.

    However often sources are told, the text is encoded once, and a place in it is found by what was
    counted before: an upstream that names thousands of places costs no more than their number.
    """

    __slots__ = ("_left", "_marks", "_pieces", "_size", "_whole")

    def __init__(self) -> None:
        self._pieces: list[str] = []  # that `_whole` does not have yet
        self._size = 0
        self._whole = bytearray()
        self._marks = [0]  # characters before each step
        self._left = MOST

    def __repr__(self) -> str:
        return f"<Said {self._size} characters>"

    def add(self, piece: str) -> None:
        """More of it."""
        self._size += len(piece)
        if self._size <= LONGEST:
            self._pieces.append(piece)

    def cited(self, block: int, grounding: Document) -> Iterator[Cite]:
        """The citations of a `groundingMetadata` for the text of `block`."""
        self._take()
        chunks = objects(grounding.get("groundingChunks"))
        for support in objects(grounding.get("groundingSupports")):
            segment = section(support.get("segment"))
            places: tuple[int | None, int | None] | None = None
            for source in _sources(support, chunks):
                if self._left <= 0:
                    return
                self._left -= 1
                places = places or self._place(segment)
                yield Cite(block, _citation(source, segment, places))

    def _take(self) -> None:
        """Encode what was added, and count its characters."""
        self._whole += "".join(self._pieces).encode("utf-8", "surrogatepass")
        self._pieces.clear()
        while len(self._marks) * _STEP <= len(self._whole):
            end = len(self._marks) * _STEP
            self._marks.append(self._marks[-1] + _length(self._whole[end - _STEP : end]))

    def _place(self, segment: Document) -> tuple[int | None, int | None]:
        """Where the segment is, in characters; unknown where it is not the text that is named."""
        start, end = segment.get("startIndex") or 0, segment.get("endIndex")
        if self._size > LONGEST or not isinstance(start, int) or not isinstance(end, int):
            return None, None
        if not 0 <= start <= end <= len(self._whole):
            return None, None
        said = text(segment.get("text")).encode("utf-8", "surrogatepass")
        if said and (len(said) != end - start or not self._whole.startswith(said, start)):
            return None, None
        return self._before(start), self._before(end)

    def _before(self, end: int) -> int:
        """The characters that begin in the bytes before `end`."""
        mark = end // _STEP
        return self._marks[mark] + _length(self._whole[mark * _STEP : end])


def _length(piece: bytearray) -> int:
    """The characters that begin in `piece`."""
    return len(piece.translate(None, _INSIDE))


def _sources(support: Document, chunks: list[Document]) -> Iterator[Document]:
    indices = support.get("groundingChunkIndices")
    for index in indices if isinstance(indices, list) else ():
        if isinstance(index, int) and 0 <= index < len(chunks):
            chunk = chunks[index]
            source = section(chunk.get("web")) or section(chunk.get("retrievedContext"))
            if len(text(source.get("uri"))) <= LONGEST_URL:
                yield source


def _citation(
    source: Document, segment: Document, places: tuple[int | None, int | None]
) -> Citation:
    quoted, title = text(segment.get("text")), text(source.get("title"))
    if len(quoted) > LONGEST_QUOTE:
        quoted = ""
    return Citation(text(source.get("uri")), title[:LONGEST_QUOTE], quoted, *places)
