"""Embeddings derive from their text, in the shape that was asked."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import orjson
import pytest

from relayd.demo.embeddings import DIMENSIONS, vector
from tests.demo.serving import script_of


def embed(asked: object, **more: Any) -> Any:
    document = {"model": "demo", "input": asked, **more}
    return orjson.loads(script_of("/v1/embeddings", document).whole)


def test_vectors_have_length_one_and_a_direction_of_their_own() -> None:
    assert sum(x * x for x in vector("a", 99)) == pytest.approx(1)
    assert vector("a", 99) == vector("a", 99) != vector("b", 99)


def test_base64_holds_the_same_floats() -> None:
    plain = embed("a")["data"][0]["embedding"]
    packed = embed("a", encoding_format="base64")["data"][0]["embedding"]
    assert len(plain) == DIMENSIONS
    assert list(array("f", base64.b64decode(packed))) == plain


def test_token_arrays_are_inputs_too() -> None:
    assert embed([1, 2, 3])["usage"]["prompt_tokens"] == 3
    reply = embed([[1, 2], [3]])
    assert [item["index"] for item in reply["data"]] == [0, 1]
    assert reply["usage"]["total_tokens"] == 3


def test_gemini_embeds_one_and_many_alike() -> None:
    request = {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}
    one = orjson.loads(script_of("/v1beta/models/demo:embedContent", request).whole)
    many = orjson.loads(
        script_of("/v1beta/models/demo:batchEmbedContents", {"requests": [request] * 2}).whole
    )
    assert many["embeddings"] == [one["embedding"]] * 2
    assert one["embedding"]["values"] == list(vector("a", 4))
    assert one["usageMetadata"]["promptTokenCount"] == 1


def test_usage_is_left_out_on_request() -> None:
    assert "usage" not in embed("a", model="demo-no-usage")
