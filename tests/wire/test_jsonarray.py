"""A streamed array: the same elements wherever the reads were cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.jsonarray import ArraySplitter
from tests.wire.cuts import cut, every_way, places

texts = st.text(alphabet='a"\\{}[],:\n', max_size=8)
elements = st.lists(
    st.dictionaries(
        texts, texts | st.lists(texts, max_size=2) | st.dictionaries(texts, texts, max_size=1)
    ),
    max_size=4,
)


@given(elements, places, st.booleans())
def test_elements_are_the_same_wherever_the_reads_were_cut(
    value: list[dict[str, Any]], cuts: list[int], indented: bool
) -> None:
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)
    splitter = ArraySplitter(10_000)
    found = [element for piece in cut(data, cuts) for element in splitter.feed(piece)]
    assert [orjson.loads(element) for element in found] == value
    assert splitter.closed
    assert splitter.opened
    assert not splitter.inside
    assert splitter.elements == len(value)


def test_googles_separators_are_followed_every_way() -> None:
    for pieces in every_way(b'[{"a":"x\\\\"}\n,\r\n{"b":["]"]}\n]\n'):
        splitter = ArraySplitter(100)
        found = [element for piece in pieces for element in splitter.feed(piece)]
        assert found == [b'{"a":"x\\\\"}', b'{"b":["]"]}']
        assert splitter.closed


@pytest.mark.parametrize(
    ("data", "opened", "inside", "after_comma", "count"),
    [
        (b"", False, False, False, 0),
        (b" ", False, False, False, 0),
        (b"[", True, False, False, 0),
        (b'[{"a":', True, True, False, 0),
        (b'[{"a":"', True, True, False, 0),
        (b"[{}", True, False, False, 1),
        (b"[{},", True, False, True, 1),
        (b"[{},{}", True, False, False, 2),
    ],
)
def test_it_is_known_where_the_array_stands(
    data: bytes, opened: bool, inside: bool, after_comma: bool, count: int
) -> None:
    splitter = ArraySplitter(100)
    splitter.feed(data)
    state = (splitter.opened, splitter.inside, splitter.after_comma, splitter.elements)
    assert state == (opened, inside, after_comma, count)


def test_a_bare_object_is_the_only_element() -> None:
    for pieces in every_way(b'{"error":{"code":5}} x'):
        splitter = ArraySplitter(100)
        found = [element for piece in pieces for element in splitter.feed(piece)]
        assert found == [b'{"error":{"code":5}}']
        assert splitter.closed
        assert not splitter.opened


def test_an_element_beyond_the_limit_is_counted_but_not_kept() -> None:
    splitter = ArraySplitter(10)
    for piece in cut(b'[{"a":"' + b"x" * 50, range(5, 50, 5)):
        splitter.feed(piece)
    assert splitter.feed(b'"},{"b":1}]') == [b'{"b":1}']
    assert splitter.elements == 2
