"""Events that differ in their text only."""

from __future__ import annotations

import pytest

from relayd.wire.alike import MOST_LESSONS, Alike

KEY = b'"content":'


@pytest.mark.parametrize("space", [b"", b" "])
def test_of_a_chunk_like_the_one_before_only_the_text_is_read(space: bytes) -> None:
    alike = Alike(KEY)
    alike.learn(b'{"content":' + space + b'"a","x":1}', "a", 3)

    assert alike.block == 3
    assert alike.said(b'{"content":' + space + b'"b\\n","x":1}') == "b\n"


@pytest.mark.parametrize(
    "data",
    [
        b'{"content":"b","x":2}',
        b'{"content":"b","y":"c","x":1}',
        b'{"content":["b"],"x":1}',
        b'{"content":null,"x":1}',
        b'{"content":,"x":1}',
        b'{"content":"x":1}',
        b'{"content":',
        b"",
    ],
)
def test_a_chunk_that_differs_in_more_is_not_read_so(data: bytes) -> None:
    alike = Alike(KEY)
    alike.learn(b'{"content":"a","x":1}', "a", 3)

    assert alike.said(data) is None


@pytest.mark.parametrize(
    "data", [b'{"content":"a","d":{"content":"a"}}', b'{"content":"\\u0061"}', b'{"c":"a"}']
)
def test_nothing_is_learnt_where_it_is_not_sure(data: bytes) -> None:
    alike = Alike(KEY)
    alike.learn(data, "a", 3)

    assert alike.said(data) is None


def test_a_lesson_is_forgotten_and_there_are_few() -> None:
    alike = Alike(KEY)
    for _ in range(MOST_LESSONS):
        alike.learn(b'{"content":"a"}', "a", 0)
    assert repr(alike) == "<Alike 11+1 bytes, 0 lessons left>"
    alike.forget()
    alike.learn(b'{"content":"a"}', "a", 0)

    assert alike.said(b'{"content":"b"}') is None
