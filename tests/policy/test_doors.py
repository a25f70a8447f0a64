"""Whether one upstream key lets a request through, and what it remembers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relayd.errors import BadCall, BrokenStream, NoUpstream
from relayd.policy.breakers import Breaker
from relayd.policy.doors import MOST_GATES, Door, Tally, is_fault, refuses, unreachable
from relayd.policy.gates import NOT_NOW, Site
from relayd.routing import Routing
from tests.support.pools import BREAKER, NOW, dice, key, no_answer, no_connection, status, upstream


def site() -> Site:
    return Site(Breaker(BREAKER, dice()))


def door(urls: int = 1, **limits: Any) -> Door:
    spec = upstream("up", keys=[key(**limits)], urls=urls)
    sites = [site() for _ in range(urls)]
    return Door(spec, spec.keys[0], sites, Routing(breaker=BREAKER), dice())


def opened(breaker: Breaker, now: float = NOW) -> float:
    breaker.fail(breaker.enter(now), now, at_once=True)
    return breaker.until


# --- the tally ----------------------------------------------------------------------------------


def test_the_tally_forgets_by_halves() -> None:
    tally = Tally()
    assert tally.ratio(NOW) is None
    for failed in (True, False, False, False):
        tally.count(failed, NOW)
    assert tally.ratio(NOW) == 0.75
    assert repr(tally) == "<Tally 1.0 of 4.0 failed>"
    tally.count(True, NOW + 60)
    assert tally.ratio(NOW + 60) == pytest.approx(0.5)
    assert tally.ratio(NOW + 1000) is None


# --- doors --------------------------------------------------------------------------------------


def test_a_new_door_is_open() -> None:
    one = door()
    assert (one.blocked("m", 10**9, NOW), one.site(NOW), one.is_well(NOW)) == (0.0, 0, True)
    assert one.gates.get("m") is None
    assert repr(one) == "<Door up/1 up in_flight=0 <Tally 0.0 of 0.0 failed>>"


def test_disabled_and_refused_doors_are_closed_for_good() -> None:
    one = door()
    one.disabled = True
    assert (one.blocked("m", 0, NOW), one.is_well(NOW)) == (math.inf, True)
    assert repr(one).startswith("<Door up/1 disabled ")
    one.disabled, one.refused = False, "no"
    assert (one.blocked("m", 0, NOW), one.is_well(NOW)) == (math.inf, False)
    assert repr(one).startswith("<Door up/1 refused ")


def test_the_trouble_of_one_model_is_not_anothers() -> None:
    one = door()
    until = opened(one.trouble("m").breaker)
    assert one.blocked("m", 0, NOW) == until
    assert one.blocked("n", 0, NOW) == 0.0
    assert one.trouble("m") is one.gates.get("m")
    assert not one.is_well(NOW)


def test_limits_leave_no_room_until_time_or_the_end_of_another_request_makes_it() -> None:
    one = door(rpm=2, tpm=100, concurrency=2)
    assert not one.unlimited
    one.enter(90, NOW)
    assert (one.blocked("m", 10, NOW), one.blocked("m", 11, NOW)) == (0.0, NOT_NOW)
    assert one.room(11, NOW) == 61.0  # with the whole second in which they were taken
    one.enter(1, NOW + 2)
    assert one.room(1, NOW + 2) is None
    one.in_flight = 0
    assert one.room(1, NOW + 2) == 59.0
    assert one.room(50, NOW + 2) == 59.0
    assert one.room(100, NOW + 2) == 61.0  # the longer of both
    assert one.room(1, NOW + 61) == 0.0


def test_more_tokens_than_the_limit_fit_when_nothing_else_is_inside() -> None:
    one = door(tpm=100)
    assert one.room(1000, NOW) == 0.0
    one.enter(1000, NOW)
    assert one.blocked("m", 1, NOW) == NOT_NOW


def test_tokens_are_corrected_where_they_were_taken() -> None:
    one = door(tpm=100)
    one.enter(90, NOW)
    one.correct(-60, NOW, NOW + 5)
    assert one.room(70, NOW + 5) == 0.0
    one.correct(40, NOW, NOW + 5)
    assert one.blocked("m", 31, NOW + 5) == NOT_NOW
    door().correct(40, NOW, NOW)  # without a limit there is nothing to correct


def test_the_first_base_url_that_may_be_connected_to_is_used() -> None:
    one = door(urls=3)
    until = opened(one.sites[0].breaker)
    assert (one.site(NOW), one.blocked("m", 0, NOW), one.is_well(NOW)) == (1, 0.0, False)
    assert one.site(NOW, [("up/1", 1)]) == 2
    assert one.site(NOW, [("up/1", 1), ("up/1", 2)]) is None
    assert one.site(NOW, [("other/1", 1)]) == 1
    later = opened(one.sites[1].breaker, NOW + 1)
    assert opened(one.sites[2].breaker, NOW + 2) > later > until
    assert one.blocked("m", 0, NOW + 2) == until
    one.sites[0].breaker.enter(until)
    assert one.blocked("m", 0, until) == NOT_NOW
    assert repr(one.sites[0]).startswith("<Site <Breaker half_open")


def test_a_site_that_may_be_tried_again_is_well_when_somebody_got_through() -> None:
    """Who asks for probes would else have none, once the open time of its only site is over."""
    one = door()
    breaker = one.sites[0].breaker
    until = opened(breaker)
    assert (one.blocked("m", 0, until), one.is_well(until)) == (0.0, False)
    breaker.succeed(breaker.enter(until), until)
    assert one.is_well(until)


def test_resetting_a_door_resets_all_of_it() -> None:
    one = door(urls=2)
    opened(one.sites[0].breaker)
    opened(one.trouble("m").breaker)
    one.refused = "no"
    one.reset()
    assert (one.blocked("m", 0, NOW), one.site(NOW), one.is_well(NOW)) == (0.0, 0, True)


def test_a_rate_limited_model_needs_no_probe() -> None:
    one = door()
    one.trouble("m").cool(100, 300, NOW)
    assert one.blocked("m", 0, NOW) and one.is_well(NOW)


def test_gates_are_bounded_and_the_healthy_leave_first() -> None:
    one = door()
    opened(one.trouble("bad").breaker)
    one.trouble("forbidden").refused = True
    for n in range(3 * MOST_GATES):
        one.trouble(f"model-{n}")
    assert len(one.gates) == MOST_GATES
    assert one.gates.get("bad") is not None and one.gates.get("forbidden") is not None
    for n in range(2 * MOST_GATES):
        one.trouble(f"bad-{n}").refused = True
    assert len(one.gates) == MOST_GATES and one.gates.get("bad") is None


# --- what errors mean ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (None, False),
        (BadCall("no"), False),
        (NoUpstream("no"), False),
        (no_connection(), True),
        (no_answer(), True),
        (BrokenStream("no"), True),
        *[(status(code), True) for code in (401, 403, 500, 503, 529)],
        *[(status(code), False) for code in (408, 425, 429)],
    ],
)
def test_only_an_upstreams_own_failures_are_faults(error: BadCall | None, fault: bool) -> None:
    assert is_fault(error) is fault


def test_what_refuses_and_what_cannot_be_reached() -> None:
    assert refuses(status(401)) and not refuses(status(500)) and not refuses(None)
    assert unreachable(no_connection()) and not unreachable(no_answer())
