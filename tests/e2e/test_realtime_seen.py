"""What an operator sees of realtime sessions: how many are open, who ended them and how."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Daemons
from tests.support.exposition import Growth, scraped
from tests.support.running import Running
from tests.support.sessions import Talk, knock, opened


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start()


def open_sessions(relay: Running) -> float | None:
    return scraped(relay).value("relayd_realtime_open_sessions")


def ended(growth: Growth, by: str, outcome: str) -> float:
    return growth.of("relayd_realtime_sessions_total", by=by, outcome=outcome)


def test_a_session_is_open_until_it_is_over(relay: Running) -> None:
    growth = Growth(relay)
    with Talk(relay) as talk:
        talk.respond()
        assert open_sessions(relay) == 1
        assert growth.of("relayd_realtime_sessions_total") == 0
    assert relay.wait_for(lambda: open_sessions(relay) == 0)
    assert ended(growth, "client", "ok") == 1
    assert growth.of("relayd_realtime_session_duration_seconds_count") == 1
    assert growth.of("relayd_realtime_session_duration_seconds_sum") > 0


def hang_up(relay: Running) -> None:
    opened(relay).close()


def hear_out(relay: Running, model: str) -> None:
    with Talk(relay, model) as talk, contextlib.suppress(ConnectionClosed):
        talk.respond()
        talk.ending()


@pytest.mark.parametrize(
    ("end", "by", "outcome"),
    [
        (hang_up, "client", "client_gone"),
        (partial(hear_out, model="demo-closes-4321"), "upstream", "ok"),
        (partial(hear_out, model="demo-closes-1011"), "upstream", "upstream_error"),
        (partial(hear_out, model="demo-cut"), "relay", "broken_stream"),
    ],
)
def test_who_ends_a_session_and_how_is_counted_once(
    relay: Running, end: partial[None], by: str, outcome: str
) -> None:
    growth = Growth(relay)
    end(relay)
    assert relay.wait_for(lambda: ended(growth, by, outcome) == 1)
    assert growth.of("relayd_realtime_sessions_total") == 1


def test_a_session_in_which_nobody_speaks_is_ended_by_the_relay(start: Daemons) -> None:
    relay = start('demo: "on"\nrealtime: {idle_timeout: 1s}\n')
    growth = Growth(relay)
    with Talk(relay) as talk:
        talk.ending()
    assert relay.wait_for(lambda: ended(growth, "relay", "ok") == 1)


def test_what_is_refused_before_it_is_open_is_no_session(relay: Running) -> None:
    growth = Growth(relay)
    assert knock(relay, headers={"Authorization": "Bearer wrong"}).status == 401
    assert knock(relay, "/v1/realtime?model=demo-500").status == 502
    assert growth.of("relayd_realtime_sessions_total") == 0


def test_a_session_that_nobody_lets_in_names_whom_it_asked(relay: Running) -> None:
    before = relay.mark()
    assert knock(relay, "/v1/realtime?model=demo-500").status == 502
    [row] = relay.new_rows(before)
    assert (row.upstream, row.upstream_key, row.model_used) == ("demo", "1", "demo-500")
    assert row.attempts == 1
