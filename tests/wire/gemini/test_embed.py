"""Google's embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall, BadReply
from relayd.model import Usage
from relayd.wire.capabilities import UNKNOWN
from relayd.wire.gemini import embed
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.paths import Target
from relayd.wire.setting import Going
from relayd.wire.vectors import Texts, Vectors

ALONE = Target("gemini", "embed", "m", verb="embedContent")
MANY = Target("gemini", "embed", "m", verb="batchEmbedContents")


def going(to: Any = "gemini", *, lenient: bool = False) -> Going:
    return Going(to, "up", UNKNOWN, Losses(to, lenient=lenient))


def content(*texts: str) -> Any:
    return {"parts": [{"text": each} for each in texts]}


def test_both_verbs_are_answered() -> None:
    """wire-formats, trap 114."""
    alone = embed.decode({"content": content("a"), "outputDimensionality": 2}, ALONE)
    assert (alone.inputs, alone.dimensions, alone.alone, alone.model) == (["a"], 2, True, "m")
    asked = [{"model": "models/m", "content": content(each)} for each in "ab"]
    many = embed.decode({"requests": asked}, MANY)
    assert (many.inputs, many.dimensions, many.alone) == (["a", "b"], None, False)
    vectors = Vectors([[1.0]], Usage(in_uncached=3))
    usage = {"promptTokenCount": 3, "totalTokenCount": 3}
    assert embed.document(vectors, alone, "m") == {
        "embedding": {"values": [1.0]},
        "usageMetadata": usage,
    }
    assert embed.document(Vectors([[1.0], [2.0]]), many, "m") == {
        "embeddings": [{"values": [1.0]}, {"values": [2.0]}],
    }


def test_both_spellings_are_one() -> None:
    body = {"content": {"parts": [{"text": "a"}]}, "output_dimensionality": 4}
    assert embed.decode(body, ALONE).dimensions == 4


def test_several_parts_are_one_text() -> None:
    assert embed.decode({"content": content("a", "b")}, ALONE).inputs == ["a\nb"]


@pytest.mark.parametrize(
    ("body", "target", "param"),
    [
        ({}, ALONE, "content"),
        ({"content": {"parts": []}}, ALONE, "content"),
        ({"content": {"parts": [{"executableCode": {}}]}}, ALONE, "content"),
        ({}, MANY, "requests"),
        ({"requests": [{}]}, MANY, "requests[0].content"),
        (
            {
                "requests": [
                    {"content": content("a"), "outputDimensionality": 1},
                    {"content": content("a")},
                ]
            },
            MANY,
            "requests[0].outputDimensionality",
        ),
    ],
)
def test_what_is_no_text_is_refused(body: Any, target: Target, param: str) -> None:
    with pytest.raises(BadCall) as refused:
        embed.decode(body, target)
    assert refused.value.param == param


def test_a_task_is_lost_only_where_the_client_is_lenient() -> None:
    body = {"requests": [{"content": content("a"), "taskType": "RETRIEVAL_QUERY"}]}
    texts = embed.decode(body, MANY)
    with pytest.raises(CannotTranslate) as refused:
        texts.ask(Losses("chat"))
    assert refused.value.param == "requests[0].taskType"
    losses = Losses("chat", lenient=True)
    texts.ask(losses)
    assert losses.dropped == ("requests[0].taskType",)


def test_each_text_is_a_request_of_its_own() -> None:
    texts = Texts(source="chat", inputs=["a", "b"], dimensions=2)
    assert embed.encode(texts, going()) == {
        "requests": [
            {"model": "models/up", "content": content(each), "outputDimensionality": 2}
            for each in "ab"
        ]
    }
    [one] = embed.encode(Texts(source="chat", inputs=["a"]), going())["requests"]
    assert "outputDimensionality" not in one


def test_token_ids_are_refused() -> None:
    with pytest.raises(CannotTranslate) as refused:
        embed.encode(Texts(source="chat", inputs=[], tokens=True), going())
    assert refused.value.param == "input"


def test_replies_to_both_verbs_are_vectors() -> None:
    usage = {"promptTokenCount": 3}
    alone = embed.reply({"embedding": {"values": [1, 2]}, "usageMetadata": usage})
    assert alone == Vectors([[1, 2]], Usage(in_uncached=3))
    many = embed.reply({"embeddings": [{"values": [1.5]}, {"values": []}]})
    assert many == Vectors([[1.5], []])


@pytest.mark.parametrize("values", [None, "!", ["a"], [True]])
def test_what_is_no_vector_is_a_bad_reply(values: Any) -> None:
    with pytest.raises(BadReply):
        embed.reply({"embeddings": [{"values": values}]})
