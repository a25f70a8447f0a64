"""What the demo provider keeps between requests: responses, files, batches; bounded, oldest first.

Everything belongs to the credential that it came with, as at a real provider: a response that was
made with one key is unknown to every other, so a relay that asks with the wrong key is found out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from relayd.demo.ask import Document

MOST_KEPT: Final = 1000
MOST_BYTES: Final = 64 * 1024 * 1024


class Kept:
    """One thing on the shelf, and how often it was looked at."""

    __slots__ = ("data", "looks", "size", "what")

    def __init__(self, what: Document, data: Any = None, size: int = 0) -> None:
        self.what = what
        self.data = data
        self.size = size
        self.looks = 0

    def __repr__(self) -> str:
        return f"Kept({self.what.get('id')}, {self.size} bytes, {self.looks} looks)"


class Shelf:
    """Owns what is kept; `changes` counts whatever makes an earlier answer untrue."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._bytes = 0
        self._made = 0
        self.changes = 0

    def put(self, owner: str, id: str, kept: Kept) -> None:
        """Keep something; the oldest go beyond the bounds."""
        self.drop(owner, id)
        self._kept[owner, id] = kept
        self._bytes += kept.size
        while len(self._kept) > MOST_KEPT or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self.drop(*next(iter(self._kept)))

    def get(self, owner: str, id: str) -> Kept | None:
        """What is kept under an id, if this owner has it."""
        return self._kept.get((owner, id))

    def drop(self, owner: str, id: str) -> bool:
        """Forget something; False when there is no such thing."""
        kept = self._kept.pop((owner, id), None)
        if kept is None:
            return False
        self._bytes -= kept.size
        self.changes += 1
        return True

    def of(self, owner: str, kind: str) -> Iterator[Document]:
        """Everything of a kind (its `object`) that an owner has, newest first."""
        for (whose, _), kept in reversed(self._kept.items()):
            if whose == owner and kept.what.get("object") == kind:
                yield kept.what

    def ids(self) -> tuple[tuple[str, str], ...]:
        """Owner and id of everything that is kept, oldest first."""
        return tuple(self._kept)

    def number(self) -> int:
        """A number that was never given before, for ids that must be new each time."""
        self._made += 1
        return self._made

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"Shelf({len(self)} kept, {self._bytes} bytes)"
