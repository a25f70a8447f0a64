"""When a session has been silent for long enough; the clock is a number."""

from __future__ import annotations

import pytest

from relayd.model import Timeouts
from relayd.realtime.ending import Ending
from relayd.realtime.silence import Silence
from relayd.relay.watch import Patience
from relayd.routing import RealtimeRules

PATIENCE = Patience(Timeouts(stall=20.0), client=10.0)
RULES = RealtimeRules(idle_timeout=300.0, max_session=3600.0)


def at_noon() -> Silence:
    return Silence(RULES, 1000.0)


def end_of(silence: Silence, now: float, *, under_way: bool = False) -> tuple[str, int] | None:
    ending = silence.overdue(now, PATIENCE, under_way=under_way)
    if ending is None:
        return None
    assert ending.by == "relay" and ending.problem is not None
    return ending.problem.code, ending.code


def test_a_session_nobody_uses_ends() -> None:
    assert end_of(at_noon(), 1299.0) is None
    assert end_of(at_noon(), 1300.0) == ("idle_timeout", 1001)


def test_a_session_that_lasts_too_long_ends_however_busy_it_is() -> None:
    silence = at_noon()
    silence.active_at = silence.heard_at = 4599.9

    assert end_of(silence, 4599.9) is None
    assert end_of(silence, 4600.0) == ("session_expired", 1001)


def test_an_upstream_may_be_silent_between_responses_but_not_in_one() -> None:
    assert end_of(at_noon(), 1020.0) is None
    assert end_of(at_noon(), 1019.0, under_way=True) is None
    code = end_of(at_noon(), 1020.0, under_way=True)
    assert code is not None and code[1] == 1011


def test_a_client_that_does_not_read_is_given_its_time() -> None:
    silence = at_noon()
    silence.client_stuck = 1005.0

    assert end_of(silence, 1014.0) is None
    assert end_of(silence, 1015.0) == ("client_gone", 1008)


def test_an_upstream_that_nobody_reads_is_not_called_silent() -> None:
    silence = at_noon()
    silence.client_stuck = 1019.0

    assert end_of(silence, 1021.0, under_way=True) is None


@pytest.mark.parametrize("client_stuck", [None, 1009.0])
def test_an_upstream_that_does_not_read_ends_the_session(client_stuck: float | None) -> None:
    silence = Silence(RULES, 990.0)
    silence.client_stuck, silence.upstream_stuck = client_stuck, 995.0

    assert end_of(silence, 1014.0) is None
    late = silence.overdue(1015.0, PATIENCE, under_way=False)
    assert isinstance(late, Ending) and "does not read what it is sent" in str(late.problem)


def test_it_says_what_it_waits_for() -> None:
    silence = at_noon()
    silence.client_stuck = 1005.0

    assert repr(silence) == "<Silence began=1000.000 active=1000.000 stuck=[1005.0, None]>"
