"""Turns by weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import partial
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.rotation import Blocked, Rotation

weights = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def free(_: int) -> float:
    return 0.0


def asleep(who: int, until: float, index: int) -> float:
    return until if index == who else 0.0


def without(skipped: Collection[int]) -> Blocked:
    return lambda i: -1.0 if i in skipped else 0.0


def turns(rotation: Rotation, n: int, blocked: Blocked = free, now: float = 1.0) -> list[int]:
    picked = [rotation.next(now, blocked) for _ in range(n)]
    found = [index for index in picked if index is not None]
    assert len(found) == n
    return found


@given(weights, st.integers(0, 60))
def test_any_window_as_long_as_the_weights_has_exact_shares(given: list[int], start: int) -> None:
    rotation = Rotation(given)
    turns(rotation, start)
    assert Counter(turns(rotation, sum(given))) == dict(enumerate(given))


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=5))
def test_it_has_no_memory_of_how_long_it_ran(given: list[int]) -> None:
    """Deadlines are whole numbers: the turns after a million rounds are those of the first."""
    rotation, fresh = Rotation(given), Rotation(given)
    order = rotation.turns
    rounds = 1_000_000
    order._turns = [
        t + rounds * w * s for t, w, s in zip(order._turns, given, order._steps, strict=True)
    ]
    order._line = sorted(map(order._key, range(len(given))))
    assert turns(rotation, 200) == turns(fresh, 200)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1], [0, 0]),
        ([1, 1, 1], [0, 1, 2, 0, 1, 2]),
        ([5, 1, 1], [0, 1, 0, 0, 0, 2, 0]),
        ([1, 3], [1, 0, 1, 1]),
        ([2, 4, 2], [0, 1, 1, 2, 0, 1, 1, 2]),
    ],
)
def test_turns_are_evenly_mixed(given: list[int], expected: list[int]) -> None:
    assert turns(Rotation(given), len(expected)) == expected


@given(weights)
def test_no_gap_is_much_longer_than_its_share(given: list[int]) -> None:
    picked = turns(Rotation(given), 3 * sum(given))
    for i, weight in enumerate(given):
        places = [n for n, turn in enumerate(picked) if turn == i]
        longest = max((b - a for a, b in pairwise(places)), default=0)
        assert longest <= sum(given) / weight + len(given)


def test_nobody_is_left_when_there_is_nobody() -> None:
    assert Rotation([]).next(1.0, free) is None


@given(weights, st.lists(st.tuples(st.sets(st.integers(0, 5)), st.booleans()), max_size=30))
def test_those_skipped_are_never_picked(
    given: list[int], picks: list[tuple[set[int], bool]]
) -> None:
    rotation, everyone = Rotation(given), set(range(len(given)))
    for skipped, again in picks:
        turn = rotation.next(1.0, without(skipped), again=again)
        assert turn is None if skipped >= everyone else turn in everyone - skipped


@given(weights.filter(lambda w: len(w) > 1), st.integers(1, 5))
def test_second_tries_do_not_change_first_shares(given: list[int], rounds: int) -> None:
    """Candidate 0 fails every time and others take over: first tries stay exactly shared."""
    rotation = Rotation(given)
    first: Counter[int | None] = Counter()
    second: Counter[int | None] = Counter()
    while first.total() < rounds * given[0] * sum(given):
        turn = rotation.next(1.0, free)
        first[turn] += 1
        if turn == 0:
            second[rotation.next(1.0, without({0}), again=True)] += 1
    assert first == {i: rounds * given[0] * w for i, w in enumerate(given)}
    # The others share the second tries by weight too, to within a turn or two of each.
    others = sum(given) - given[0]
    for i, weight in list(enumerate(given))[1:]:
        assert abs(second[i] - second.total() * weight / others) <= 2


@given(weights.filter(lambda w: len(w) > 1), st.integers(0, 30))
def test_while_one_is_skipped_the_others_share_exactly(given: list[int], start: int) -> None:
    rotation = Rotation(given)
    turns(rotation, start)
    while rotation.turns._line[0] & rotation.turns._mask != 0:
        turns(rotation, 1)
    others = sum(given) - given[0]
    assert Counter(turns(rotation, others, without({0}))) == dict(list(enumerate(given))[1:])


@given(weights.filter(lambda w: len(w) > 1), st.integers(1, 200), st.booleans())
def test_who_was_away_gets_no_burst(given: list[int], away: int, sleeps: bool) -> None:
    rotation, total = Rotation(given), sum(given)
    blocked: Blocked = without({0}) if not sleeps else lambda i: 0.0 if i else 50.0
    assert 0 not in turns(rotation, away, blocked, now=10.0)
    back = turns(rotation, 2 * total, now=50.0)
    assert Counter(back[:total])[0] <= given[0] + 1
    assert Counter(back[total:]) == dict(enumerate(given)), "and the shares are exact again"


@given(weights.filter(lambda w: len(w) > 1), st.integers(1, 200))
def test_stand_ins_who_were_away_get_no_burst(given: list[int], away: int) -> None:
    rotation = Rotation(given)

    def second(skipped: set[int], n: int) -> list[int | None]:
        return [rotation.next(1.0, without(skipped), again=True) for _ in range(n)]

    second({0}, away)
    back = second(set(), 2 * sum(given))
    assert Counter(back[: sum(given)])[0] <= given[0] + 1
    assert Counter(back[sum(given) :]) == dict(enumerate(given))


def test_who_sleeps_is_not_asked_before_its_time() -> None:
    rotation, asked = Rotation([1, 1]), []

    def blocked(i: int) -> float:
        asked.append(i)
        return 20.0 if i == 0 else 0.0

    assert turns(rotation, 4, blocked, now=10.0) == [1, 1, 1, 1]
    assert asked == [0, 1, 1, 1, 1]
    assert repr(rotation) == "Rotation(next 1, 1 awake, 1 asleep)"
    assert rotation.next(19.9, blocked) == 1
    assert rotation.next(20.0, free) == 0


@pytest.mark.parametrize("moment", [9.0, 10.0])
def test_a_moment_that_is_past_keeps_nobody_away(moment: float) -> None:
    assert turns(Rotation([1, 1]), 4, lambda i: moment, now=10.0) == [0, 1, 0, 1]


def test_each_sleeper_wakes_at_its_own_time() -> None:
    rotation, until = Rotation([1, 1, 1]), [30.0, 20.0, 40.0]
    assert rotation.next(10.0, until.__getitem__) is None
    assert rotation.next(20.0, {1: 0.0}.__getitem__) == 1, "nobody else is asked"
    for now, awake in ((20.0, {1}), (30.0, {0, 1}), (40.0, {0, 1, 2})):
        assert set(turns(rotation, 6, until.__getitem__, now=now)) == awake


def test_who_sleeps_for_ever_comes_back_when_woken() -> None:
    rotation = Rotation([1, 1])
    assert rotation.next(1.0, lambda i: inf) is None
    assert rotation.next(1.0, lambda i: inf, again=True) is None
    assert rotation.next(1e12, free) is None
    assert repr(rotation) == "Rotation(next nobody, 0 awake, 2 asleep)"
    rotation.wake()
    assert rotation.next(1.0, free) == 0
    assert rotation.next(1.0, free, again=True) == 0


def test_who_wakes_is_asked_at_the_next_pick_if_it_missed_a_turn() -> None:
    """A breaker that is due wants its probe soon, however light its target weighs."""
    rotation = Rotation([100, 1])
    assert 1 not in turns(rotation, 300, lambda i: 20.0 if i else 0.0, now=10.0)
    assert rotation.next(20.0, free) == 1
    assert 1 not in turns(rotation, 40, now=20.0)


def test_sleepers_cost_nothing() -> None:
    rotation, asked = Rotation([1] * 200), []

    def blocked(i: int) -> float:
        asked.append(i)
        return 0.0 if i == 7 else inf

    assert turns(rotation, 100, blocked) == [7] * 100
    assert turns(Rotation([1] * 200), 1, blocked) == [7]
    assert len(asked) <= 200 + 99 + 8


@given(weights)
def test_all_skipped_leaves_everyone_in_place(given: list[int]) -> None:
    rotation = Rotation(given)
    assert rotation.next(1.0, lambda i: -1.0) is None
    assert Counter(turns(rotation, sum(given))) == dict(enumerate(given))


@given(weights, st.lists(st.tuples(st.floats(0, 5), st.integers(0, 5), st.floats(-1, 9))))
def test_nobody_is_ever_lost(given: list[int], storms: list[tuple[float, int, float]]) -> None:
    """Whatever slept and was skipped: once all are well, the shares are exact again."""
    rotation, now = Rotation(given), 1.0
    for pause, who, length in storms:
        now += pause
        until = -1.0 if length < 0 else now + length
        rotation.next(now, partial(asleep, who, until))
    turns(rotation, 2 * sum(given) + len(given), now=now + 100)
    assert Counter(turns(rotation, sum(given), now=now + 100)) == dict(enumerate(given))


# --- for those who choose otherwise -------------------------------------------------------------


def test_some_of_a_line_that_goes_round_are_each_named_once() -> None:
    line = Rotation([1] * 5).turns
    assert line.awake(1.0) == 5
    assert line.some(0, 3) == [line.at(0), line.at(1), line.at(2)] == [0, 1, 2]
    assert line.some(3, 4) == [3, 4, 0, 1]
    assert line.some(3, 9) == [3, 4, 0, 1, 2]
    assert line.some(7, 2) == [0, 1]  # it was longer when the place was chosen
    assert Rotation([]).turns.some(0, 2) == []


def test_who_was_found_blocked_otherwise_sleeps_as_if_it_had_been_its_turn() -> None:
    rotation = Rotation([1, 1, 1])
    rotation.turns.rest(1, 5.0)
    assert rotation.turns.awake(4.9) == 2
    assert turns(rotation, 4, now=4.9) == [0, 2, 0, 2]
    assert rotation.turns.awake(5.0) == 3
    assert turns(rotation, 4, now=5.0) == [1, 0, 1, 2]  # one turn that it missed, then its own
    rotation.turns.rest(0, inf)
    rotation.wake()
    assert rotation.turns.awake(5.0) == 3
