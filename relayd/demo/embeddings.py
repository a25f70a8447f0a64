"""Embeddings in OpenAI's and Gemini's shapes (wire-formats 6 and 5.4).

A vector derives from its text alone: the same text always gets the same direction, and fewer
dimensions are the start of more, normalised again, as with the real models.
"""

from __future__ import annotations

import base64
import hashlib
import math
from array import array
from typing import Final

from relayd.demo.ask import Document, count, dicts, table, text_of, tokens_of, weigh
from relayd.demo.gemini import either
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

DIMENSIONS: Final = 64
MOST_DIMENSIONS: Final = 8192
MOST_INPUTS: Final = 2048


def vector(text: str, dimensions: int) -> array[float]:
    """A unit vector of float32 for a text."""
    digest = hashlib.shake_128(text.encode("utf-8", "replace")).digest(2 * dimensions)
    raw = [digest[i] * 256 + digest[i + 1] - 32767.5 for i in range(0, len(digest), 2)]
    length = math.sqrt(sum(value * value for value in raw))
    return array("f", [value / length for value in raw])


def openai(document: Document, name: Name) -> Document:
    """The reply of `/v1/embeddings`."""
    texts, tokens = _inputs(document.get("input"))
    dimensions = _dimensions(document.get("dimensions"))
    as_base64 = document.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(text, dimensions) if as_base64 else list(vector(text, dimensions)),
        }
        for index, text in enumerate(texts)
    ]
    body: Document = {"object": "list", "data": data, "model": name.model}
    if not name.has("no-usage"):
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return body


def _packed(text: str, dimensions: int) -> str:
    return base64.b64encode(vector(text, dimensions).tobytes()).decode()


def _inputs(asked: object) -> tuple[list[str], int]:
    """The texts to embed, and their tokens; token arrays count as they are."""
    if isinstance(asked, str):
        asked = [asked]
    if not isinstance(asked, list) or not asked or len(asked) > MOST_INPUTS or asked == [""]:
        raise Refusal(400, "'$.input' is invalid. Please check the API reference.", param="input")
    if all(count(item) is not None for item in asked):
        asked = [asked]
    texts = []
    tokens = 0
    for item in asked:
        numbers = isinstance(item, list) and all(count(number) is not None for number in item)
        if not item or not (isinstance(item, str) or numbers):
            raise Refusal(
                400, "'$.input' is invalid. Please check the API reference.", param="input"
            )
        texts.append(item if isinstance(item, str) else f"tokens {item}")
        tokens += (
            tokens_of(len(item.encode("utf-8", "replace"))) if isinstance(item, str) else len(item)
        )
    return texts, tokens


def _dimensions(asked: object) -> int:
    if asked is None:
        return DIMENSIONS
    dimensions = count(asked)
    if dimensions is None or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise Refusal(400, f"'dimensions' must be from 1 to {MOST_DIMENSIONS}.", param="dimensions")
    return dimensions


def gemini(document: Document, name: Name) -> Document:
    """The reply of `:embedContent`."""
    values = {"embedding": {"values": _values(document)}}
    return values | _metadata(document.get("content"), name)


def gemini_batch(document: Document, name: Name) -> Document:
    """The reply of `:batchEmbedContents`."""
    requests = dicts(document.get("requests"))
    if not requests:
        raise Refusal(400, "* BatchEmbedContentsRequest.requests: requests is not specified\n")
    embeddings = [{"values": _values(request)} for request in requests]
    return {"embeddings": embeddings} | _metadata([r.get("content") for r in requests], name)


def _values(request: Document) -> list[float]:
    parts = table(request.get("content")).get("parts")
    text = text_of([parts] if isinstance(parts, dict) else parts)
    if not text:
        raise Refusal(400, "* EmbedContentRequest.content: content is empty\n")
    return list(vector(text, _dimensions(either(request, "outputDimensionality"))))


def _metadata(content: object, name: Name) -> Document:
    if name.has("no-usage"):
        return {}
    return {"usageMetadata": {"promptTokenCount": weigh(content)}}
