"""What is kept of a reply's body."""

from __future__ import annotations

from relayd.relay.kept import OPENING, TAIL, Kept


def test_what_is_held_is_all_of_it() -> None:
    kept = Kept()
    assert (kept.body, kept.size) == (b"", 0)
    for piece in (b"a", b"b", b"c"):
        kept.hold(piece)
    assert (kept.body, kept.size, kept.opening) == (b"abc", 3, b"")
    assert repr(kept) == "<Kept 3 of 3 bytes>"


def test_another_body_may_stand_in_its_place() -> None:
    kept = Kept()
    kept.hold(b"abc")
    kept.body = b"made"
    assert list(kept.pieces) == [kept.body] == [b"made"]


def test_of_what_is_forwarded_the_opening_and_the_tail_are_kept() -> None:
    kept = Kept()
    whole = bytes(range(256)) * 1024
    kept.hold(whole)
    assert kept.let_go() == whole
    assert (kept.opening, kept.body) == (whole[:OPENING], whole[-TAIL:])
    pieces = [bytes([n]) * (TAIL // 4) for n in range(9)]
    for piece in pieces:
        kept.slide(piece)
    sent = whole + b"".join(pieces)
    assert sent.endswith(kept.body) and TAIL <= len(kept.body) < 2 * TAIL
    assert kept.size == len(sent)


def test_a_tail_of_large_pieces_is_one_of_them() -> None:
    kept = Kept()
    for piece in (b"x" * 3 * TAIL, b"y" * 2 * TAIL):
        kept.slide(piece)
    assert list(kept.pieces) == [b"y" * 2 * TAIL]
    assert repr(kept) == f"<Kept {2 * TAIL} of {5 * TAIL} bytes>"
