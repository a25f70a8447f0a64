"""A form and a JSON document read alike."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.demo.names import parse
from relayd.demo.refusal import Refusal
from relayd.demo.script import Wait
from relayd.demo.shelf import Shelf
from relayd.demo.task import Task


def task(model: str = "demo", **asked: Any) -> Task:
    return Task(
        method="POST",
        asked=asked,
        files=(),
        query={},
        rest=(),
        name=parse(model),
        seed="abc",
        moment=5.0,
        headers=[],
        owner="",
        shelf=Shelf(),
    )


def test_numbers_and_flags_of_forms_are_texts() -> None:
    assert task(n="3").number("n", 1, 10) == task(n=3).number("n", 1, 10) == 3
    assert task(stream="true").flag("stream")
    assert task(stream=True).flag("stream")
    assert not task(stream="false").flag("stream")
    assert task().number("n", 1, 10) == 1


@pytest.mark.parametrize("n", [0, 11, "x", True, 1.5])
def test_what_is_no_number_in_range_is_refused(n: object) -> None:
    with pytest.raises(Refusal) as refused:
        task(n=n).number("n", 1, 10)
    assert refused.value.param == "n"


def test_a_rate_paces_the_writes() -> None:
    body = task("demo-at-10").stream([b"a", b"b", b"c"]).body
    assert [step.seconds for step in body if isinstance(step, Wait)] == [0.1, 0.1]
