"""Accounts by the admin API: made, changed, listed in pages, each with its money."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import Entry
from tests.web.conftest import Counter


def test_an_account_is_made_with_nothing(ask: Counter) -> None:
    made = ask("POST", "/accounts", {"name": "bob", "group": "team", "note": "x"}, status=201)
    assert (made["name"], made["group"], made["note"]) == ("bob", "team", "x")
    assert (made["granted"], made["spent"], made["balance"]) == ("0.00", "0.00", "0.00")
    assert ask("GET", "/accounts/bob") == made == ask("GET", f"/accounts/{made['id']}")
    assert ask.desk.changes == 1


def test_what_is_given_is_changed_and_the_rest_stays(ask: Counter, alice: Any) -> None:
    changed = ask("PATCH", "/accounts/alice", {"disabled": True, "note": "away"})
    assert changed == {**alice, "disabled": True, "note": "away"}
    changed = ask("PATCH", "/accounts/alice", {"name": "alice b", "group": "team"})
    assert ask("GET", "/accounts/alice%20b") == changed
    assert changed["balance"] == "20.00"


def test_the_balance_is_what_was_granted_less_what_was_spent(ask: Counter, alice: Any) -> None:
    entry = Entry("req_1", 1.0, account_id=alice["id"], cost=1, day=19700101)
    ask.desk.call(lambda: ask.desk.store.add_entries([entry]))
    assert ask("GET", "/accounts/alice")["balance"] == "19.999999999999"
    assert ask("GET", "/accounts")["data"][0]["spent"] == "0.000000000001"


def test_lists_come_in_pages(ask: Counter) -> None:
    for number in range(5):
        ask("POST", "/accounts", {"name": f"a{number}"}, status=201)
    seen, after = [], 0
    while after is not None:
        page = ask("GET", f"/accounts?limit=2&after={after}")
        seen += [row["name"] for row in page["data"]]
        after = page["next"]
    assert seen == ["a0", "a1", "a2", "a3", "a4"]
    assert len(ask("GET", "/accounts?limit=5")["data"]) == 5
    assert ask("GET", "/accounts?limit=5")["next"] is None


def test_lists_can_be_filtered(ask: Counter) -> None:
    ask("POST", "/accounts", {"name": "one", "group": "team"}, status=201)
    ask("POST", "/accounts", {"name": "two", "note": "not One"}, status=201)
    ask("PATCH", "/accounts/two", {"disabled": True})

    def names(query: str) -> list[str]:
        return [row["name"] for row in ask("GET", f"/accounts?{query}")["data"]]

    assert names("group=team") == ["one"]
    assert names("disabled=true") == ["two"]
    assert names("disabled=false") == ["one"]
    assert names("search=ONE") == ["one", "two"]
    assert names("search=nobody") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "alice"}, 409),
        ({"name": "17"}, 400),
        ({"name": ""}, 400),
        ({"name": "x" * 101}, 400),
        ({"name": "bob", "group": "teem"}, 400),
        ({"name": "bob", "balance": "5"}, 400),
        ({"name": None}, 400),
        ({}, 400),
        ([], 400),
        (b"", 400),
        (b"{", 400),
        (b'"\xff"', 400),
    ],
)
def test_a_bad_account_changes_nothing(ask: Counter, alice: Any, body: object, status: int) -> None:
    assert ask.refused("POST", "/accounts", body, status=status)
    assert len(ask("GET", "/accounts")["data"]) == 1


def test_a_group_that_is_not_configured_is_said_with_the_nearest(ask: Counter, alice: Any) -> None:
    said = ask.refused("PATCH", "/accounts/alice", {"group": "teem"})
    assert said == "There is no group `teem`; did you mean `team`?"
    assert ask.refused("PATCH", "/accounts/alice", {"group": "zzz"}) == "There is no group `zzz`."


def test_an_unknown_account_is_a_404(ask: Counter) -> None:
    assert ask.refused("GET", "/accounts/nobody", status=404)
    assert ask.refused("PATCH", "/accounts/nobody", {"note": "x"}, status=404)
    assert ask.refused("GET", "/accounts/nobody/credits", status=404)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=-1", "after"),
        ("after=9223372036854775808", "after"),
        ("after=99999999999999999999999", "after"),
        ("disabled=maybe", "disabled"),
        ("groop=team", "groop"),
        ("search=", "search"),
    ],
)
def test_a_bad_query_is_said_and_names_its_parameter(ask: Counter, query: str, param: str) -> None:
    document = ask("GET", f"/accounts?{query}", status=400)
    assert document["error"]["param"] == param


def test_a_query_that_is_no_text_or_too_long_is_said(ask: Counter) -> None:
    assert ask.refused("GET", "/accounts?search=%ff")
    assert ask.refused("GET", "/accounts?" + "limit=1&" * 40)
