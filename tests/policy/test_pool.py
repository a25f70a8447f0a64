"""Who is asked: tiers in turn, base URLs in turn, and conversations where they belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from relayd.errors import NoUpstream
from relayd.model import UpstreamSpec
from relayd.policy.affinity import digest_of
from relayd.policy.lease import Lease
from relayd.policy.pool import MOST_HOMES, Wanted
from relayd.policy.pools import Pools
from relayd.routing import AffinityRules, Strategy
from tests.support.pools import (
    NOW,
    ask,
    at,
    break_down,
    digest,
    key,
    no_answer,
    no_connection,
    pools_of,
    served,
    status,
    upstream,
)

CONVERSATIONS = [digest(n) for n in range(300)]


def turns(pools: Pools, count: int, now: float = NOW, model: str = "m") -> Counter[str]:
    return Counter(served(pools, now, model) for _ in range(count))


def homes(pools: Pools) -> dict[bytes, str]:
    return {one: served(pools, conversation=one) for one in CONVERSATIONS}


def disable(pools: Pools, door: str) -> None:
    name, _, key_name = door.partition("/")
    pools.disable(name, key_name, NOW)


def enable(pools: Pools, door: str) -> None:
    name, _, key_name = door.partition("/")
    pools.enable(name, key_name, NOW)


# --- tiers --------------------------------------------------------------------------------------


def test_a_tier_is_left_only_when_nobody_in_it_lets_the_request_through() -> None:
    pools = pools_of(upstream("back", tier=2), upstream("a"), upstream("b"), upstream("c", tier=9))
    assert turns(pools, 6) == {"a/1": 3, "b/1": 3}
    until = break_down(pools, "a/1")
    assert turns(pools, 6) == {"b/1": 6}
    pools.disable("b", None, NOW)
    assert turns(pools, 6) == {"back/1": 6}
    assert set(turns(pools, 6, until)) == {"a/1"}


def test_tried_targets_are_passed_over_through_all_tiers() -> None:
    pools = pools_of(upstream("a"), upstream("b", tier=2, urls=2), upstream("c", tier=3))
    tried: list[tuple[str, int]] = []
    for _ in range(4):
        tried.append(ask(pools, tried=tried).target)
    assert tried == [("a/1", 0), ("b/1", 0), ("b/1", 1), ("c/1", 0)]
    with pytest.raises(NoUpstream):
        ask(pools, tried=tried)


# --- base URLs ----------------------------------------------------------------------------------


def test_the_primary_is_used_while_it_can_be_connected_to() -> None:
    pools = pools_of(upstream("a", urls=3, keys=2))
    assert {ask(pools).site for _ in range(6)} == {0}
    at(pools, "a/1").fail(no_connection(), NOW)
    assert {ask(pools).target for _ in range(6)} == {("a/1", 1), ("a/2", 1)}
    ask(pools).fail(no_connection(), NOW)
    assert {ask(pools).site for _ in range(6)} == {2}
    ask(pools).fail(no_connection(), NOW)
    with pytest.raises(NoUpstream):
        ask(pools)


def test_a_primary_that_is_well_again_is_used_again() -> None:
    pools = pools_of(upstream("a", urls=2))
    ask(pools).fail(no_connection(), NOW)
    now = NOW + 6
    probe, other = ask(pools, now), ask(pools, now)
    assert (probe.site, other.site) == (0, 1)
    probe.connected(now)
    assert ask(pools, now).site == 0


def test_another_base_url_is_another_target_of_the_same_key() -> None:
    pools = pools_of(upstream("a", urls=2))
    assert ask(pools, tried=[("a/1", 0)]).target == ("a/1", 1)


def test_when_all_base_urls_are_down_the_first_that_is_due_is_probed() -> None:
    for models in (("m",), ("m*",)):
        pools = pools_of(upstream("a", *models, urls=2), upstream("b", *models, tier=2))
        ask(pools).fail(no_connection(), NOW)
        ask(pools, NOW + 2).fail(no_connection(), NOW + 2)
        assert ask(pools, NOW + 3).door.name == "b/1"
        assert ask(pools, NOW + 6).target == ("a/1", 0)
        assert ask(pools, NOW + 6).door.name == "b/1"
        assert ask(pools, NOW + 8).target == ("a/1", 1)


def test_who_is_alone_needs_no_turns_and_is_asked_as_soon_as_it_is_open() -> None:
    for models in (("m",), ("m*",)):
        pools = pools_of(upstream("a", *models))
        until = break_down(pools, "a/1")
        with pytest.raises(NoUpstream):
            ask(pools, until - 0.01, conversation=digest("x"))
        assert ask(pools, until, conversation=digest("x")).door.name == "a/1"
        with pytest.raises(NoUpstream):
            ask(pools, until)
        assert len(pools.affinity) == 0


# --- conversations ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "fastest", "cheapest"])
def test_a_conversation_stays(strategy: Strategy) -> None:
    pools = pools_of(upstream("a", keys=3), upstream("b", keys=2), strategy=strategy)
    first = homes(pools)
    assert len(set(first.values())) == 5
    assert homes(pools) == first


@pytest.mark.parametrize("strategy", ["least_busy", "fastest"])
def test_a_new_conversation_goes_to_whoever_is_best_just_then(strategy: Strategy) -> None:
    pools = pools_of(upstream("a", keys=3), strategy=strategy)
    for door in ("a/1", "a/3"):
        at(pools, door).succeed(NOW, 1.0)
        at(pools, door)
    at(pools, "a/2").succeed(NOW, 0.1)
    found = Counter(served(pools, conversation=one) for one in CONVERSATIONS[:30])
    assert found["a/2"] >= (30 if strategy == "least_busy" else 12)


def test_conversations_have_their_homes_by_weight_and_the_same_ones_after_a_restart() -> None:
    specs = [upstream("a", keys=3), upstream("b"), upstream("c", weight=2)]
    first = homes(pools_of(*specs))
    shares = Counter(name.partition("/")[0] for name in first.values())
    assert 50 <= shares["a"] <= 100 and 50 <= shares["b"] <= 100 and 120 <= shares["c"] <= 180
    again = pools_of(*specs)
    turns(again, 7)
    assert homes(again) == first
    assert len(again.affinity) == 0  # who is at home need not be remembered


SIX = [upstream(name, keys=[key("1", concurrency=2), key("2", concurrency=2)]) for name in "abc"]
YIELDS: dict[str, Callable[[Pools, str], object]] = {
    "open": lambda pools, door: break_down(pools, door),
    "unreachable": lambda pools, door: at(pools, door).fail(no_connection(), NOW),
    "cooled": lambda pools, door: at(pools, door).fail(status(429, 3), NOW),
    "refused": lambda pools, door: at(pools, door).fail(status(401), NOW),
    "forbidden": lambda pools, door: at(pools, door).fail(status(403), NOW),
    "disabled": lambda pools, door: disable(pools, door),
    "full": lambda pools, door: [at(pools, door) for _ in range(2)],
    "gone": lambda pools, door: pools.reload([s for s in SIX if not door.startswith(s.name)]),
}


@pytest.mark.parametrize("way", YIELDS)
@pytest.mark.parametrize("strategy", ["weighted", "fastest"])
def test_a_conversation_yields_at_once(way: str, strategy: Strategy) -> None:
    pools = pools_of(*SIX, strategy=strategy)
    home = served(pools, conversation=digest("x"))
    YIELDS[way](pools, home)
    new = served(pools, conversation=digest("x"))
    assert new != home
    assert {served(pools, conversation=digest("x")) for _ in range(5)} == {new}


@pytest.mark.parametrize("strategy", ["weighted", "least_busy"])
def test_a_conversation_that_moved_stays_at_its_new_home(strategy: Strategy) -> None:
    pools = pools_of(*SIX, strategy=strategy)
    home = served(pools, conversation=digest("x"))
    until = break_down(pools, home)
    new = served(pools, conversation=digest("x"))
    at(pools, home, until).succeed(until, 0.1)
    assert {served(pools, until, conversation=digest("x")) for _ in range(5)} == {new}


def test_a_conversation_that_came_back_home_stays_there() -> None:
    pools = pools_of(*SIX)
    home = served(pools, conversation=digest("x"))
    disable(pools, home)
    away = served(pools, conversation=digest("x"))
    enable(pools, home)
    disable(pools, away)
    back = served(pools, conversation=digest("x"))
    assert back == home
    enable(pools, away)
    assert served(pools, conversation=digest("x")) == home
    assert len(pools.affinity) == 0


@pytest.mark.parametrize("gone", ["a/2", "c/1", "b/1"])
def test_removing_one_key_moves_only_its_own_conversations(gone: str) -> None:
    def specs(without: str = "") -> list[UpstreamSpec]:
        keys = {"a": [key("1", 2), key("2", 2), key("3")], "b": [key()], "c": [key(), key("2")]}
        kept = {n: [k for k in ks if f"{n}/{k.name}" != without] for n, ks in keys.items()}
        return [upstream(n, keys=ks, weight=len(n)) for n, ks in kept.items() if ks]

    before, after = homes(pools_of(*specs())), homes(pools_of(*specs(gone)))
    moved = {one for one in CONVERSATIONS if before[one] != after[one]}
    assert moved == {one for one in CONVERSATIONS if before[one] == gone}
    assert moved and gone not in after.values()


def test_the_keys_of_one_upstream_take_over_from_each_other() -> None:
    pools = pools_of(upstream("a", keys=3), upstream("b", keys=3))
    first = homes(pools)
    pools.disable("a", "1", NOW)
    moved = {served(pools, conversation=one) for one in CONVERSATIONS if first[one] == "a/1"}
    assert moved == {"a/2", "a/3"}


def test_where_all_its_homes_are_closed_a_conversation_has_a_turn_and_stays_there() -> None:
    """To walk round the whole ring would cost more than to ask whose turn it is."""
    pools = pools_of(*[upstream(f"u{n}") for n in range(MOST_HOMES + 4)])
    tier = pools.route("m", "chat").pool.tiers[0]
    order = [tier.members[i].door.name for i in tier.homes.order(digest("x"))]
    for door in order[: MOST_HOMES - 1]:
        disable(pools, door)
    assert served(pools, conversation=digest("x")) == order[MOST_HOMES - 1]
    pools.affinity.drop(digest("x"))
    disable(pools, order[MOST_HOMES - 1])
    new = served(pools, conversation=digest("x"))
    turn = next(name for name in pools.doors if name in order[MOST_HOMES:])
    assert new == turn != order[MOST_HOMES]
    assert {served(pools, conversation=digest("x")) for _ in range(5)} == {new}


def test_a_known_conversation_may_load_its_home() -> None:
    pools = pools_of(upstream("a", keys=4))
    assert len({ask(pools, conversation=digest("x")).door.name for _ in range(100)}) == 1


@pytest.mark.parametrize("strategy", ["weighted", "least_busy"])
def test_one_known_by_its_opening_yields_when_its_home_has_more_than_its_share(
    strategy: Strategy,
) -> None:
    pools = pools_of(upstream("a", keys=4), strategy=strategy)
    wanted = Wanted(conversation=digest("x"), by_opening=True)
    held: list[Lease] = []
    for _ in range(100):
        lease = pools.choose(pools.route("m", "chat"), wanted, NOW)
        pools.remember(pools.route("m", "chat"), lease, wanted, NOW)
        held.append(lease)
    counts = Counter(lease.door.name for lease in held)
    assert len({lease.door.name for lease in held[:5]}) == 1
    assert max(counts.values()) <= 60 and len(counts) >= 2


def test_the_load_of_other_models_moves_no_conversation() -> None:
    pools = pools_of(upstream("a", "m", "n", keys=4))
    first = {one: served(pools, conversation=one, by_opening=True) for one in CONVERSATIONS}
    _busy = [ask(pools, model="n") for _ in range(200)]
    for one, home in first.items():
        assert served(pools, conversation=one, by_opening=True) == home


def test_another_accounts_conversation_of_the_same_name_is_another() -> None:
    pools = pools_of(upstream("a", keys=8))
    mine = {served(pools, conversation=digest_of(1, "m", b"%d" % n)) for n in range(1)}
    others = {served(pools, conversation=digest_of(n, "m", b"0")) for n in range(2, 60)}
    assert len(mine) == 1 and len(others) == 8


def test_conversations_without_a_choice_are_not_remembered() -> None:
    pools = pools_of(upstream("a"), upstream("b", "n", keys=2), strategy="least_busy")
    served(pools, conversation=digest("x"))
    served(pools, model="n")
    assert len(pools.affinity) == 0
    served(pools, model="n", conversation=digest("x"))
    assert len(pools.affinity) == 1


def test_the_table_of_conversations_is_bounded_and_forgets() -> None:
    rules = AffinityRules(entries=100, ttl=10.0)
    pools = pools_of(upstream("a", keys=3), strategy="least_busy", affinity=rules)
    for one in CONVERSATIONS:
        served(pools, conversation=one)
    assert len(pools.affinity) == 100
    served(pools, NOW + 20, conversation=digest("x"))
    assert len(pools.affinity) < 100


def test_a_conversation_of_another_tier_comes_back_to_the_first() -> None:
    pools = pools_of(upstream("a"), upstream("b", tier=2))
    until = break_down(pools, "a/1")
    assert served(pools, conversation=digest("x")) == "b/1"
    assert served(pools, until, conversation=digest("x")) == "a/1"
    assert len(pools.affinity) == 0


# --- wildcards ----------------------------------------------------------------------------------


def test_another_model_behind_the_same_wildcard_goes_on() -> None:
    for error in (status(500), no_answer(), status(429, 60), status(403)):
        pools = pools_of(upstream("a", "x-*"), upstream("b", "x-*"))
        for lease in [at(pools, "a/1", model="x-1") for _ in range(3)]:
            lease.fail(error, NOW)
        assert turns(pools, 4, model="x-1") == {"b/1": 4}
        assert turns(pools, 4, model="x-2") == {"a/1": 2, "b/1": 2}


def test_what_is_asked_shows_itself() -> None:
    pools = pools_of(upstream("a", keys=2), upstream("b", tier=2))
    ask(pools)
    pool = pools.route("m", "chat").pool
    tiers = "[<Tier a/1, a/2 held=1>, <Tier b/1 held=0>]"
    assert repr(pool) == f"<Pool weighted {tiers} waiting=0>"
    assert repr(pool.tiers[0].homes) == "<Homes Ring(1 names, 100 points) [2] keys>"
