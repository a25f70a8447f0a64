"""Gemini's image models: pictures as parts of a candidate, and what a search adds to it.

Sizes are Google's own table (wire-formats 13.2), and as strict as Google: `2k` is no size. What a
picture costs goes by its size, and is told by modality.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from relayd.demo.ask import Document, string, strings
from relayd.demo.names import Name
from relayd.demo.pixels import png
from relayd.demo.refusal import Refusal

SIDES: Final = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
# The size's factor on the 1K sides, and its tokens.
SIZES: Final = {"512": (0.5, 747), "1K": (1, 1120), "2K": (2, 1120), "4K": (4, 2000)}


def wanted(modalities: object, config: Document, name: Name) -> tuple[int, int] | None:
    """The pixels of the picture that is wanted, or None when none is.

    Arguments:
        modalities: `responseModalities`; without them a name with `image` draws.
        config: the `imageConfig`.
    """
    listed = [kind.upper() for kind in strings(modalities)]
    if "IMAGE" not in (listed or (["IMAGE"] if "image" in name.model else [])):
        return None
    ratio = string(config.get("aspectRatio", config.get("aspect_ratio"))) or "1:1"
    size = string(config.get("imageSize", config.get("image_size"))) or "1K"
    for field, value, known in (("aspect_ratio", ratio, SIDES), ("image_size", size, SIZES)):
        if value not in known:
            raise Refusal(
                400,
                f"Invalid value at 'generation_config.image_config.{field}' (TYPE_STRING), "
                f'"{value}"',
            )
    factor = SIZES[size][0]
    return int(SIDES[ratio][0] * factor), int(SIDES[ratio][1] * factor)


def tokens(pixels: tuple[int, int]) -> int:
    """The output tokens of a picture."""
    area = pixels[0] * pixels[1]
    return 747 if area < 600_000 else 1120 if area < 6_000_000 else 2000


def part(pixels: tuple[int, int], seed: str) -> Document:
    """The part that holds a picture."""
    data = base64.b64encode(png(*pixels, seed)).decode()
    return {"inlineData": {"mimeType": "image/png", "data": data}}


def grounding(query: str) -> dict[str, Any]:
    """What a candidate says about the search that it made."""
    page = {"uri": "https://example.com/demo", "title": "example.com"}
    support = {"segment": {"endIndex": 3, "text": "You"}, "groundingChunkIndices": [0]}
    return {
        "groundingMetadata": {
            "webSearchQueries": [query[:100]],
            "searchEntryPoint": {"renderedContent": "<div>demo</div>"},
            "groundingChunks": [{"web": page}],
            "groundingSupports": [support],
        }
    }
