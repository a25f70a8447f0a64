"""Vectors and the texts they stand for."""

from __future__ import annotations

import base64
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relayd.errors import BadReply
from relayd.wire.vectors import Texts, Vectors, packed, unpacked, vector


@given(some.lists(some.floats(width=32, allow_nan=False)))
def test_a_vector_is_the_same_after_packing(values: list[float]) -> None:
    assert unpacked(packed(values)) == values
    assert base64.b64decode(packed(values)) == struct.pack(f"<{len(values)}f", *values)


@given(some.lists(some.floats(width=32, allow_nan=False)))
def test_a_machine_of_the_other_byte_order_writes_the_same(values: list[float]) -> None:
    here = sys.byteorder
    swapped = base64.b64encode(struct.pack(f">{len(values)}f", *values)).decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "byteorder", "big" if here == "little" else "little")
        assert packed(values) == swapped
        assert unpacked(swapped) == values


@pytest.mark.parametrize("data", ["!", "AAA=", "AAAAAAA="])
def test_what_cannot_be_unpacked_is_a_bad_reply(data: str) -> None:
    with pytest.raises(BadReply):
        unpacked(data)


@pytest.mark.parametrize("value", [None, {}, ["1"], [True]])
def test_what_is_no_vector_is_a_bad_reply(value: object) -> None:
    with pytest.raises(BadReply):
        vector(value)


def test_a_vector_has_two_forms() -> None:
    assert vector([1, 2.5]) == [1, 2.5]
    assert vector(packed([1.0])) == [1.0]


def test_there_is_one_vector_for_each_text() -> None:
    texts = Texts(source="chat", inputs=["a", "b"])
    assert Vectors([[1.0], [2.0]]).of(texts) == [[1.0], [2.0]]
    with pytest.raises(BadReply, match="1 vectors for 2 texts"):
        Vectors([[1.0]]).of(texts)
