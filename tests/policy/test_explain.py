"""Why nobody serves a request, in words for the client and for the operator."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import AllFull, NoUpstream
from relayd.policy.doors import LATELY, MOST_SERVED
from relayd.policy.explain import LONGEST_DETAIL, USUAL_WAIT, WORDS, state_of
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.policy.reports import STATES
from tests.support.pools import (
    NOW,
    ask,
    at,
    break_down,
    key,
    no_connection,
    pools_of,
    status,
    upstream,
)


def refusal(pools: Pools, now: float = NOW, **wanted: Any) -> NoUpstream:
    with pytest.raises(NoUpstream) as caught:
        ask(pools, now, **wanted)
    return caught.value


def test_the_client_gets_a_summary_the_operator_names_and_reasons() -> None:
    pools = pools_of(upstream("openai", "m", keys=3), upstream("azure"), upstream("spare"))
    pools.disable("openai", "1", NOW - 30)
    at(pools, "openai/2").fail(status(401), NOW)
    until = break_down(pools, "openai/3") - NOW
    at(pools, "azure/1").fail(no_connection(), NOW)
    at(pools, "spare/1").fail(status(429, 20), NOW)
    exc = refusal(pools)
    assert (exc.status, exc.code) == (503, "no_upstream")
    assert exc.message == (
        "No upstream can serve the model `m` now"
        " (1 switched off, 1 refused by its provider, 2 failing, 1 rate limited)."
    )
    lines = exc.detail.split("; ")
    assert lines[:2] == [
        "openai/1 switched off (by the operator, 30 s ago)",
        "openai/2 refused by its provider (The upstream answered 401.)",
    ]
    assert lines[2] == f"openai/3 failing (It answered with status 500.), again in {until:.0f} s"
    assert lines[3].startswith("azure/1 failing (The upstream cannot be reached.), again in ")
    assert lines[4] == "spare/1 rate limited (rate limit), again in 20 s"
    assert exc.retry_after is not None and 4.5 <= exc.retry_after <= until


def test_message_and_detail_are_bounded() -> None:
    pools = pools_of(*[upstream(f"up-{i}", "*") for i in range(200)])
    for i in range(200):
        pools.disable(f"up-{i}", None, NOW)
    with pytest.raises(NoUpstream) as caught:
        ask(pools, model="x" * 5000)
    assert len(caught.value.message) < 300
    assert len(caught.value.detail) == LONGEST_DETAIL
    assert caught.value.retry_after == USUAL_WAIT


def test_when_all_are_rate_limited_so_is_the_client() -> None:
    pools = pools_of(upstream("a", keys=3))
    ask(pools).fail(status(429, 20), NOW)
    ask(pools).fail(status(429, 7), NOW)
    pools.disable("a", ask(pools).door.key.name, NOW)
    exc = refusal(pools, NOW + 2)
    assert (exc.status, exc.code, exc.retry_after) == (429, "rate_limit_exceeded", 5.0)
    pools.enable("a", None, NOW)
    pools.disable("a", None, NOW)
    assert refusal(pools).status == 503  # rate limits are over then


def test_a_probe_that_is_under_way_is_told() -> None:
    pools = pools_of(upstream("a"))
    until = break_down(pools, "a/1")
    ask(pools, until)
    exc = refusal(pools, until)
    assert "(1 being probed)" in exc.message and exc.retry_after == USUAL_WAIT


def test_who_was_tried_is_told() -> None:
    pools = pools_of(upstream("a"))
    with pytest.raises(NoUpstream) as caught:
        ask(pools, tried=[("a/1", 0)])
    assert "(1 tried)" in caught.value.message and caught.value.detail == "a/1 tried"


@pytest.mark.parametrize(
    ("limits", "wait", "advised", "detail"),
    [
        ({"concurrency": 1}, None, 1.0, "a/1 at its limits (concurrency 1)"),
        ({"rpm": 1}, 60.5, 60.5, "a/1 at its limits (rpm 1), again in 60 s"),
        ({"tpm": 10, "rpm": 9}, 60.5, 60.5, "a/1 at its limits (rpm 9, tpm 10), again in 60 s"),
    ],
)
def test_at_its_limits_the_request_may_wait_for_as_long_as_it_takes(
    limits: dict[str, Any], wait: float | None, advised: float, detail: str
) -> None:
    pools = pools_of(upstream("a", keys=[key(**limits)]), upstream("b"))
    pools.disable("b", None, NOW)
    ask(pools, tokens=6)
    exc = refusal(pools, NOW + 0.5, tokens=6)
    assert isinstance(exc, AllFull)
    assert (exc.status, exc.code, exc.wait) == (503, "upstream_full", wait)
    assert (exc.retry_after, exc.detail.split("; ")[0]) == (advised, detail)


def test_the_first_that_has_room_again_says_how_long() -> None:
    pools = pools_of(*[upstream(name, keys=[key(rpm=1)]) for name in "ab"])
    ask(pools, NOW)
    ask(pools, NOW + 10)
    pools.reload(
        [*[d.spec for d in pools.doors.values()], upstream("c", keys=[key(concurrency=1)])]
    )
    ask(pools, NOW + 10)
    exc = refusal(pools, NOW + 20)
    assert isinstance(exc, AllFull) and exc.wait == 41.0


def test_a_report_tells_all_of_a_door() -> None:
    pools = pools_of(upstream("a", "m", "n", "o", keys=[key("main", 3)], weight=2, tier=4))
    assert tuple(pools.report(NOW)[0]) == (
        ("a", "main", 4, 6, "up", "", None, 0, 0, 0, None, None, None, (), None)
    )
    for _ in range(30):
        ask(pools).succeed(NOW, 0.5)
    until = break_down(pools, "a/main", model="n") - NOW
    at(pools, "a/main", model="o").fail(status(403), NOW)
    held = ask(pools)
    pools.doors["a/main"].trouble("m")
    [report] = pools.report(NOW)
    assert (report.state, report.until, report.in_flight) == ("up", None, 1)
    assert (report.requests, report.failures) == (35, 4)
    assert report.success_ratio == pytest.approx(30 / 34)
    assert report.first_byte == 0.5 and report.first_byte_p95 == pytest.approx(0.5, rel=0.2)
    assert report.models == (
        ("n", "open", until, "It answered with status 500."),
        ("o", "refused", None, "The upstream answered 403."),
    )
    held.fail(status(401), NOW)
    assert pools.report(NOW)[0][4:7] == ("refused", "The upstream answered 401.", None)
    pools.disable("a", None, NOW)
    assert pools.report(NOW + 9)[0][4:7] == ("disabled", "by the operator, 9 s ago", None)


def test_what_asks_for_no_model_says_nothing_of_the_others() -> None:
    pools = pools_of(upstream("a", "m"))
    ask(pools).succeed(NOW, None)
    pools.doors["a/1"].trouble("").refused = True
    [report] = pools.report(NOW)
    assert (report.state, report.models[0][:2]) == ("up", ("", "refused"))


def test_a_key_is_as_the_models_are_that_it_serves() -> None:
    pools = pools_of(upstream("a", "m", "n"))
    ask(pools).succeed(NOW, None)
    until = break_down(pools, "a/1") - NOW
    state, why, wait = pools.report(NOW)[0][4:7]
    assert (state, wait) == ("open", until) and "500" in why
    at(pools, "a/1", model="n").fail(status(429, 20), NOW)
    assert pools.report(NOW)[0][4:7] == ("cooling", "rate limit", 20.0)  # the best that there is
    assert pools.report(NOW + 30)[0].state == "half_open"  # nobody has seen it go well since
    ask(pools, NOW + 30).succeed(NOW + 30, None)
    assert pools.report(NOW + 30)[0].state == "up"


def test_a_key_is_up_as_long_as_one_model_went_well_lately() -> None:
    pools = pools_of(upstream("a", "m", "n"))
    at(pools, "a/1", model="n").succeed(NOW, None)
    break_down(pools, "a/1")
    [report] = pools.report(NOW + LATELY)
    assert report.state == "up" and [model for model, *_ in report.models] == ["m"]
    assert pools.report(NOW + LATELY + 1)[0].state == "half_open"
    break_down(pools, "a/1", model="n")
    assert pools.report(NOW)[0].state == "open"


def test_a_key_that_nobody_asks_any_more_is_not_in_trouble_for_ever() -> None:
    pools = pools_of(upstream("a"), upstream("b"))
    ends = break_down(pools, "a/1")
    at(pools, "b/1").fail(no_connection(), NOW)
    told = {
        after: [report.state for report in pools.report(ends + after)]
        for after in (-0.1, 0.0, LATELY - 9, LATELY + 9, 30 * 86400)
    }
    assert [states[0] for states in told.values()] == ["open", "half_open", "half_open", "up", "up"]
    assert told[LATELY - 9][1] == "half_open" and told[LATELY + 9][1] == "up"


def test_of_the_models_that_went_well_a_bounded_number_is_known() -> None:
    door = pools_of(upstream("a", "*")).doors["a/1"]
    for number in range(MOST_SERVED + 9):
        door.serve(f"m-{number}", NOW)
    assert len(door.served) == MOST_SERVED and f"m-{MOST_SERVED}" in door.served


def test_what_could_not_be_connected_to_is_not_up_before_somebody_got_through() -> None:
    pools = pools_of(upstream("a"))
    ask(pools).fail(no_connection(), NOW)
    assert pools.report(NOW)[0].state == "open"
    state, why, wait = pools.report(NOW + 99)[0][4:7]
    assert (state, wait) == ("half_open", 0.0) and "reached" in why
    ask(pools, NOW + 99).succeed(NOW + 99, None)
    assert pools.report(NOW + 99)[0].state == "up"


def test_a_report_of_limits_and_of_a_lost_connection() -> None:
    pools = pools_of(upstream("a", keys=[key(concurrency=1)]))
    lease = ask(pools)
    assert pools.report(NOW)[0][4:7] == ("full", "concurrency 1", None)
    lease.fail(no_connection(), NOW)
    state, why, until = pools.report(NOW)[0][4:7]
    assert (state, why) == ("open", "The upstream cannot be reached.")
    assert until is not None and 4.5 <= until <= 5.5
    assert state_of(pools.doors["a/1"], "m", 0, NOW + 10) == ("up", "", 0.0)


def test_what_a_reload_took_away_is_not_said_to_be_the_operators_doing() -> None:
    pools = pools_of(upstream("a"))
    route = pools.route("m", "chat")
    pools.reload([upstream("b")])
    with pytest.raises(NoUpstream) as caught:
        pools.choose(route, Wanted(), NOW)
    assert caught.value.detail == "a/1 switched off (no longer configured)"


def test_every_state_has_its_words() -> None:
    assert set(WORDS) == set(STATES)
