"""What is wrong, and what of it is news."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.alerting import DAY, KINDS, Alert, AlertRules
from relayd.money import pico
from relayd.policy.conditions import CALM, ERRORS_OVER, FEW, Conditions, Snapshot
from relayd.policy.reports import STATES, DoorReport

START = 1_000_000.0


def door(key: str, state: str, why: str = "", upstream: str = "up") -> DoorReport:
    return DoorReport(upstream, key, 1, 1, state, why, None, 0, 0, 0, None, None, None)


class Look:
    """Looks at snapshots, a second after the other."""

    def __init__(self, **rules: Any) -> None:
        self.conditions = Conditions(AlertRules(**rules))
        self.now = START

    def __call__(self, after: float = 1.0, **parts: Any) -> list[str]:
        """What is told, as `state kind subject severity`."""
        return [
            f"{a.state} {a.condition.kind} {a.condition.subject} {a.condition.severity}"
            for a in self.alerts(after, **parts)
        ]

    def alerts(self, after: float = 1.0, **parts: Any) -> list[Alert]:
        self.now += after
        return self.conditions.look(Snapshot(**parts), self.now)


@pytest.fixture
def look() -> Look:
    return Look()


def test_while_all_is_well_nothing_is_told(look: Look) -> None:
    well = [door("1", "up"), door("2", "full")]
    assert look(doors=well, balances=[("a", pico(5))], ended=100, failed=1) == []


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("up", "full", "disabled")])
def test_an_upstream_is_down_when_none_of_its_keys_takes_requests(look: Look, state: str) -> None:
    assert look(doors=[door("1", state), door("2", "up")])[:0] == []
    told = look.alerts(doors=[door("1", state, "rate limit"), door("2", state, "rate limit")])
    [down] = [alert for alert in told if alert.condition.kind == "upstream_down"]
    assert (down.state, down.condition.subject, down.condition.severity) == (
        "raised",
        "up",
        "critical",
    )
    assert down.condition.text.endswith("none of its keys takes requests (rate limit).")


def test_what_the_operator_switched_off_is_no_news(look: Look) -> None:
    assert look(doors=[door("1", "disabled")]) == []
    assert look(doors=[door("1", "disabled"), door("2", "up")]) == []
    assert look(doors=[door("1", "disabled"), door("2", "open")]) == [
        "raised upstream_down up critical"
    ]


def test_a_refused_key_is_told_while_its_sisters_work(look: Look) -> None:
    doors = [door("1", "refused"), door("2", "up")]
    assert look(doors=doors) == ["raised key_refused up/1 warning"]


def test_a_condition_is_told_once(look: Look) -> None:
    down = [door("1", "open")]
    assert look(doors=down) == ["raised upstream_down up critical"]
    for _ in range(100):
        assert look(doors=down) == []


def test_what_is_over_is_told_after_a_while_and_what_flickers_is_one_alert(look: Look) -> None:
    down, well = [door("1", "open")], [door("1", "up")]
    since = look.alerts(doors=down)[0].since
    for _ in range(20):
        assert look(after=CALM - 0.1, doors=well) == []
        assert look(after=0.0, doors=down) == []
    assert look(after=CALM - 0.1, doors=well) == []
    [over] = look.alerts(after=0.1, doors=well)
    assert (over.state, over.since) == ("over", since)
    assert look(doors=well) == []
    assert look(doors=down) == ["raised upstream_down up critical"]


def test_what_lasts_is_told_again() -> None:
    look = Look(repeat=100.0)
    down = [door("1", "open")]
    look(doors=down)
    told = [look(doors=down) for _ in range(250)]
    assert [one for one in told if one] == [["still upstream_down up critical"]] * 2


def test_never_again_where_that_is_wanted() -> None:
    look = Look(repeat=0.0)
    down = [door("1", "open")]
    look(doors=down)
    assert not any(look(after=DAY, doors=down) for _ in range(30))


def test_a_balance_is_low_and_then_used_up(look: Look) -> None:
    assert look(balances=[("a", pico("1.00"))]) == []
    told = look.alerts(balances=[("a", pico("0.5"))])
    assert told[0].condition.text == "The account a has 0.50 dollars left."
    assert told[0].condition.severity == "warning"
    assert look(balances=[("a", 0)]) == ["raised balance a critical"]
    assert look(balances=[("a", -5)]) == []
    assert look(balances=[("a", pico(50))]) == []
    assert look(after=CALM, balances=[("a", pico(50))]) == ["over balance a critical"]


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


@pytest.mark.parametrize(
    ("left", "words"),
    [(6.6 * DAY, "expires in 7 days"), (5 * 3600.0, "expires in 5 h"), (-1.0, "has expired")],
)
def test_what_expires_soon_says_when(look: Look, left: float, words: str) -> None:
    until = START + 1.0 + left
    told = look.alerts(certificates=[("up", until)], keys=[("laptop", until)])
    assert [alert.condition.text for alert in told] == [
        f"The certificate of the upstream up {words}.",
        f"The API key laptop {words}.",
    ]


def test_what_expires_later_is_no_news(look: Look) -> None:
    later = START + 8 * DAY
    assert look(certificates=[("up", later)], keys=[("laptop", later)]) == []


def test_every_kind_can_come_up(look: Look) -> None:
    look(ended=0)
    told = look(
        doors=[door("1", "refused")],
        balances=[("a", 0)],
        ended=100,
        failed=100,
        ledger="Rows wait.",
        certificates=[("up", 0.0)],
        keys=[("laptop", 0.0)],
    )
    assert {line.split()[1] for line in told} == set(KINDS)
    assert repr(look.conditions) == "<Conditions 7 known>"
