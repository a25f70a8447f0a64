"""Embeddings between two formats: the texts that are asked about, and the vectors that come back.

Two formats have embeddings, and both say the same few things, so the hub of these is two records.
`chat.embed` and `gemini.embed` read and write them, each with the same four functions.
"""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from dataclasses import dataclass, field
from typing import Literal

from relayd.errors import BadReply
from relayd.model import FormatName, Usage
from relayd.wire.losses import Losses
from relayd.wire.parts import Extras


@dataclass(slots=True, kw_only=True)
class Texts:
    """A request for embeddings.

    Attributes:
        inputs: the texts; none where `tokens` is set.
        tokens: the client sent token ids, which only a provider of the same format can read.
        dimensions: of each vector; None is the model's own.
        encoding: how a chat client wants its vectors.
        alone: a Gemini client asked about one text by the verb that answers one.
        extra: what only the format of origin says, by its path.
    """

    source: FormatName
    model: str = ""
    inputs: list[str]
    tokens: bool = False
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    alone: bool = False
    extra: Extras = field(default_factory=dict)

    def ask(self, losses: Losses) -> None:
        """Ask whether what only the format of origin says may be left out."""
        losses.extras(self.extra)


@dataclass(slots=True)
class Vectors:
    """The vectors of all texts, in the order of these. `usage` is None where nobody counted."""

    values: list[list[float]]
    usage: Usage | None = None

    def of(self, texts: Texts) -> list[list[float]]:
        """One for each text. Raises BadReply where they are not as many."""
        if len(self.values) != len(texts.inputs):
            message = f"The upstream gave {len(self.values)} vectors for {len(texts.inputs)} texts."
            raise BadReply(message)
        return self.values


def packed(values: list[float]) -> str:
    """A vector as base64 of little-endian 32-bit floats, as OpenAI's clients read it."""
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def unpacked(data: str) -> list[float]:
    """The vector in `data`. Raises BadReply for what is none."""
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise BadReply("The upstream's vector cannot be read.") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def vector(value: object) -> list[float]:
    """A vector in either form. Raises BadReply for what is none."""
    if isinstance(value, str):
        return unpacked(value)
    if isinstance(value, list) and all(_is_number(each) for each in value):
        return value
    raise BadReply("The upstream's reply holds no vectors.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
