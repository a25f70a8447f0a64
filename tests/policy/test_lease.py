"""What the end of a request teaches the key that it was at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayd.errors import (
    AllFull,
    BadReply,
    BrokenStream,
    ClientGone,
    NoUpstream,
    RelayError,
    UpstreamError,
)
from relayd.model import ModelRule, Timeouts
from relayd.policy.lease import Lease
from relayd.policy.pools import Pools
from relayd.routing import BreakerRules
from tests.support.pools import (
    BREAKER,
    NOW,
    ask,
    break_down,
    gate_of,
    key,
    no_answer,
    no_connection,
    pools_of,
    status,
    upstream,
)

OFF = BreakerRules(enabled=False)


def blocked(pools: Pools, model: str = "m", now: float = NOW) -> bool:
    try:
        ask(pools, now, model).leave(now)
    except NoUpstream:
        return True
    return False


def ends(lease: Lease, way: str, now: float = NOW) -> None:
    if way == "succeed":
        lease.succeed(now, 0.5)
    elif way == "leave":
        lease.leave(now)
    else:
        lease.fail(status(500), now)


# --- a place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["succeed", "fail", "leave"])
@pytest.mark.parametrize("second", ["succeed", "fail", "leave"])
def test_a_lease_ends_once(first: str, second: str) -> None:
    pools = pools_of(upstream("up", "m=theirs"))
    lease, other = ask(pools), ask(pools)
    door = lease.door
    assert (pools.in_flight("up"), lease.ended) == (2, False)
    assert repr(lease) == "<Lease up/1 site=0 theirs by m held>"
    ends(lease, first)
    known = repr(door), door.requests, door.failures
    ends(lease, second)
    assert (repr(door), door.requests, door.failures) == known
    assert (pools.in_flight("up"), lease.ended) == (1, True)
    assert repr(lease) == "<Lease up/1 site=0 theirs by m ended>"
    other.leave(NOW)
    assert pools.in_flight("up") == 0


def test_a_lease_tells_what_was_chosen() -> None:
    spec = upstream("up", "m=theirs", urls=2, timeouts=Timeouts(connect=1.0))
    lease = ask(pools_of(spec))
    assert (lease.spec, lease.target, lease.model, lease.rule) == (spec, ("up/1", 0), "theirs", "m")
    assert (lease.timeouts, lease.taken_at) == (Timeouts(connect=1.0), NOW)


def test_a_models_own_timeouts_come_first() -> None:
    patient = Timeouts(first_byte=900.0)
    models = (ModelRule("m", timeouts=patient), ModelRule("n"))
    pools = pools_of(replace(upstream("up"), models=models))
    assert ask(pools).timeouts == patient
    assert ask(pools, model="n").timeouts == Timeouts()


# --- it went well -------------------------------------------------------------------------------


def test_a_success_is_counted_and_timed() -> None:
    pools = pools_of(upstream("up"))
    for _ in range(20):
        ask(pools).succeed(NOW, 0.5)
    ask(pools).succeed(NOW, None)
    door = pools.doors["up/1"]
    assert (door.requests, door.failures, door.tally.ratio(NOW)) == (21, 0, 1.0)
    assert door.first_byte.value(NOW) == 0.5
    assert door.quantiles.quantile(0.5) == pytest.approx(0.5, rel=0.2)


def test_the_tokens_that_were_taken_are_corrected() -> None:
    pools = pools_of(upstream("up", keys=[key(tpm=100)]))
    ask(pools, tokens=60).succeed(NOW, 0.1, 20)
    ask(pools, tokens=80).fail(status(500), NOW)
    ask(pools, tokens=80).succeed(NOW, 0.1)  # nobody reported: as estimated
    with pytest.raises(AllFull):
        ask(pools, tokens=1)


def test_successes_between_failures_keep_the_breaker_closed() -> None:
    pools = pools_of(upstream("up"))
    held = [ask(pools) for _ in range(40)]  # all before anything was known
    for n, lease in enumerate(held):
        ends(lease, "fail" if n % 3 == 0 else "succeed")
    assert not blocked(pools)


# --- it failed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [status(500), no_answer(), BadReply("?"), BrokenStream("cut")])
def test_failures_open_the_breaker_of_the_key_and_model(error: UpstreamError) -> None:
    pools = pools_of(upstream("up", "m", "n"))
    for _ in range(3):
        assert not blocked(pools)
        ask(pools).fail(error, NOW)
    gate = gate_of(pools.doors["up/1"])
    assert (gate.breaker.state, gate.why) == ("open", error.why)
    assert blocked(pools) and not blocked(pools, "n")
    assert pools.doors["up/1"].failures == 3


def test_an_open_breaker_lets_its_probes_through_and_closes_with_a_good_one() -> None:
    pools = pools_of(upstream("up"))
    until = break_down(pools, "up/1")
    probe = ask(pools, until)
    assert blocked(pools, now=until)
    probe.succeed(until, 0.1)
    assert not blocked(pools, now=until)


def test_a_failed_probe_opens_it_for_longer() -> None:
    pools = pools_of(upstream("up"))
    until = break_down(pools, "up/1")
    ask(pools, until).fail(status(500), until)
    assert blocked(pools, now=until + 8) and not blocked(pools, now=until + 12)


@pytest.mark.parametrize(
    "error",
    [None, ClientGone("left"), NoUpstream("no connection is free"), status(429), status(408)],
)
def test_a_probe_that_says_nothing_gives_its_place_back(error: RelayError | None) -> None:
    pools = pools_of(upstream("up"), longest_cooldown=0)
    until = break_down(pools, "up/1")
    probe = ask(pools, until)
    if error is None:
        probe.leave(until)
    else:
        probe.fail(error, until)
    assert gate_of(pools.doors["up/1"]).breaker.state == "half_open"
    assert not blocked(pools, now=until)


@pytest.mark.parametrize("end", ["succeed", "fail", "leave"])
def test_what_began_before_it_opened_says_nothing_of_the_probe(end: str) -> None:
    for early in (True, False):
        pools = pools_of(upstream("up"))
        if not early:
            ask(pools).fail(status(500), NOW)  # then there is a gate already
        straggler = ask(pools)
        until = break_down(pools, "up/1")
        probe = ask(pools, until)
        ends(straggler, end, until)
        assert gate_of(pools.doors["up/1"]).breaker.state == "half_open"
        assert blocked(pools, now=until)
        probe.succeed(until, 0.1)
        assert not blocked(pools, now=until)


def test_nobodys_fault_leaves_no_trace() -> None:
    pools = pools_of(upstream("up"))
    for error in (ClientGone("left"), NoUpstream("no connection is free"), RelayError("a bug")):
        for _ in range(20):
            ask(pools).fail(error, NOW)
    door = pools.doors["up/1"]
    assert (door.failures, door.tally.ratio(NOW), door.gates) == (0, None, {})


def test_a_request_that_was_too_slow_for_its_upstream_is_no_failure() -> None:
    pools = pools_of(upstream("up"))
    for _ in range(20):
        ask(pools).fail(status(408), NOW)
    assert pools.doors["up/1"].gates == {} and pools.doors["up/1"].failures == 0


# --- rate limits --------------------------------------------------------------------------------


def test_a_rate_limit_cools_the_key_and_model_only() -> None:
    pools = pools_of(upstream("up", "m", "n", keys=2))
    lease = ask(pools)
    lease.fail(status(429, 30), NOW)
    assert {ask(pools, NOW + 29).door for _ in range(4)} == set(pools.doors.values()) - {lease.door}
    assert {ask(pools, NOW + 29, "n").door for _ in range(4)} == set(pools.doors.values())
    assert {ask(pools, NOW + 30).door for _ in range(4)} == set(pools.doors.values())
    assert (lease.door.failures, gate_of(lease.door).breaker.state) == (0, "closed")


def test_a_rate_limit_is_bounded_by_the_longest_cooldown() -> None:
    pools = pools_of(upstream("up"), longest_cooldown=10.0)
    ask(pools).fail(status(429, 1e6), NOW)
    assert blocked(pools, now=NOW + 9.9) and not blocked(pools, now=NOW + 10)


def test_no_cooldown_at_all_if_so_configured() -> None:
    pools = pools_of(upstream("up"), longest_cooldown=0.0)
    ask(pools).fail(status(429, 60), NOW)
    assert not blocked(pools) and pools.doors["up/1"].gates == {}


def test_untold_rate_limits_grow_and_a_reply_makes_them_small_again() -> None:
    pools = pools_of(upstream("up"))
    ask(pools).fail(status(429), NOW)
    ask(pools, NOW + 1).fail(status(429), NOW + 1)
    assert blocked(pools, now=NOW + 2.9)
    ask(pools, NOW + 3).succeed(NOW + 3, 0.1)
    ask(pools, NOW + 3).fail(status(429), NOW + 3)
    assert blocked(pools, now=NOW + 3.9) and not blocked(pools, now=NOW + 4)


def test_a_rate_limit_that_says_at_once_is_taken_for_one_that_says_nothing() -> None:
    pools = pools_of(upstream("up"))
    ask(pools).fail(status(429, 0), NOW)
    assert blocked(pools, now=NOW + 0.9) and not blocked(pools, now=NOW + 1)
    ask(pools, NOW + 1).fail(status(429, 0.25), NOW + 1)
    assert blocked(pools, now=NOW + 1.2) and not blocked(pools, now=NOW + 1.25)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 402])
def test_a_refused_key_is_out_for_every_model(code: int) -> None:
    pools = pools_of(upstream("up", "m", "n"))
    ask(pools).fail(status(code), NOW)
    assert pools.doors["up/1"].refused == f"The upstream answered {code}."
    assert blocked(pools, now=NOW + 1e6) and blocked(pools, "n", NOW + 1e6)


def test_a_forbidden_model_is_out_for_that_key_only() -> None:
    pools = pools_of(upstream("up", "m", "n"))
    ask(pools).fail(status(403), NOW)
    assert blocked(pools, now=NOW + 1e6) and not blocked(pools, "n")
    assert gate_of(pools.doors["up/1"]).why == "The upstream answered 403."


def test_the_demo_provider_refuses_by_model() -> None:
    pools = pools_of(upstream("up", "m", "n", dialect="demo"))
    ask(pools).fail(status(401), NOW)
    assert blocked(pools) and not blocked(pools, "n")
    assert pools.doors["up/1"].refused == ""


def test_a_probe_that_is_refused_gives_its_place_back() -> None:
    pools = pools_of(upstream("up"))
    until = break_down(pools, "up/1")
    ask(pools, until).fail(status(401), until)
    pools.doors["up/1"].refused = ""
    assert not blocked(pools, now=until)


# --- sites --------------------------------------------------------------------------------------


def test_a_failed_connection_speaks_for_every_key_and_model() -> None:
    pools = pools_of(upstream("up", "m", "n", keys=2))
    ask(pools).fail(no_connection(), NOW)
    assert blocked(pools) and blocked(pools, "n")
    door = pools.doors["up/1"]
    assert (door.sites[0].why, door.gates) == ("The upstream cannot be reached.", {})


@pytest.mark.parametrize("end", ["connected", "succeed", "status", "rate limit", "refusal"])
def test_a_reply_shows_that_a_site_is_well(end: str) -> None:
    """It may have come over a connection that was kept: then nobody says `connected`."""
    pools = pools_of(upstream("up", keys=2))
    ask(pools).fail(no_connection(), NOW)
    now = NOW + 6
    probe = ask(pools, now)
    assert blocked(pools, now=now)
    if end == "connected":
        probe.connected(now)
    elif end == "succeed":
        probe.succeed(now, 0.1)
    else:
        probe.fail(status({"status": 500, "rate limit": 429, "refusal": 401}[end]), now)
    assert not blocked(pools, now=now)
    assert pools.doors["up/1"].sites[0].breaker.state == "closed"


@pytest.mark.parametrize("error", [None, ClientGone("left"), no_answer(), BadReply("half a head")])
def test_a_probe_of_a_site_without_a_reply_gives_its_place_back(error: RelayError | None) -> None:
    pools = pools_of(upstream("up", keys=2))
    ask(pools).fail(no_connection(), NOW)
    now = NOW + 6
    probe = ask(pools, now)
    if error is None:
        probe.leave(now)
    else:
        probe.fail(error, now)
    assert pools.doors["up/1"].sites[0].breaker.state == "half_open"
    assert not blocked(pools, now=now)


def test_a_site_that_fails_its_probe_is_left_alone_for_longer() -> None:
    pools = pools_of(upstream("up"))
    ask(pools).fail(no_connection(), NOW)
    ask(pools, NOW + 6).fail(no_connection(), NOW + 6)
    assert blocked(pools, now=NOW + 14) and not blocked(pools, now=NOW + 18)


def test_a_connection_that_was_tried_before_says_nothing_of_the_probe() -> None:
    pools = pools_of(upstream("up"))
    straggler = ask(pools)
    ask(pools).fail(no_connection(), NOW)
    probe = ask(pools, NOW + 6)
    straggler.fail(no_connection(), NOW + 6)
    assert pools.doors["up/1"].sites[0].breaker.state == "half_open"
    probe.connected(NOW + 6)
    assert not blocked(pools, now=NOW + 6)


# --- without breakers ---------------------------------------------------------------------------


def test_without_breakers_nothing_but_a_rate_limit_closes_a_key() -> None:
    assert BREAKER.enabled
    pools = pools_of(upstream("up"), breaker=OFF)
    for error in (status(500), status(401), status(403), no_connection(), no_answer()):
        for _ in range(20):
            ask(pools).fail(error, NOW)
    assert not blocked(pools)
    assert pools.doors["up/1"].failures == 100
    ask(pools).fail(status(429, 5), NOW)
    assert blocked(pools)
