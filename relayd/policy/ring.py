"""Consistent hashing: a conversation that is new to us goes where its digest says.

Every name has points on a ring of 64-bit numbers, as many as it weighs times a density, and a
digest belongs to the owner of the next point. So after a restart, and in every process, the same
conversation finds the same key, and when a name leaves only its own conversations move, each to
whoever owns the point after.

For that, a name's points must depend on nothing but its own name and weight. The density is
therefore fixed, and only a ring that would grow too large is thinned, by halves: should such a ring
lose so much weight that a half is taken back, some other conversations move as well.

Rings never change, and many pools hold the same names: those are built once (`ring_of`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

DENSITY = 100  # points for each unit of weight
MOST_POINTS = 20_000  # 240 KB, 15 ms of building; more names than that have one each
MOST_SHARED = 256

_EIGHT = Struct(">8Q")  # one hash gives so many points


class Ring:
    """The points of all names. Never changed after it is built.

    Arguments:
        names: of the candidates; each once.
        weights: of each, 1 or more.
    """

    __slots__ = ("_count", "_owners", "_points")

    def __init__(self, names: Sequence[str], weights: Sequence[int]) -> None:
        self._count = len(names)
        owners: dict[int, int] = {}
        for owner, (name, share) in enumerate(zip(names, _shares(weights), strict=True)):
            owners.update(dict.fromkeys(_points(name, share), owner))
        self._points = array("Q", sorted(owners))
        self._owners = array("I", map(owners.__getitem__, self._points))

    def __repr__(self) -> str:
        return f"Ring({self._count} names, {len(self._points)} points)"

    def owner(self, digest: bytes) -> int:
        """Whose the digest is, as an index of the names; there is one.

        Arguments:
            digest: 8 bytes or more, evenly distributed; the first 8 count.
        """
        return self._owners[self._place(digest)]

    def order(self, digest: bytes) -> Iterator[int]:
        """Whom to ask, as indexes of the names: the owner of the digest, then those that follow."""
        owners, start = self._owners, self._place(digest)
        seen: set[int] = set()
        while len(seen) < self._count:
            owner = owners[start]
            if owner not in seen:
                seen.add(owner)
                yield owner
            start = start + 1 if start + 1 < len(owners) else 0

    def _place(self, digest: bytes) -> int:
        place = bisect_left(self._points, int.from_bytes(digest[:8], "big"))
        return place if place < len(self._points) else 0


@lru_cache(MOST_SHARED)
def ring_of(names: tuple[str, ...], weights: tuple[int, ...]) -> Ring:
    """The ring of these names."""
    return Ring(names, weights)


def _shares(weights: Sequence[int]) -> list[int]:
    thinning = 1
    while sum(weights) * DENSITY > MOST_POINTS * thinning:
        thinning *= 2
    return [max(1, weight * DENSITY // thinning) for weight in weights]


def _points(name: str, share: int) -> list[int]:
    blocks = [f"{name}#{i}".encode("utf-8", "surrogatepass") for i in range(-(-share // 8))]
    return [point for block in blocks for point in _EIGHT.unpack(blake2b(block).digest())][:share]
