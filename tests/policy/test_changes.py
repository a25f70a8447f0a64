"""What an operator hears of: one record for each change of state, however many requests fail."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadReply, BadStatus, BrokenStream, NoAnswer, RelayError
from relayd.model import UpstreamSpec
from relayd.policy.changes import Change, nobody
from relayd.policy.pools import Pools
from relayd.routing import BreakerRules
from tests.support.pools import (
    NOW,
    ask,
    break_down,
    key,
    no_connection,
    pools_of,
    status,
    upstream,
)

ECHO = "the butler hid the emerald, sk-1234567890"


def listening(*specs: UpstreamSpec, **rules: Any) -> tuple[Pools, list[Change]]:
    """Pools, and what is heard of them."""
    pools = pools_of(*specs, **rules)
    heard: list[Change] = []
    pools.on_change = heard.append
    return pools, heard


def told(heard: list[Change]) -> list[tuple[str, str]]:
    """Events and requests, of what was heard since."""
    said: list[tuple[str, str]] = [(change.event, change.request) for change in heard]
    heard.clear()
    return said


def fail(pools: Pools, *requests: str, now: float = NOW, error: RelayError | None = None) -> None:
    """These requests begin at once, then they all fail."""
    for lease in [ask(pools, now, request=request) for request in requests]:
        lease.fail(error or status(500), now)


def test_a_breaker_that_opens_is_one_change_by_the_request_that_opened_it() -> None:
    pools, heard = listening(upstream("up", "m=theirs"))
    fail(pools, "r1", "r2", "r3", "r4", "r5")
    [change] = heard
    until = pools.doors["up/1"].gates["theirs"].breaker.until
    assert change == Change(
        "opens",
        "up",
        "1",
        "theirs",
        "",
        NOW,
        "r3",
        "It answered with status 500.",
        again=until - NOW,
        failures=3,
    )


def test_a_probe_and_what_it_shows_are_changes_too() -> None:
    pools, heard = listening(upstream("up"))
    until = break_down(pools, "up/1")
    heard.clear()
    probe = ask(pools, until, request="p1")
    assert told(heard) == [("probes", "p1")]
    probe.fail(status(500), until)
    assert heard[0].failures == 0, "it is the probe that opened it again"
    assert told(heard) == [("opens", "p1")]
    until = pools.doors["up/1"].gates["m"].breaker.until
    ask(pools, until, request="p2").succeed(until, 0.1)
    assert told(heard) == [("probes", "p2"), ("closes", "p2")]
    ask(pools, until, request="r9").succeed(until, 0.1)
    assert told(heard) == []


def test_a_client_that_leaves_changes_nothing() -> None:
    pools, heard = listening(upstream("up"))
    until = break_down(pools, "up/1")
    heard.clear()
    ask(pools, until, request="p1").leave(until)
    assert told(heard) == [("probes", "p1")]


def test_a_burst_of_rate_limits_is_one_change_and_the_next_cool_down_another() -> None:
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", "r2", "r3", error=status(429, 10.0))
    assert [change.again for change in heard] == [10.0]
    assert told(heard) == [("cools", "r1")]
    fail(pools, "r4", now=NOW + 10, error=status(429, 10.0))
    assert told(heard) == [("cools", "r4")]


def test_a_rate_limit_is_no_change_where_nobody_is_left_alone_for_it() -> None:
    pools, heard = listening(upstream("up"), longest_cooldown=0.0)
    fail(pools, "r1", error=status(429, 10.0))
    assert not heard


def test_a_refused_key_is_told_once_and_so_is_a_model_at_it() -> None:
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", "r2", error=status(401))
    assert [(change.key, change.model) for change in heard] == [("1", "")]
    assert told(heard) == [("refused", "r1")]
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", "r2", error=status(403))
    assert [(change.key, change.model) for change in heard] == [("1", "m")]
    assert told(heard) == [("refused", "r1")]


def test_a_key_whose_secret_was_replaced_meanwhile_is_not_refused() -> None:
    pools, heard = listening(upstream("up"))
    lease = ask(pools, request="r1")
    pools.reload([upstream("up", keys=[key("1", secret="another")])])
    lease.fail(status(401), NOW)
    assert not heard


def test_with_breakers_off_nothing_changes() -> None:
    pools, heard = listening(upstream("up"), breaker=BreakerRules(enabled=False))
    for error in (status(500), status(401), no_connection()):
        fail(pools, "r1", error=error)
    assert not heard


def test_a_base_url_that_cannot_be_reached_says_which_one_takes_over() -> None:
    pools, heard = listening(upstream("up", urls=2))
    fail(pools, "r1", error=no_connection())
    fail(pools, "r2", error=no_connection())
    assert [(change.site, change.instead, change.model) for change in heard] == [
        ("http://up-0", "http://up-1", ""),
        ("http://up-1", "", ""),
    ]
    assert heard[0].why == "The upstream cannot be reached."
    assert told(heard) == [("opens", "r1"), ("opens", "r2")]


def test_a_base_url_is_well_as_soon_as_a_connection_comes_about() -> None:
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", error=no_connection())
    heard.clear()
    until = pools.doors["up/1"].sites[0].breaker.until
    probe = ask(pools, until, request="p1")
    probe.connected(until)
    assert [change.site for change in heard] == ["http://up-0"] * 2
    assert told(heard) == [("probes", "p1"), ("closes", "p1")]
    probe.succeed(until, 0.1)
    assert not heard


def test_a_good_probe_says_what_it_took_back() -> None:
    pools, heard = listening(upstream("up", "m", "n", "o"))
    door = pools.doors["up/1"]
    break_down(pools, "up/1")
    break_down(pools, "up/1", model="o")
    ask(pools, model="n").fail(status(403), NOW)
    door.refused = "no"
    heard.clear()
    pools.well(door, "m", None, NOW + 1)
    assert [(change.event, change.model, change.at, change.why) for change in heard] == [
        ("back", "", NOW + 1, "A probe was answered well."),
        ("closes", "m", NOW + 1, "A probe was answered well."),
        ("back", "n", NOW + 1, "A probe was answered well."),
    ]
    heard.clear()
    pools.well(door, "m", door.sites[0], NOW + 2)
    assert not heard


def test_a_good_probe_of_a_base_url_closes_its_breaker() -> None:
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", error=no_connection())
    heard.clear()
    door = pools.doors["up/1"]
    pools.well(door, None, door.sites[0], NOW)
    assert [(change.event, change.site) for change in heard] == [("closes", "http://up-0")]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            BadStatus(f"It failed with status 500: {ECHO}", upstream_status=500),
            "It answered with status 500.",
        ),
        (
            BadReply(f"The upstream answered 200 with an error: {ECHO}"),
            "The upstream answered 200 with an error",
        ),
        (BrokenStream(ECHO), "Its reply broke off, or ended in an error."),
        (NoAnswer("It sent nothing."), "It sent nothing."),
    ],
    ids=["status", "reply", "stream", "silence"],
)
def test_what_an_upstream_said_is_not_told(error: RelayError, why: str) -> None:
    """It may repeat a prompt, or our key."""
    pools, heard = listening(upstream("up"))
    fail(pools, "r1", "r2", "r3", error=error)
    assert heard[0].why == pools.doors["up/1"].gates["m"].why == why
    assert ECHO not in repr(pools.report(NOW))


def test_it_need_not_be_heard() -> None:
    pools = pools_of(upstream("up"))
    fail(pools, "r1", "r2", "r3")
    nobody(Change("opens", "up", "1", "m", "", NOW))
