"""What is wrong, and what of it is news."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.alerting import DAY, KINDS, Alert, AlertRules
from relayd.money import pico
from relayd.policy.conditions import (
    CALM,
    ERRORS_OVER,
    FEW,
    FLAPPING,
    LATE_OVER,
    LONGEST_CALM,
    MOST_LATE,
    Conditions,
    Snapshot,
)
from relayd.policy.outages import HOLD
from relayd.policy.reports import DoorReport

UNIX = 1_000_000_000.0  # by how much the two clocks differ


def door(key: str, state: str, why: str = "", *models: Any) -> DoorReport:
    return DoorReport("up", key, 1, 1, state, why, None, 0, 0, 0, None, None, None, models)


DOWN, WELL = [door("1", "open")], [door("1", "up")]
RAISED, OVER = ["raised upstream_down up critical"], ["over upstream_down up critical"]


class Look:
    """Looks at snapshots, a second after the other."""

    def __init__(self, **rules: Any) -> None:
        self.conditions = Conditions(AlertRules(**rules))
        self.now = 1000.0

    def __call__(self, after: float = 1.0, **parts: Any) -> list[str]:
        """What is told, as `state kind subject severity`."""
        return [
            f"{a.state} {a.condition.kind} {a.condition.subject} {a.condition.severity}"
            for a in self.alerts(after, **parts)
        ]

    def alerts(self, after: float = 1.0, **parts: Any) -> list[Alert]:
        self.now += after
        snapshot = Snapshot(**{"moment": UNIX + self.now, **parts})
        return self.conditions.look(snapshot, self.now)


@pytest.fixture
def look() -> Look:
    return Look()


def test_while_all_is_well_nothing_is_told(look: Look) -> None:
    well = [door("1", "up"), door("2", "full")]
    assert look(doors=well, balances=[("a", pico(5))], ended=100, failed=1) == []


def test_a_condition_is_told_once(look: Look) -> None:
    assert look(doors=DOWN) == RAISED
    for _ in range(100):
        assert look(doors=DOWN) == []


def test_an_alert_says_since_when_in_the_time_of_people(look: Look) -> None:
    [raised] = look.alerts(doors=DOWN)
    assert (raised.since, raised.at) == (UNIX + 1001, UNIX + 1001)
    # Their clock is set back by an hour: no wait is longer for that.
    [over] = look.alerts(after=CALM, moment=UNIX - 3600, doors=WELL)
    assert (over.state, over.since, over.at) == ("over", UNIX + 1001, UNIX - 3600)


def test_what_is_over_is_told_after_a_while_and_what_flickers_is_one_alert(look: Look) -> None:
    since = look.alerts(doors=DOWN)[0].since
    for _ in range(20):
        assert look(after=CALM - 0.1, doors=WELL) == []
        assert look(after=0.0, doors=DOWN) == []
    assert look(after=CALM - 0.1, doors=WELL) == []
    [over] = look.alerts(after=0.1, doors=WELL)
    assert (over.state, over.since) == ("over", since)
    assert look(doors=WELL) == []
    assert look(doors=DOWN) == RAISED


def test_what_flaps_for_hours_is_a_few_alerts(look: Look) -> None:
    """Down for three seconds, well for twelve: each time long enough to be over."""
    told = [look(doors=DOWN if second % 15 < 3 else WELL) for second in range(1800)]
    assert sum(map(len, told)) <= 3


def test_however_slowly_it_flaps_there_is_an_end_to_it(look: Look) -> None:
    told = [look(after=10, doors=DOWN if turn % 20 < 6 else WELL) for turn in range(2000)]
    assert sum(map(len, told)) <= 12


def test_what_was_well_for_long_is_over_as_quickly_as_at_first(look: Look) -> None:
    look(doors=DOWN)
    assert look(after=CALM, doors=WELL) == OVER
    assert look(doors=DOWN) == RAISED
    assert look(after=CALM, doors=WELL) == []  # it has flapped
    assert look(after=CALM, doors=WELL) == OVER
    assert look(after=FLAPPING, doors=DOWN) == RAISED
    assert look(after=CALM, doors=WELL) == OVER


def test_it_never_has_to_be_away_for_longer_than_the_longest_time(look: Look) -> None:
    for _ in range(20):
        assert look(doors=DOWN) == RAISED
        assert look(after=LONGEST_CALM, doors=WELL) == OVER


def test_what_is_no_news_keeps_an_alert_alive_and_makes_none(look: Look) -> None:
    """A key that is down is not back because all others are down with it."""
    bad = ("m", "open", None, "")
    one, two = door("1", "open", "", bad), door("2", "open", "", bad)
    for _ in range(int(HOLD)):
        look(doors=[one, door("2", "up")])
    assert look(doors=[one, door("2", "up")]) == ["raised key_down up/1 warning"]
    assert look(doors=[one, two]) == RAISED
    for _ in range(100):
        assert look(doors=[one, two]) == []
    told = look(after=10 * CALM, doors=[door("1", "up"), door("2", "up")])
    assert told == ["over key_down up/1 warning", *OVER]


def test_all_that_stands_can_be_told_to_who_has_not_heard_of_it(look: Look) -> None:
    assert look.conditions.standing() == []
    [raised] = look.alerts(doors=DOWN)
    look(doors=DOWN)
    assert look.conditions.standing() == [raised._replace(at=raised.at + 1)]
    look(after=CALM, doors=WELL)
    assert look.conditions.standing() == []


def test_what_lasts_is_told_again() -> None:
    look = Look(repeat=100.0)
    look(doors=DOWN)
    told = [look(doors=DOWN) for _ in range(250)]
    assert [one for one in told if one] == [["still upstream_down up critical"]] * 2


def test_never_again_where_that_is_wanted() -> None:
    look = Look(repeat=0.0)
    look(doors=DOWN)
    assert not any(look(after=DAY, doors=DOWN) for _ in range(30))


def test_a_balance_is_low_and_then_used_up(look: Look) -> None:
    assert look(balances=[("a", pico("1.00"))]) == []
    [low] = look.alerts(balances=[("a", pico("0.5"))])
    assert low.condition.text == "The account a has 0.50 dollars left."
    [out] = look.alerts(balances=[("a", 0)])
    assert (out.state, out.condition.severity) == ("raised", "warning")
    assert out.condition.text == "The account a has no balance left: its requests are refused."
    assert look(balances=[("a", -5)]) == []
    assert look(balances=[("a", pico(50))]) == []
    [over] = look.alerts(after=CALM, balances=[("a", pico(50))])
    assert (over.state, over.condition.over) == ("over", "The account a has balance again.")


def test_no_balance_is_told_even_where_a_low_one_is_not() -> None:
    look = Look(balance_below=0)
    assert look(balances=[("a", 1)]) == []
    assert look(balances=[("a", 0)]) == ["raised balance a warning"]


def test_what_customers_can_see_for_themselves_is_not_told_again() -> None:
    look = Look(repeat=60.0)
    empty: dict[str, Any] = {"balances": [("a", 0)], "keys": [("laptop", UNIX + 5 * DAY)]}
    assert len(look(**empty)) == 2
    assert not any(look(after=60.0, **empty) for _ in range(30))


def test_what_gets_better_is_told_when_it_stays_so(look: Look) -> None:
    empty, low = [("a", 0)], [("a", pico("0.5"))]
    assert look(balances=empty) == ["raised balance a warning"]
    assert look(balances=low) == []
    assert look(after=CALM - 1, balances=empty) == []
    assert look(after=CALM - 1, balances=low) == []
    [better] = look.alerts(after=1.0, balances=low)
    assert better.condition.text == "The account a has 0.50 dollars left."


def test_what_gets_better_and_worse_all_the_time_is_a_few_alerts(look: Look) -> None:
    told = [look(ledger="Rows wait.", ledger_full=second % 15 < 3) for second in range(900)]
    assert sum(map(len, told)) <= 4


def test_who_hears_of_what_is_critical_only_hears_that_it_is_over(look: Look) -> None:
    look(ledger="Refused.", ledger_full=True)
    look(after=CALM, ledger="Rows wait.")
    assert look(after=CALM, ledger="Rows wait.") == []
    assert look(after=9 * CALM) == ["over ledger  critical"]


def test_the_share_of_failures_is_that_of_the_last_minutes(look: Look) -> None:
    assert look(ended=1000, failed=900) == []  # before anybody looked
    assert look(ended=1000 + FEW - 1, failed=900 + FEW - 1) == []  # too few to say
    assert look(ended=1100, failed=919) == []
    told = look.alerts(ended=1100, failed=920)
    assert told[0].condition.text == "20% of the last 100 requests failed."
    assert look(after=ERRORS_OVER + 1, ended=1100, failed=920) == ["over errors  critical"]


def test_failures_are_no_news_where_that_is_wanted() -> None:
    look = Look(error_ratio=0.0)
    look(ended=0)
    assert look(ended=100, failed=100) == []


def test_trouble_of_the_ledger_gets_worse_when_requests_are_refused(look: Look) -> None:
    assert look(ledger="Rows wait.") == ["raised ledger  warning"]
    assert look(ledger="Refused.", ledger_full=True) == ["raised ledger  critical"]
    assert look(ledger="Refused.", ledger_full=True) == []


def test_a_reload_that_failed_is_told_until_one_succeeds(look: Look) -> None:
    assert look(reload_failed=True) == ["raised reload  warning"]
    [over] = look.alerts(after=CALM)
    assert over.condition.over == "The configuration was reloaded."


def test_lines_of_the_log_that_are_lost_are_told_once_and_counted_at_the_end(look: Look) -> None:
    assert look(lines_lost=3) == ["raised log  warning"]
    assert look(lines_lost=500) == []
    [over] = look.alerts(after=CALM, lines_lost=500)
    assert "500 lines were lost" in over.condition.over
    assert look(lines_lost=500) == []


def test_a_loop_that_is_held_up_for_a_tenth_of_a_minute_is_told(look: Look) -> None:
    assert look(late=MOST_LATE - 0.1) == []
    [late] = look.alerts(late=0.2)
    assert (late.condition.kind, late.condition.severity) == ("loop", "warning")
    assert "for 6 s of the last minute" in late.condition.text
    assert look(after=LATE_OVER - 5) == []
    assert look(after=CALM) == ["over loop  warning"]


@pytest.mark.parametrize(
    ("left", "words"),
    [(6.6 * DAY, "expires in 7 days"), (5 * 3600.0, "expires in 5 h"), (-1.0, "has expired")],
)
def test_what_expires_soon_says_when(look: Look, left: float, words: str) -> None:
    until = UNIX + 1001 + left
    told = look.alerts(certificates=[("up", until)], keys=[("laptop", until)])
    assert [alert.condition.text for alert in told] == [
        f"The certificate of the upstream up {words}.",
        f"The API key laptop {words}.",
    ]


def test_what_expires_later_is_no_news(look: Look) -> None:
    later = UNIX + 8 * DAY
    assert look(certificates=[("up", later)], keys=[("laptop", later)]) == []


def test_what_expires_is_told_again_when_it_has(look: Look) -> None:
    until = UNIX + look.now + 3600
    assert look(keys=[("laptop", until)]) == ["raised key_expiry laptop warning"]
    assert look(after=3500, keys=[("laptop", until)]) == []
    assert look(after=200, keys=[("laptop", until)]) == ["raised key_expiry laptop warning"]


def test_a_key_that_expired_long_ago_is_no_news(look: Look) -> None:
    until = UNIX + look.now - DAY
    assert look(keys=[("laptop", until)]) == []


def test_a_key_that_is_extended_is_over(look: Look) -> None:
    look(keys=[("laptop", UNIX + 3 * DAY)])
    [over] = look.alerts(after=CALM, keys=[("laptop", UNIX + 300 * DAY)])
    assert over.condition.over == "The API key laptop no longer expires soon."


def test_every_kind_can_come_up(look: Look) -> None:
    bad = [("m", "open", None, "")]
    doors = [door("1", "refused"), door("2", "open", "", *bad), door("3", "up")]
    down = door("1", "open")._replace(upstream="other")
    everything: dict[str, Any] = {
        "doors": [*doors, down],
        "balances": [("a", 0)],
        "ended": 100,
        "failed": 100,
        "ledger": "Rows wait.",
        "certificates": [("up", 0.0)],
        "keys": [("laptop", UNIX + look.now)],
        "reload_failed": True,
        "late": 10.0,
    }
    look()
    told = look(**everything, lines_lost=1) + look(after=HOLD, **everything, lines_lost=2)
    assert {line.split()[1] for line in told} == set(KINDS)
    assert repr(look.conditions) == "<Conditions 11 known>"
