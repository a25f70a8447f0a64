"""Blocks of a reply: numbered densely, closed once."""

from __future__ import annotations

import pytest

from relayd.model import Usage
from relayd.wire import blocks
from relayd.wire.blocks import Blocks
from relayd.wire.events import Close, Counted, Delta, Failure, Open, Seal
from relayd.wire.parts import Carrier, Text

SEALED = Carrier("anthropic-signature", "s")


def test_blocks_are_numbered_in_the_order_in_which_they_open() -> None:
    found = Blocks()
    first, second = found.open(Text("")), found.open(Text(""), 1)
    found.text(second, "b")
    found.text(first, "")
    found.seal(first, SEALED)
    found.close(second, {"a": 1})

    assert found.take() == [
        Open(0, Text("")),
        Open(1, Text(""), 1),
        Delta(1, "b"),
        Seal(0, SEALED),
        Close(1, {"a": 1}),
    ]
    assert found.take() == []


def test_a_block_closes_once() -> None:
    found = Blocks()
    for _ in range(2):
        found.open(Text(""))
    found.close(1)
    found.close(1)
    found.close(7)
    found.close_all()

    assert [event for event in found.take() if isinstance(event, Close)] == [Close(1), Close(0)]


def test_a_block_at_once_opens_speaks_and_closes() -> None:
    found = Blocks()
    found.whole(Text(""), "a", choice=2)

    assert found.take() == [Open(0, Text(""), 2), Delta(0, "a"), Close(0)]


def test_nothing_fails_twice() -> None:
    found = Blocks()
    found.add(Counted(Usage()))
    found.fail(Failure("a"))
    found.fail(Failure("b"))

    assert found.take() == [Counted(Usage()), Failure("a")]
    assert found.failed


def test_blocks_and_choices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 1)
    found = Blocks()
    found.open(Text(""))

    with pytest.raises(OverflowError):
        found.open(Text(""))


@pytest.mark.parametrize("choice", [-1, 128])
def test_a_choice_that_cannot_be_is_refused(choice: int) -> None:
    with pytest.raises(OverflowError):
        Blocks().open(Text(""), choice)


def test_it_tells_its_state() -> None:
    found = Blocks()
    found.open(Text(""))

    assert repr(found) == "<Blocks 1 open=[0] waiting=1>"
