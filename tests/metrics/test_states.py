"""How the parts stand, as a scrape shows it."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from relayd.metrics.collector import Metrics
from relayd.metrics.states import (
    MODEL_STATES,
    MOST_ACCOUNTS,
    Accounts,
    AccountState,
    Connections,
    Kept,
    LedgerState,
    Reloads,
    Sources,
)
from relayd.money import pico
from relayd.policy.reports import STATES, DoorReport
from tests.support.exposition import Samples


def door(key: str, state: str, until: float | None = None) -> DoorReport:
    return DoorReport("up", key, 1, 1, state, "", until, 2, 0, 0, None, None, None)


def page(**sources: Any) -> Metrics:
    return Metrics(Sources(**sources))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return Samples(metrics.page()).value(name, **labels)


@pytest.mark.parametrize("state", STATES)
def test_a_key_is_in_one_state(state: str) -> None:
    shown = page(doors=lambda: [door("1", state)])
    name = "relayd_upstream_key_state"
    told = {each: value(shown, name, upstream="up", key="1", state=each) for each in STATES}
    assert told == {each: each == state for each in STATES}
    up = value(shown, "relayd_upstream_key_up", upstream="up", key="1")
    assert up == (state in ("up", "full"))
    assert value(shown, "relayd_upstream_key_in_flight", upstream="up", key="1") == 2


def test_models_in_trouble_are_counted_and_not_named() -> None:
    models = (("a", "open", 3.0, "x"), ("b", "open", 3.0, "x"), ("c", "cooling", 1.0, "y"))
    shown = page(doors=lambda: [door("1", "up")._replace(models=models)])
    told = {
        state: value(
            shown, "relayd_upstream_key_troubled_models", upstream="up", key="1", state=state
        )
        for state in MODEL_STATES
    }
    assert told == {"cooling": 1, "half_open": 0, "open": 2, "refused": 0}


def test_a_cooldown_is_told_in_seconds_and_for_ever_is_infinite() -> None:
    doors = [door("1", "up", 9.0), door("2", "cooling", 9.0), door("3", "refused")]
    shown = page(doors=lambda: doors)
    name = "relayd_upstream_key_cooldown_seconds"
    assert [value(shown, name, upstream="up", key=key) for key in "123"] == [0, 9.0, math.inf]


def test_connections_are_idle_or_busy_made_or_used_again() -> None:
    shown = page(connections=lambda: [Connections("up", 3, 2, 7, 40)])
    assert value(shown, "relayd_upstream_connections", upstream="up", state="idle") == 3
    assert value(shown, "relayd_upstream_connections", upstream="up", state="busy") == 2
    assert value(shown, "relayd_upstream_connections_opened_total", upstream="up") == 7
    assert value(shown, "relayd_upstream_connections_reused_total", upstream="up") == 40


def test_the_ledger_says_what_waits() -> None:
    shown = page(ledger=lambda: LedgerState(5, 1.5, True, 4096, 2, 3))
    assert value(shown, "relayd_ledger_waiting_rows") == 5
    assert value(shown, "relayd_ledger_lag_seconds") == 1.5
    assert value(shown, "relayd_ledger_full") == 1
    assert value(shown, "relayd_journal_bytes") == 4096
    assert value(shown, "relayd_journal_unwritten_lines") == 2
    assert value(shown, "relayd_store_errors_total") == 3


def test_a_reload_that_failed_is_seen_until_one_succeeds() -> None:
    reloads = Reloads(read_at=100.0)
    shown = page(reloads=lambda: reloads)
    assert value(shown, "relayd_config_last_reload_successful") == 1
    reloads.note(200.0, ok=False)
    assert value(shown, "relayd_config_last_reload_successful") == 0
    assert value(shown, "relayd_config_last_reload_success_timestamp_seconds") == 100.0
    reloads.note(300.0, ok=True)
    assert value(shown, "relayd_config_last_reload_successful") == 1
    assert value(shown, "relayd_config_last_reload_success_timestamp_seconds") == 300.0
    for result in ("success", "failure"):
        assert value(shown, "relayd_config_reloads_total", result=result) == 1
    assert repr(reloads) == "<Reloads 1 succeeded, 1 failed>"


def test_an_account_without_a_balance_has_none_to_show() -> None:
    accounts = [AccountState(1, "a", pico(2), pico(8)), AccountState(2, "b", pico(1), None)]
    shown = page(accounts=lambda: accounts)
    assert value(shown, "relayd_account_cost_dollars_total", account="a") == 2
    assert value(shown, "relayd_account_balance_dollars", account="a") == 8
    assert value(shown, "relayd_account_cost_dollars_total", account="b") == 1
    assert value(shown, "relayd_account_balance_dollars", account="b") is None


COST = "relayd_account_cost_dollars_total"


def test_of_many_accounts_those_that_paid_most_have_a_name() -> None:
    paid = {id: id * pico(1) for id in range(1, MOST_ACCOUNTS + 11)}
    shown = page(accounts=lambda: [AccountState(id, f"a{id}", p, None) for id, p in paid.items()])
    assert value(shown, COST, account="a10") is None and value(shown, COST, account="a11") == 11
    assert value(shown, COST, account="other") == sum(range(1, 11))


def test_who_overtakes_gets_a_name_and_no_series_falls() -> None:
    """A series that falls would be taken for a counter that began anew."""
    paid = dict.fromkeys(range(1, MOST_ACCOUNTS + 31), 0)
    shown = page(accounts=lambda: [AccountState(id, f"a{id}", p, None) for id, p in paid.items()])
    assert value(shown, COST, account="a51") is None and value(shown, COST, account="a1") == 0
    for id in range(MOST_ACCOUNTS + 1, MOST_ACCOUNTS + 31):
        paid[id] += pico(1000)
    seen = Samples(shown.page())
    assert seen.value(COST, account="a80") == seen.value(COST, account="a51") == 1000
    assert seen.value(COST, account="a50") is None  # one of thirty who gave their places up
    assert seen.value(COST, account="other") == 30_000  # what they paid while they had no name
    paid[51] += pico(5)
    paid[50] += pico(2)
    seen = Samples(shown.page())
    assert seen.value(COST, account="a51") == 1005 and seen.value(COST, account="other") == 30_002


def test_who_is_hardly_ahead_does_not_take_a_name_away() -> None:
    paid = dict.fromkeys(range(1, MOST_ACCOUNTS + 2), pico(100))
    shown = page(accounts=lambda: [AccountState(id, f"a{id}", p, None) for id, p in paid.items()])
    shown.page()
    paid[MOST_ACCOUNTS + 1] += pico(10)
    assert value(shown, COST, account="a51") is None
    paid[MOST_ACCOUNTS + 1] += pico(1)
    assert value(shown, COST, account="a51") == 111


def test_who_is_gone_leaves_room_and_other_keeps_what_it_had() -> None:
    paid = {id: pico(id) for id in range(1, MOST_ACCOUNTS + 2)}
    shown = page(accounts=lambda: [AccountState(id, f"a{id}", p, None) for id, p in paid.items()])
    assert value(shown, COST, account="other") == 1
    del paid[2]
    seen = Samples(shown.page())
    assert seen.value(COST, account="a1") == 1 and seen.value(COST, account="other") == 1


def test_many_accounts_do_not_hold_the_loop_up() -> None:
    """A scrape runs on the loop of all streams: twice the accounts take twice as long, no more."""
    accounts = [AccountState(n, f"a{n}", n, None) for n in range(20_000)]
    begun = time.process_time()
    shown, others = Accounts().split(accounts)
    assert time.process_time() - begun < 2  # by squares it was five; it is a fiftieth
    assert len(shown) == MOST_ACCOUNTS and others == sum(range(20_000 - MOST_ACCOUNTS))


def test_an_account_may_be_called_other() -> None:
    accounts = [AccountState(1, "other", pico(2), None), AccountState(2, "b", pico(1), None)]
    shown = page(accounts=lambda: accounts)
    assert value(shown, "relayd_account_cost_dollars_total", account="other") == 2


def test_what_runs_is_told() -> None:
    shown = page(
        version="1.2.3",
        in_flight=lambda: 4,
        waiting=lambda: 1,
        clients=lambda: 9,
        spooled=lambda: 7,
        sessions=lambda: 3,
        captures=lambda: Kept(5, 2),
        spans_dropped=lambda: 11,
    )
    families = Samples(shown.page()).families
    [build] = [family for family in families if family.name == "relayd_build_info"]
    assert build.samples[0].labels["version"] == "1.2.3"
    assert value(shown, "relayd_in_flight_requests") == 4
    assert value(shown, "relayd_waiting_requests") == 1
    assert value(shown, "relayd_client_connections") == 9
    assert value(shown, "relayd_spooled_bytes") == 7
    assert value(shown, "relayd_realtime_open_sessions") == 3
    assert value(shown, "relayd_captures_total", result="kept") == 5
    assert value(shown, "relayd_captures_total", result="lost") == 2
    assert value(shown, "relayd_spans_dropped_total") == 11
