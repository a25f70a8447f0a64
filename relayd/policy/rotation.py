"""Smooth weighted round robin: exact shares, evenly mixed, nothing random.

nginx's rule: at each pick every candidate gains its weight, the richest is picked and pays the sum
of what all gained. With weights 5, 1, 1 the order is A A B A C A A, not five As in a row; any
window as long as the sum of the weights holds each candidate exactly as often as it weighs. A pick
that leaves some out (they were tried already) moves riches only among the others, so in the long
run nobody's share suffers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


class Rotation:
    """Whose turn it is among candidates 0 to n-1. Owns the riches; they always sum up to 0."""

    __slots__ = ("_riches", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._riches = [0] * len(self._weights)

    def __repr__(self) -> str:
        turns = ", ".join(f"{r}/{w}" for r, w in zip(self._riches, self._weights, strict=True))
        return f"Rotation({turns})"

    def next(self, without: Collection[int] = ()) -> int | None:
        """The candidate whose turn it is; None when all are left out.

        Weight 0 is a reserve: taken when those with weight are left out.
        """
        riches, best, total = self._riches, None, 0
        for i, weight in enumerate(self._weights):
            if without and i in without:
                continue
            riches[i] += weight
            total += weight
            if best is None or riches[i] > riches[best]:
                best = i
        if best is not None:
            riches[best] -= total
        return best
