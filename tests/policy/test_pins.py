"""A request that has to go where its state is goes there, or nowhere."""

from __future__ import annotations

import pytest

from relayd.errors import AllFull, NoUpstream
from relayd.policy.attempts import Attempts
from relayd.policy.holdings import site_tag
from relayd.policy.lease import Lease
from relayd.policy.pins import HELD, MOST_KEPT, Pins
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools, Route
from relayd.routing import RetryRules, Routing
from tests.support.pools import NOW, dice, key, no_answer, no_connection, pools_of, status, upstream

GENEROUS = RetryRules(attempts=10, floor=1000)


def pins_of(pools: Pools) -> Pins:
    return Pins(pools, dice())


def attempts_of(pools: Pools, route: Route | None, *never: tuple[str, int]) -> Attempts:
    assert route is not None
    return Attempts(pools, [route], Wanted(), dice(), never=never)


def choose(pools: Pools, route: Route | None) -> Lease:
    assert route is not None
    return pools.choose(route, Wanted(), NOW)


def test_what_is_held_is_asked_for_at_its_door_whoevers_turn_it_is() -> None:
    pools = pools_of(upstream("a", keys=3), upstream("b"))
    pins = pins_of(pools)
    for _ in range(5):
        lease = choose(pools, pins.held("a/2", "public", "their-model"))
        assert (lease.door.name, lease.model, lease.rule) == ("a/2", "their-model", HELD.pattern)
    assert repr(pins) == "<Pins 1 pools>"


def test_a_door_that_is_gone_has_no_route() -> None:
    pools = pools_of(upstream("a"))
    pins = pins_of(pools)
    assert pins.held("a/9", "m", "m") is None
    pins.held("a/1", "m", "m")
    pools.reload([upstream("b")])
    assert pins.held("a/1", "m", "m") is None
    assert pins.others("a/1", site_tag("http://a-0")) == []


def test_those_who_wait_for_one_door_wait_in_one_room() -> None:
    pools = pools_of(upstream("a"))
    pins = pins_of(pools)
    one, two = pins.held("a/1", "m", "m"), pins.held("a/1", "n", "n")
    assert one is not None and two is not None
    assert one.pool is two.pool


def test_a_pool_is_made_anew_where_its_door_or_the_rules_were_replaced() -> None:
    pools = pools_of(upstream("a"))
    pins = pins_of(pools)
    before = pins.held("a/1", "m", "m")
    pools.reload([upstream("b")])
    pools.reload([upstream("a")])
    after = pins.held("a/1", "m", "m")
    assert before is not None and after is not None
    assert after.pool.members[0].door is pools.doors["a/1"] is not before.pool.members[0].door
    pools.reload([upstream("a")], Routing(retries=GENEROUS))
    third = pins.held("a/1", "m", "m")
    assert third is not None and third.pool.budget is pools.budget


def test_pools_are_bounded() -> None:
    names = [f"u{number}" for number in range(MOST_KEPT + 1)]
    pools = pools_of(*map(upstream, names))
    pins = pins_of(pools)
    for name in names:
        assert pins.held(f"{name}/1", "m", "m")
    assert repr(pins) == "<Pins 1 pools>"


def test_a_route_is_narrowed_to_a_door_that_serves_it_in_the_clients_own_format() -> None:
    native, other = upstream("a", "m=theirs", keys=2), upstream("b", formats=("messages",))
    pools = pools_of(native, other)
    route = pools.route("m", "chat", translate=True)
    pins = pins_of(pools)
    lease = choose(pools, pins.narrowed(route, "a/2"))
    assert (lease.door.name, lease.model, lease.rule) == ("a/2", "theirs", "m")
    assert pins.narrowed(route, "b/1") is None, "a translation holds no state"
    assert pins.narrowed(route, "c/1") is None


def test_it_may_wait_at_its_door_but_goes_nowhere_else() -> None:
    pools = pools_of(upstream("a", keys=[key("1", concurrency=1), key("2")]))
    route = pins_of(pools).held("a/1", "m", "m")
    lease = choose(pools, route)
    with pytest.raises(AllFull):
        choose(pools, route)
    lease.leave(NOW)
    assert choose(pools, route).door.name == "a/1"
    pools.disable("a", "1", NOW)
    with pytest.raises(NoUpstream):
        choose(pools, route)


def test_only_the_base_url_that_made_it_is_asked() -> None:
    pools = pools_of(upstream("a", urls=3), retries=GENEROUS)
    pins = pins_of(pools)
    never = pins.others("a/1", site_tag("http://a-1"))
    assert never == [("a/1", 0), ("a/1", 2)]
    attempts = attempts_of(pools, pins.held("a/1", "m", "m"), *never)
    lease = attempts.next(NOW)
    assert lease.target == ("a/1", 1)
    lease.fail(no_connection(), NOW)
    assert attempts.failed(no_connection(), NOW) is None, "the others are not for it"


def test_where_that_base_url_is_not_configured_any_more_any_will_do() -> None:
    pools = pools_of(upstream("a", urls=2))
    assert pins_of(pools).others("a/1", "gone") == []


def test_the_same_door_is_asked_again_where_that_may_help() -> None:
    pools = pools_of(upstream("a", urls=2), retries=GENEROUS)
    pins = pins_of(pools)
    never = pins.others("a/1", site_tag("http://a-0"))
    attempts = attempts_of(pools, pins.held("a/1", "m", "m"), *never)
    lease = attempts.next(NOW)
    lease.fail(status(503), NOW)
    assert attempts.failed(status(503), NOW) is not None
    assert attempts.next(NOW).target == ("a/1", 0)


def test_what_must_not_arrive_twice_is_sent_again_only_where_it_never_arrived() -> None:
    for error, again in ((status(503), False), (no_answer(), False), (no_connection(), True)):
        pools = pools_of(upstream("a"), upstream("b"), retries=GENEROUS)
        route = pools.route("m", "chat")
        attempts = Attempts(pools, [route], Wanted(), dice(), repeatable=False)
        lease = attempts.next(NOW)
        lease.fail(error, NOW)
        assert (attempts.failed(error, NOW) is not None) is again
