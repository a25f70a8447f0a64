"""Credits, audit and the check of the ledger by the admin API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.admin_desk import OWN_TOKEN
from tests.web.conftest import Counter


def test_credit_is_given_and_adjusted(ask: Counter, alice: Any) -> None:
    given = ask(
        "POST",
        "/accounts/alice/credits",
        {"amount": "-0.000000000001", "kind": "adjustment", "reason": "a slip"},
        status=201,
    )
    assert (given["amount"], given["kind"]) == ("-0.000000000001", "adjustment")
    assert (given["reason"], given["actor"]) == ("a slip", "config")
    assert ask("GET", "/accounts/alice")["balance"] == "19.999999999999"
    assert ask.desk.changes == 3


def test_credits_are_listed_newest_first_in_pages(ask: Counter, alice: Any) -> None:
    ask("POST", "/accounts", {"name": "bob"}, status=201)
    for account, amount in (("bob", "1"), ("alice", "2"), ("bob", "3")):
        ask("POST", f"/accounts/{account}/credits", {"amount": amount}, status=201)
    first = ask("GET", "/credits?limit=3")
    assert [row["amount"] for row in first["data"]] == ["3.00", "2.00", "1.00"]
    rest = ask("GET", f"/credits?limit=3&after={first['next']}")
    assert ([row["amount"] for row in rest["data"]], rest["next"]) == (["20.00"], None)
    for path in ("/accounts/bob/credits", "/credits?account=bob"):
        assert [row["amount"] for row in ask("GET", path)["data"]] == ["3.00", "1.00"]


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "-5"},
        {"amount": "0"},
        {"amount": "0", "kind": "adjustment"},
        {"amount": "9999999"},
        {"amount": "8999999"},
        {"amount": "1e3"},
        {"amount": "five"},
        {"amount": ""},
        {"amount": "0.0000000000001"},
        {"amount": 5},
        {"amount": None},
        {"amount": "5", "kind": "gift"},
        {"amount": "5", "reason": "x" * 1001},
        {"amount": "5", "actor": "me"},
        {},
    ],
)
def test_a_bad_amount_changes_nothing(ask: Counter, alice: Any, body: dict[str, Any]) -> None:
    assert ask.refused("POST", "/accounts/alice/credits", body)
    assert ask("GET", "/accounts/alice") == alice


def test_credit_for_nobody_is_a_404(ask: Counter) -> None:
    assert ask.refused("POST", "/accounts/nobody/credits", {"amount": "5"}, status=404)
    assert ask.refused("GET", "/credits?account=nobody", status=404)


def test_every_change_is_in_the_audit_table_with_who_made_it(ask: Counter, alice: Any) -> None:
    ask("PATCH", "/accounts/alice", {"note": "hello"}, token=OWN_TOKEN)
    newest = ask("GET", "/audit")["data"][0]
    assert (newest["actor"], newest["subject"]) == ("control", f"account {alice['id']} alice")
    assert newest["before"]["note"] == ""
    assert newest["after"]["note"] == "hello"
    lines = ask("GET", "/audit?limit=2")
    assert [line["actor"] for line in lines["data"]] == ["control", "config"]
    rest = ask("GET", f"/audit?after={lines['next']}")["data"]
    assert [line["action"] for line in rest] == ["account.create"]


def test_the_audit_table_can_be_filtered(ask: Counter, alice: Any) -> None:
    def actions(query: str) -> list[str]:
        return [line["action"] for line in ask("GET", f"/audit?{query}")["data"]]

    assert len(actions("actor=config")) == 2
    assert actions("actor=control") == []
    assert actions("action=account.create") == ["account.create"]
    assert len(actions("subject=alice")) == 2
    assert actions("until=1") == []
    assert len(actions("since=1")) == 2


def test_the_ledger_is_verified_and_every_difference_is_said(ask: Counter, alice: Any) -> None:
    assert ask("POST", "/ledger/verify") == {"ok": True, "differences": []}
