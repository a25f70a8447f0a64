"""Model names with `*`: what matches, what the stars stood for, which is the most particular.

A name comes from a client, so matching must not blow up on a nasty one: the pieces between the
stars are searched left to right, each once, with no regular expression and no backtracking. Case
counts; `*` stands for any characters, also none, also slashes; nothing else is special.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest


class Glob:
    """One pattern with at least one star, taken apart once."""

    __slots__ = ("_head", "_middle", "_tail", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._head, *self._middle, self._tail = pattern.split("*")

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"

    @property
    def particularity(self) -> tuple[int, int]:
        """Larger is more particular: the literal start decides, then all literal characters."""
        return len(self._head), len(self.pattern) - self.pattern.count("*")

    def match(self, name: str) -> list[str] | None:
        """What each star stands for, or None. Inner stars take as little as they can."""
        at, end = len(self._head), len(name) - len(self._tail)
        if at > end or not (name.startswith(self._head) and name.endswith(self._tail)):
            return None
        stars = []
        for piece in self._middle:
            found = name.find(piece, at, end)
            if found < 0:
                return None
            stars.append(name[at:found])
            at = found + len(piece)
        stars.append(name[at:end])
        return stars


def fill(target: str, stars: Sequence[str]) -> str:
    """The target with its stars replaced in order: `vendor/*` and `["m-1"]` make `vendor/m-1`.

    A star too many stays a star; one too few drops what it stood for.
    """
    first, *pieces = target.split("*")
    pairs = zip_longest(stars[: len(pieces)], pieces, fillvalue="*")
    return first + "".join(star + piece for star, piece in pairs)
