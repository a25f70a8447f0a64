"""Sizes of pictures: OpenAI asks for pixels, Google for a shape and a class of size.

Neither is the other's, so a size becomes the nearest that the model draws: of shapes the one that
differs least as a factor, of classes the one that the pixels fall into. Which shapes and classes a
model has is a fact about it (`Capability`); what they are in pixels is Google's table, and stands
here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log, sqrt
from typing import Final, NamedTuple

from relayd.wire.capabilities import Capability
from relayd.wire.parts import Document


class Pixels(NamedTuple):
    """How wide and how high a picture is."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def ratio(self) -> float:
        """The width as a multiple of the height."""
        return self.width / self.height

    @property
    def side(self) -> float:
        """The side of a square of the same area."""
        return sqrt(self.width * self.height)


# A shape -> its pixels at 1K; the other classes are multiples of these.
SHAPES: Final[dict[str, Pixels]] = {
    "1:1": Pixels(1024, 1024),
    "2:3": Pixels(848, 1264),
    "3:2": Pixels(1264, 848),
    "3:4": Pixels(896, 1200),
    "4:3": Pixels(1200, 896),
    "4:5": Pixels(928, 1152),
    "5:4": Pixels(1152, 928),
    "9:16": Pixels(768, 1376),
    "16:9": Pixels(1376, 768),
    "21:9": Pixels(1584, 672),
    "1:4": Pixels(512, 2048),
    "4:1": Pixels(2048, 512),
    "1:8": Pixels(384, 3072),
    "8:1": Pixels(3072, 384),
}
# A class -> twice its factor, from the smallest; half of the way up begins the next.
CLASSES: Final[dict[str, int]] = {"512": 1, "1K": 2, "2K": 4, "4K": 8}
USUAL_CLASS: Final = "1K"
_STEP: Final = 16  # OpenAI's free sizes are multiples of this,
_SLIMMEST: Final = 3.0  # have no side that is longer than so many of the other,
_LARGEST: Final = Pixels(3840, 2160)  # and no more pixels, nor a longer side, than this
_SIZE: Final = re.compile(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})")
_SHAPE: Final = re.compile(r"([1-9]\d?):([1-9]\d?)")


def pixels(text: str) -> Pixels | None:
    """A size such as 1024x1536; None where it is none."""
    found = _SIZE.fullmatch(text)
    return Pixels(int(found[1]), int(found[2])) if found else None


def for_google(wanted: Pixels, can: Capability) -> Document:
    """The `imageConfig` that comes nearest to a size."""
    known = [name for name in can.aspects if name in SHAPES] or list(SHAPES)
    shape = min(known, key=lambda name: _apart(SHAPES[name].ratio, wanted.ratio))
    config: Document = {"aspectRatio": shape}
    size = _class_of(wanted, [name for name in CLASSES if name in can.picture_sizes])
    # Models of one size only have no such field, and what is usual need not be said.
    return config if size == USUAL_CLASS else config | {"imageSize": size}


def for_openai(wanted: Pixels, can: Capability) -> str:
    """The size that comes nearest to another: of those that the model has, or a free one."""
    known = [size for name in can.picture_sizes if (size := pixels(name)) is not None]
    if not known:
        return str(_free(wanted))
    return str(
        min(known, key=lambda s: (_apart(s.ratio, wanted.ratio), _apart(s.side, wanted.side)))
    )


def of_google(config: Document) -> Pixels | None:
    """The pixels that an `imageConfig` asks for; None where it says nothing of the kind, or nothing
    that can be understood."""
    shape, size = config.get("aspectRatio"), config.get("imageSize")
    factor = CLASSES.get(str(size or USUAL_CLASS).upper())
    base = _shaped(str(shape or "1:1"))
    if factor is None or base is None or not (shape or size):
        return None
    return Pixels(base.width * factor // 2, base.height * factor // 2)


def _shaped(name: str) -> Pixels | None:
    known = SHAPES.get(name)
    found = _SHAPE.fullmatch(name)
    if known is not None or found is None:
        return known
    ratio = int(found[1]) / int(found[2])
    return Pixels(round(1024 * sqrt(ratio)), round(1024 / sqrt(ratio)))


def _apart(one: float, other: float) -> float:
    """How far two numbers are from each other, as a factor."""
    return abs(log(one / other))


def _class_of(wanted: Pixels, known: Sequence[str]) -> str:
    """The class of a size, among those that there are; its usual one where nobody knows any."""
    edges = [(name, 512 * twice * sqrt(2)) for name, twice in CLASSES.items()]
    place = next((at for at, (_, edge) in enumerate(edges) if wanted.side < edge), len(edges) - 1)
    names = list(CLASSES)
    if not known:
        return names[max(place, names.index(USUAL_CLASS))]
    return min(known, key=lambda name: abs(names.index(name) - place))


def _free(wanted: Pixels) -> Pixels:
    """A size that models of free sizes take."""
    ratio = min(max(wanted.ratio, 1 / _SLIMMEST), _SLIMMEST)
    area = min(wanted.width * wanted.height, _LARGEST.width * _LARGEST.height)
    width, height = sqrt(area * ratio), sqrt(area / ratio)
    shrink = min(1.0, _LARGEST.width / max(width, height))
    # Down, so that neither bound is passed again.
    fitted = Pixels(_stepped(width * shrink), _stepped(height * shrink))
    least = max(fitted) / _SLIMMEST
    return Pixels(max(fitted.width, _up(least)), max(fitted.height, _up(least)))


def _stepped(length: float) -> int:
    return max(int(length + 0.5) // _STEP, 1) * _STEP


def _up(length: float) -> int:
    return -int(-length // _STEP) * _STEP
