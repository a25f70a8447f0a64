"""How many tokens so many bytes are, without a tokenizer: bytes per token, by model, learned.

Every reply that reports its usage is an example: so many bytes of prompt were so many tokens. Per
model two sums are kept, of bytes and of tokens, and both fade by a sixty-fourth with each example,
so the ratio follows what clients send now. It starts at four bytes a token, which the first few
examples outweigh. An example beyond 1 to 16 bytes a token (an image in base64, a prompt that the
provider keeps) counts as the nearer of these, and none weighs more than 4,000 tokens. At most a
thousand models are known; the one that was learned from longest ago makes room.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

USUAL = 4.0  # bytes a token
LEAST, MOST = 1.0, 16.0
MODELS = 1000
LONGEST_NAME = 256
FADING = 1 - 1 / 64
START = 200.0  # tokens that the usual ratio weighs at first
HEAVIEST = 4000.0  # tokens that one example weighs at most
LARGEST = 2.0**40  # bytes or tokens in one example; more is garbage


class Estimates:
    """Bytes per token. Owns the sums.

    `dirty` says that something was learned since the last `snapshot`; whoever could not save one
    sets it again.
    """

    __slots__ = ("_sums", "dirty")

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self.dirty = False

    def __repr__(self) -> str:
        return f"Estimates({len(self._sums)} models{', dirty' if self.dirty else ''})"

    def tokens(self, model: str, size: int) -> int:
        """How many tokens so many bytes probably are, rounded up."""
        sums = self._sums.get(model)
        if sums is None:
            return -(-size // 4)
        return int(size * sums[1] / sums[0]) + 1 if size > 0 else 0

    def ratio(self, model: str) -> float:
        """Bytes a token."""
        size, tokens = self._sums.get(model, (USUAL, 1.0))
        return size / tokens

    def learn(self, model: str, size: int, tokens: int) -> None:
        """A prompt of `size` bytes was so many tokens."""
        if not (0 < size <= LARGEST and 0 < tokens <= LARGEST) or len(model) > LONGEST_NAME:
            return
        known = self._sums.pop(model, None)  # put back last: the order is by the latest example
        if known is None:
            known = (START * USUAL, START)
            self._make_room()
        counted = min(max(tokens, size / MOST), size / LEAST)
        # Models are everybody's: one padded prompt must not move the others' estimates.
        share = min(1.0, HEAVIEST / counted)
        self._sums[model] = (
            known[0] * FADING + size * share,
            known[1] * FADING + counted * share,
        )
        self.dirty = True

    def snapshot(self) -> dict[str, tuple[float, float]]:
        """All sums, by model, in the order in which `restore` wants them; now saved."""
        self.dirty = False
        return dict(self._sums)

    def restore(self, sums: Mapping[str, tuple[float, float]]) -> None:
        """Take over what a snapshot held; what makes no sense is left out."""
        for model, (size, tokens) in sums.items():
            # Rounding may leave a ratio just outside of what `learn` keeps to.
            if isfinite(size) and tokens > 0 and LEAST - 0.01 < size / tokens < MOST + 0.01:
                self._sums.pop(model, None)
                self._make_room()
                self._sums[model] = (size, tokens)

    def _make_room(self) -> None:
        if len(self._sums) >= MODELS:
            del self._sums[next(iter(self._sums))]
