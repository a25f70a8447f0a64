"""OpenAI's embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall, BadReply
from relayd.model import Usage
from relayd.wire.capabilities import UNKNOWN
from relayd.wire.chat import embed
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.paths import Target
from relayd.wire.setting import Going
from relayd.wire.vectors import Texts, Vectors, packed

ASKED = Target("chat", "embed", verb="embeddings")


def read(**body: Any) -> Texts:
    return embed.decode({"model": "m"} | body, ASKED)


@pytest.mark.parametrize(("said", "inputs"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_texts_are_one_or_several(said: Any, inputs: list[str]) -> None:
    texts = read(input=said, dimensions=3)
    assert (texts.inputs, texts.tokens, texts.dimensions, texts.model) == (inputs, False, 3, "m")


@pytest.mark.parametrize("said", [[1, 2], [[1, 2], [3]]])
def test_token_ids_are_known_as_such(said: Any) -> None:
    texts = read(input=said)
    assert (texts.inputs, texts.tokens) == ([], True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a", [True]]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
    ],
)
def test_what_is_no_request_is_refused(body: Any, param: str) -> None:
    with pytest.raises(BadCall) as refused:
        read(**body)
    assert refused.value.param == param


def test_what_only_openai_says_is_kept() -> None:
    losses = Losses("gemini")
    read(input="a", user="u").ask(losses)
    assert losses.dropped == ()
    with pytest.raises(CannotTranslate):
        read(input="a", truncate="END").ask(losses)


def test_embeddings_are_base64_by_default_and_floats_when_asked() -> None:
    """wire-formats, trap 155: OpenAI's library asks for base64 where its caller said nothing."""
    vectors = Vectors([[0.5, -1.0], [2.0]], Usage(in_uncached=7))
    inputs = ["a", "b"]
    for encoding, expected in (
        ("base64", [packed([0.5, -1.0]), packed([2.0])]),
        ("float", [[0.5, -1.0], [2.0]]),
        (None, [[0.5, -1.0], [2.0]]),
    ):
        texts = read(input=inputs, encoding_format=encoding)
        assert embed.document(vectors, texts, "asked") == {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": value}
                for index, value in enumerate(expected)
            ],
            "model": "asked",
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        }


@pytest.mark.parametrize("usage", [None, Usage()])
def test_what_nobody_counted_is_estimated(usage: Usage | None) -> None:
    document = embed.document(Vectors([[1.0]], usage), read(input="a"), "m", 5)
    assert document["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


def test_a_request_asks_for_floats() -> None:
    going = Going("chat", "up", UNKNOWN, Losses("chat"))
    texts = Texts(source="gemini", inputs=["a"])
    assert embed.encode(texts, going) == {
        "model": "up",
        "input": ["a"],
        "encoding_format": "float",
    }
    texts.dimensions = 4
    assert embed.encode(texts, going)["dimensions"] == 4


def test_vectors_come_in_the_order_of_their_index() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": packed([1.0])}]
    found = embed.reply({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    assert found.values == [[1.0], [2.0]]
    assert found.usage == Usage(in_uncached=3, total_reported=3)
    assert embed.reply({"data": [{"embedding": [1.0]}]}).usage is None


@pytest.mark.parametrize("vector", [None, "no base64", [None]])
def test_what_is_no_vector_is_a_bad_reply(vector: Any) -> None:
    with pytest.raises(BadReply):
        embed.reply({"data": [{"embedding": vector}]})
