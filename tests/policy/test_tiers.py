"""Whose turn it is among equals: exact shares, the least busy, the fastest, the cheapest."""

from __future__ import annotations

from collections import Counter
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import NoUpstream
from relayd.policy.pools import Pools
from relayd.policy.tiers import MOST_SCANNED
from relayd.routing import Strategy
from tests.support.pools import NOW, ask, at, break_down, key, pools_of, served, upstream


def turns(pools: Pools, count: int, now: float = NOW, model: str = "m") -> Counter[str]:
    return Counter(served(pools, now, model) for _ in range(count))


def test_a_member_shows_what_it_holds() -> None:
    pools = pools_of(upstream("a", "m-*"))
    ask(pools, model="m-1")
    assert repr(pools.route("m-1", "chat").pool.members[0]) == "<Member a/1 m-* held=1>"


# --- weighted -----------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.lists(st.integers(1, 3), min_size=1, max_size=3)),
        min_size=1,
        max_size=2,
    ),
    st.integers(0, 20),
)
def test_keys_divide_their_upstreams_share_exactly(
    weights: list[tuple[int, list[int]]], start: int
) -> None:
    specs = [
        upstream(f"u{i}", "m-*", weight=w, keys=[key(str(n), k) for n, k in enumerate(of_keys)])
        for i, (w, of_keys) in enumerate(weights)
    ]
    pools = pools_of(*specs)
    common = lcm(*[sum(of_keys) for _, of_keys in weights])
    for n in range(start):
        ask(pools, model=f"m-{n % 3}")
    chosen = turns(pools, common * sum(w for w, _ in weights), model="m-1")
    assert chosen == {
        f"u{i}/{n}": w * k * common // sum(of_keys)
        for i, (w, of_keys) in enumerate(weights)
        for n, k in enumerate(of_keys)
    }


def test_one_upstreams_keys_do_not_take_from_another_upstream() -> None:
    pools = pools_of(upstream("many", keys=3), upstream("one"))
    assert turns(pools, 60) == {"many/1": 10, "many/2": 10, "many/3": 10, "one/1": 30}


@pytest.mark.parametrize("of_one", [True, False])
def test_second_tries_move_nobodys_share_of_the_first_ones(of_one: bool) -> None:
    specs = [upstream("u", keys=3)] if of_one else [upstream(name) for name in "abc"]
    pools = pools_of(*specs)
    bad = next(iter(pools.doors))
    first: Counter[str] = Counter()
    for _ in range(300):
        lease = ask(pools)
        first[lease.door.name] += 1
        lease.leave(NOW)
        if lease.door.name == bad:
            ask(pools, tried=[lease.target]).leave(NOW)
    assert first == dict.fromkeys(pools.doors, 100)


# --- least busy ---------------------------------------------------------------------------------


def test_the_least_busy_for_its_weight_is_chosen() -> None:
    pools = pools_of(upstream("a", weight=3), upstream("b"), strategy="least_busy")
    held = [ask(pools) for _ in range(40)]
    assert Counter(lease.door.name for lease in held) == {"a/1": 30, "b/1": 10}
    for lease in held:
        if lease.door.name == "b/1":
            lease.leave(NOW)
    assert {ask(pools).door.name for _ in range(9)} == {"b/1"}


def test_those_that_are_equally_busy_take_turns() -> None:
    pools = pools_of(*[upstream(name) for name in "abc"], strategy="least_busy")
    assert turns(pools, 9) == {"a/1": 3, "b/1": 3, "c/1": 3}
    break_down(pools, "b/1")
    assert set(turns(pools, 9)) == {"a/1", "c/1"}
    for name in "ac":
        pools.disable(name, None, NOW)
    with pytest.raises(NoUpstream):
        ask(pools)


# --- fastest ------------------------------------------------------------------------------------


def known(pools: Pools, **seconds: float) -> None:
    for name, first_byte in seconds.items():
        at(pools, f"{name}/1").succeed(NOW, first_byte)


def test_the_quicker_of_two_is_chosen() -> None:
    pools = pools_of(upstream("slow"), upstream("quick"), strategy="fastest")
    known(pools, slow=1.0, quick=0.1)
    chosen = []
    for _ in range(20):
        lease = ask(pools)
        chosen.append(lease.door.name)
        lease.leave(NOW)
    assert set(chosen) == {"quick/1"}


def test_the_quickest_is_not_swamped() -> None:
    pools = pools_of(upstream("slow"), upstream("quick"), upstream("mid"), strategy="fastest")
    known(pools, slow=0.4, quick=0.1, mid=0.2)
    held = Counter(ask(pools).door.name for _ in range(70))
    assert held["quick/1"] <= 42 and held["slow/1"] >= 8
    assert held["quick/1"] > held["mid/1"] > held["slow/1"]


def test_whom_nobody_knows_is_tried_and_not_swamped_before_it_is_known() -> None:
    pools = pools_of(upstream("new"), upstream("a"), upstream("b"), strategy="fastest")
    known(pools, a=0.1, b=0.1)
    held = Counter(ask(pools).door.name for _ in range(100))
    assert held["new/1"] == 1
    cold = pools_of(*[upstream(name) for name in "abcd"], strategy="fastest")
    assert max(Counter(ask(cold).door.name for _ in range(40)).values()) <= 16


def test_a_slow_one_is_tried_again_after_a_while() -> None:
    pools = pools_of(upstream("slow"), upstream("quick"), strategy="fastest")
    known(pools, slow=5.0, quick=0.1)
    for n in range(100):
        at(pools, "quick/1", NOW + n).succeed(NOW + n, 0.1)
    assert ask(pools, NOW + 100).door.name == "slow/1"


def test_of_equally_quick_ones_the_heavier_holds_more() -> None:
    pools = pools_of(upstream("heavy", weight=4), upstream("light"), strategy="fastest")
    known(pools, heavy=0.1, light=0.1)
    held = Counter(ask(pools).door.name for _ in range(50))
    assert 38 <= held["heavy/1"] <= 42


def test_an_idle_one_is_chosen_by_its_quickness_alone() -> None:
    pools = pools_of(upstream("heavy", weight=9), upstream("quick"), strategy="fastest")
    known(pools, heavy=0.2, quick=0.1)
    assert turns(pools, 10) == {"quick/1": 10}


def test_where_one_of_a_pair_is_full_another_is_compared() -> None:
    full = upstream("full", keys=[key(concurrency=1)])
    pools = pools_of(full, upstream("slow"), upstream("quick"), strategy="fastest")
    at(pools, "full/1")
    known(pools, slow=1.0, quick=0.1)
    chosen = []
    for _ in range(20):
        lease = ask(pools)
        chosen.append(lease.door.name)
        lease.leave(NOW)
    assert chosen.count("quick/1") >= 19


# --- cheapest -----------------------------------------------------------------------------------


def test_the_cheaper_is_preferred_and_equals_take_turns() -> None:
    pools = pools_of(
        upstream("unknown"),
        upstream("dear", cost=2.0),
        upstream("a", cost=0.5, weight=2),
        upstream("b", cost=0.5),
        upstream("cheap", cost=0.1, tier=2),
        strategy="cheapest",
    )
    assert turns(pools, 6) == {"a/1": 4, "b/1": 2}
    for name, then in (
        ("a", "b/1"),
        ("b", "dear/1"),
        ("dear", "unknown/1"),
        ("unknown", "cheap/1"),
    ):
        pools.disable(name, None, NOW)
        assert set(turns(pools, 4)) == {then}


# --- the closed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "fastest", "cheapest"])
def test_who_is_closed_is_asked_again_when_it_is_time_and_not_before(strategy: Strategy) -> None:
    pools = pools_of(*[upstream(name) for name in "abc"], strategy=strategy)
    until = break_down(pools, "b/1")
    line = pools.route("m", "chat").pool.tiers[0]._rotation.turns
    assert set(turns(pools, 20)) == {"a/1", "c/1"}
    assert line.awake(until - 0.01) == 2
    assert line.awake(until) == 3
    assert "b/1" in turns(pools, 30, until)


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "fastest", "cheapest"])
def test_who_is_full_is_passed_over_and_not_put_to_sleep(strategy: Strategy) -> None:
    full = upstream("full", keys=[key(concurrency=1)])
    pools = pools_of(full, upstream("a"), upstream("b"), strategy=strategy)
    held = at(pools, "full/1")
    assert set(turns(pools, 20)) == {"a/1", "b/1"}
    held.leave(NOW)
    assert "full/1" in turns(pools, 30)


# --- many ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "fastest", "cheapest"])
def test_of_more_doors_than_are_looked_at_each_has_its_turn(strategy: Strategy) -> None:
    count = 2 * MOST_SCANNED
    pools = pools_of(*[upstream(f"u{i}") for i in range(count)], strategy=strategy)
    held = Counter(ask(pools).door.name for _ in range(4 * count))
    assert len(held) == count
    assert max(held.values()) <= 7


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "fastest", "cheapest"])
def test_the_last_two_of_many_are_found_and_share(strategy: Strategy) -> None:
    count = 2 * MOST_SCANNED
    pools = pools_of(*[upstream(f"u{i}", "m", "x-*") for i in range(count)], strategy=strategy)
    last = count - 4
    for i in set(range(count)) - {3, last}:
        pools.disable(f"u{i}", None, NOW)
    for model in ("m", "x-1"):
        held = [ask(pools, model=model) for _ in range(40)]
        counts = Counter(lease.door.name for lease in held)
        assert set(counts) == {"u3/1", f"u{last}/1"} and max(counts.values()) <= 21
        for lease in held:
            lease.leave(NOW)
    for i in (3, last):
        pools.disable(f"u{i}", None, NOW)
    with pytest.raises(NoUpstream):
        ask(pools)
