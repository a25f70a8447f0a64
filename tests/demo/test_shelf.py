"""What is kept is bounded, and belongs to the one who brought it."""

from __future__ import annotations

from relayd.demo.shelf import MOST_BYTES, MOST_KEPT, Kept, Shelf


def test_each_owner_sees_only_his_own() -> None:
    shelf = Shelf()
    shelf.put("a", "1", Kept({"object": "file", "id": "1"}))
    assert shelf.get("b", "1") is None
    assert not list(shelf.of("b", "file"))
    assert [what["id"] for what in shelf.of("a", "file")] == ["1"]


def test_the_oldest_go_beyond_the_bounds() -> None:
    shelf = Shelf()
    for number in range(MOST_KEPT + 1):
        shelf.put("a", str(number), Kept({}))
    assert len(shelf) == MOST_KEPT
    assert shelf.get("a", "0") is None
    shelf.put("a", "large", Kept({}, size=MOST_BYTES))
    shelf.put("a", "larger", Kept({}, size=MOST_BYTES))
    assert shelf.get("a", "large") is None
    assert shelf.get("a", "larger") is not None


def test_forgetting_is_a_change_and_happens_once() -> None:
    shelf = Shelf()
    shelf.put("a", "1", Kept({}))
    before = shelf.changes
    assert shelf.drop("a", "1")
    assert not shelf.drop("a", "1")
    assert shelf.changes == before + 1
