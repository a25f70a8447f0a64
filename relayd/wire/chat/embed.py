"""OpenAI's embeddings, to and from the hub's."""

from __future__ import annotations

from typing import Final

from relayd.wire import checked, embeddings
from relayd.wire.facts import objects, tokens
from relayd.wire.parts import Document, Loss
from relayd.wire.paths import Target
from relayd.wire.setting import Going
from relayd.wire.vectors import Texts, Vectors, packed, vector

MOST: Final = 2048  # texts of one request
LOSSES: Final[dict[str, Loss]] = {"user": "silent"}
_BODY: Final = frozenset({"model", "input", "dimensions", "encoding_format"})


def decode(document: Document, target: Target) -> Texts:
    """The texts that a client asks about. Raises BadCall."""
    encoding = checked.string(document, "encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise checked.wrong("encoding_format", "float or base64")
    inputs = document.get("input")
    texts = [inputs] if isinstance(inputs, str) else checked.listed(document, "input")
    if not texts:
        raise checked.missing("input")
    if len(texts) > MOST:
        raise checked.wrong("input", f"at most {MOST} texts")
    counted = all(_is_tokens(each) for each in texts)
    for index, each in enumerate(texts):
        if not counted and not isinstance(each, str):
            raise checked.wrong(f"input[{index}]", "a text")
    return Texts(
        source="chat",
        model=checked.string(document, "model") or "",
        inputs=[] if counted else texts,
        tokens=counted,
        dimensions=checked.whole(document, "dimensions", least=1),
        encoding="base64" if encoding == "base64" else "float",
        extra=checked.rest(document, _BODY, LOSSES),
    )


def encode(texts: Texts, going: Going) -> Document:
    """The body for an upstream. Raises CannotTranslate."""
    texts.ask(going.losses)
    document: Document = {"model": going.model, "input": texts.inputs, "encoding_format": "float"}
    if texts.dimensions is not None:
        document["dimensions"] = texts.dimensions
    return document


def reply(document: Document) -> Vectors:
    """The vectors of an upstream's reply. Raises BadReply."""
    found = objects(document.get("data"))
    found.sort(key=lambda each: tokens(each.get("index")) or 0)
    values = [vector(each.get("embedding")) for each in found]
    return Vectors(values, embeddings.usage_of(document.get("usage")))


def document(vectors: Vectors, texts: Texts, model: str, estimate: int = 0) -> Document:
    """The reply to a client.

    Arguments:
        model: what the reply calls it.
        estimate: tokens, where the upstream counted none.

    Raises BadReply where texts and vectors are not as many.
    """
    used = vectors.usage.in_uncached if vectors.usage is not None else None
    count = estimate if used is None else used
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": packed(each) if texts.encoding == "base64" else each,
        }
        for index, each in enumerate(vectors.of(texts))
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _is_tokens(value: object) -> bool:
    """A token id, or a list of them."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, int) for each in value)
    return isinstance(value, int) and not isinstance(value, bool)
