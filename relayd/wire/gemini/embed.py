"""Google's embeddings, to and from the hub's: `embedContent` asks about one text, and
`batchEmbedContents` about many, each with its own parameters."""

from __future__ import annotations

from typing import Final

from relayd.errors import BadCall
from relayd.model import Usage
from relayd.wire import checked
from relayd.wire.facts import objects, section
from relayd.wire.gemini import reply as replies
from relayd.wire.gemini.contents import camel, parts
from relayd.wire.parts import Document, Extras, Loss, Text
from relayd.wire.paths import Target
from relayd.wire.setting import Going
from relayd.wire.vectors import Texts, Vectors, vector

ALONE: Final = "embedContent"
LOSSES: Final[dict[str, Loss]] = {"taskType": "lenient", "title": "lenient"}
_BODY: Final = frozenset({"model", "content", "outputDimensionality"})


def decode(document: Document, target: Target) -> Texts:
    """The texts that a client asks about. Raises BadCall."""
    body = camel(document)
    alone = target.verb == ALONE
    asked = [("", body)] if alone else list(checked.sections(body, "requests"))
    if not asked:
        raise checked.missing("requests")
    dimensions = {checked.whole(each, "outputDimensionality", at, least=1) for at, each in asked}
    if len(dimensions) > 1:
        at = checked.path(asked[0][0], "outputDimensionality")
        message = f"`{at}` must be the same in all requests."
        raise BadCall(message, code="invalid_value", param=at)
    extra: Extras = {}
    for at, each in asked:
        for name, kept in checked.rest(each, _BODY, LOSSES).items():
            extra[checked.path(at, name)] = kept
    return Texts(
        source="gemini",
        model=target.model or "",
        inputs=[_text(each, at) for at, each in asked],
        dimensions=dimensions.pop(),
        alone=alone,
        extra=extra,
    )


def _text(asked: Document, at: str) -> str:
    """The text of a content; several parts of it are embedded as one."""
    place = checked.path(at, "content")
    content = checked.section(asked, "content", at)
    found = parts(content, place) if content is not None else []
    if not found:
        raise checked.missing(place)
    texts = [part.text for part in found if isinstance(part, Text)]
    if len(texts) < len(found):
        message = f"`{place}` must be text to be translated for this model."
        raise BadCall(message, code="unsupported_value", param=place)
    return "\n".join(texts)


def encode(texts: Texts, going: Going) -> Document:
    """The body of a `batchEmbedContents`. Raises CannotTranslate."""
    texts.ask(going.losses)
    if texts.tokens:
        why = "token ids are those of another provider's model"
        raise going.losses.refusal("input", why, code="unsupported_value")
    dimensions = {} if texts.dimensions is None else {"outputDimensionality": texts.dimensions}
    model = {"model": f"models/{going.model}"}
    return {
        "requests": [
            model | {"content": {"parts": [{"text": each}]}} | dimensions for each in texts.inputs
        ]
    }


def reply(document: Document) -> Vectors:
    """The vectors of an upstream's reply to either verb. Raises BadReply."""
    alone = document.get("embedding")
    found = [section(alone)] if alone is not None else objects(document.get("embeddings"))
    values = [vector(each.get("values")) for each in found]
    return Vectors(values, replies.usage_of(document.get("usageMetadata")))


def document(vectors: Vectors, texts: Texts, model: str, estimate: int = 0) -> Document:
    """The reply to a client. `model` and `estimate` have no place in it.

    Raises BadReply where texts and vectors are not as many.
    """
    found = [{"values": each} for each in vectors.of(texts)]
    told: Document = {"embedding": found[0]} if texts.alone else {"embeddings": found}
    usage = vectors.usage or Usage()
    if usage.in_uncached is not None:
        told["usageMetadata"] = {
            "promptTokenCount": usage.in_uncached,
            "totalTokenCount": usage.in_uncached,
        }
    return told
