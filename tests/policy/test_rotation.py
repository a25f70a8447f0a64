"""Turns by weight."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.rotation import Rotation

weights = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(weights, st.integers(0, 40))
def test_any_window_as_long_as_the_weights_has_exact_shares(given: list[int], start: int) -> None:
    rotation = Rotation(given)
    turns = [rotation.next() for _ in range(start + sum(given))]
    assert Counter(turns[start:]) == dict(enumerate(given))


def test_turns_are_mixed_as_nginx_mixes_them() -> None:
    rotation = Rotation([5, 1, 1])
    assert [rotation.next() for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]
    assert repr(rotation) == "Rotation(0/5, 0/1, 0/1)"


@given(weights, st.data())
def test_those_left_out_are_never_picked(given: list[int], data: st.DataObject) -> None:
    rotation = Rotation(given)
    for _ in range(30):
        without = data.draw(st.sets(st.integers(0, len(given) - 1)))
        turn = rotation.next(without)
        assert turn is None if len(without) == len(given) else turn not in without


@given(weights.filter(lambda w: len(w) > 1))
def test_second_tries_do_not_change_first_shares(given: list[int]) -> None:
    """Candidate 0 fails every time and others take over: in the long run all keep their share."""
    rotation, rounds = Rotation(given), 50
    first: Counter[int | None] = Counter()
    for _ in range(rounds * sum(given)):
        turn = rotation.next()
        first[turn] += 1
        if turn == 0:
            rotation.next({0})
    assert abs(first[0] - rounds * given[0]) <= sum(given)


def test_weight_zero_is_a_reserve() -> None:
    rotation = Rotation([1, 0])
    assert {rotation.next() for _ in range(10)} == {0}
    assert rotation.next({0}) == 1
