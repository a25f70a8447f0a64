"""What one key has against one model, and whether a base URL can be reached."""

from __future__ import annotations

import math

from relayd.policy.breakers import Breaker
from relayd.policy.gates import NOT_NOW, Gate, Site
from tests.support.pools import BREAKER, NOW, dice


def gate() -> Gate:
    return Gate(Breaker(BREAKER, dice()))


def opened(breaker: Breaker, now: float = NOW) -> float:
    breaker.fail(breaker.enter(now), now, at_once=True)
    return breaker.until


def test_a_gate_is_up_until_something_is_against_it() -> None:
    one = gate()
    assert (one.blocked(NOW), one.state(NOW), one.is_well) == (0.0, "up", True)
    assert repr(one) == "<Gate <Breaker closed failures=0/0>>"


def test_a_refused_one_is_closed_for_good() -> None:
    one = gate()
    one.refused = True
    assert (one.blocked(NOW), one.state(NOW), one.is_well) == (math.inf, "refused", False)
    assert repr(one) == "<Gate <Breaker closed failures=0/0> refused>"


def test_a_rate_limit_lasts_as_long_as_told_and_no_longer_than_allowed() -> None:
    one = gate()
    one.cool(7.5, 300.0, NOW)
    assert (one.blocked(NOW), one.state(NOW), one.why) == (NOW + 7.5, "cooling", "rate limit")
    assert one.is_well
    assert repr(one) == "<Gate <Breaker closed failures=0/0> cooled until 1007.5>"
    one.cool(1.0, 300.0, NOW)
    assert one.blocked(NOW) == NOW + 7.5  # the shorter of two takes nothing back
    assert one.blocked(NOW + 7.5) == 0.0
    one.cool(1e6, 300.0, NOW)
    assert one.blocked(NOW) == NOW + 300.0


def test_waits_that_nobody_told_grow_until_a_reply_comes() -> None:
    one, now, waits = gate(), NOW, []
    for _ in range(9):
        one.cool(None, 300.0, now)
        waits.append(one.cooled_until - now)
        now = one.cooled_until
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    one.well()
    one.cool(None, 300.0, now)
    assert one.cooled_until == now + 1.0


def test_a_burst_of_rate_limits_counts_once() -> None:
    one = gate()
    for _ in range(50):
        one.cool(None, 300.0, NOW)
    assert one.cooled_until == NOW + 1.0
    one.cool(None, 300.0, NOW + 1.0)
    assert one.cooled_until == NOW + 3.0


def test_a_gate_is_as_its_breaker_is() -> None:
    one = gate()
    until = opened(one.breaker)
    assert (one.blocked(NOW), one.state(NOW), one.is_well) == (until, "open", False)
    one.cool(1.0, 300.0, NOW)
    assert (one.blocked(NOW), one.state(NOW)) == (until, "cooling")
    assert one.blocked(until) == 0.0
    one.breaker.enter(until)
    assert (one.blocked(until), one.state(until), one.is_well) == (NOT_NOW, "half_open", False)


def test_a_reset_gate_has_nothing_against_anybody() -> None:
    one = gate()
    opened(one.breaker)
    one.refused = True
    one.cool(None, 300.0, NOW)
    one.reset()
    assert (one.blocked(NOW), one.state(NOW), one.why) == (0.0, "up", "")
    one.cool(None, 300.0, NOW)
    assert one.cooled_until == NOW + 1.0


def test_a_site_is_as_its_breaker_is() -> None:
    assert repr(Site(Breaker(BREAKER, dice()))) == "<Site <Breaker closed failures=0/0>>"
