"""Keys by the admin API: the secret is seen once, limits are changed in parts, rotation keeps
identity."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from relayd.model import Entry
from tests.support.admin_desk import NOW
from tests.web.conftest import Counter


def make(ask: Counter, **fields: Any) -> Any:
    return ask("POST", "/keys", {"name": "laptop", "account": "alice", **fields}, status=201)


def digests(ask: Counter) -> list[bytes]:
    return [key.digest for key in ask.desk.call(ask.desk.store.keys)]


def test_the_secret_is_in_the_answer_that_made_it_and_nowhere_else(
    ask: Counter, alice: Any
) -> None:
    made = make(ask)
    secret = made.pop("secret")
    assert secret.startswith("sk-relayd-")
    assert digests(ask) == [sha256(secret.encode()).digest()]
    assert ask("GET", "/keys/laptop") == made
    assert ask("GET", "/keys")["data"] == [made]
    for path in ("/keys", "/audit", "/keys/laptop"):
        assert secret not in ask.desk.ask("GET", path).body.decode()


def test_a_key_has_all_that_was_asked_for(ask: Counter, alice: Any) -> None:
    later = NOW + 3600.0
    made = make(
        ask,
        account=str(alice["id"]),
        expires_at=later,
        models=["fast-*"],
        endpoints=["chat"],
        addresses=["10.0.0.0/8", "2001:db8::/32"],
        limits={"rpm": 60, "burst": 5},
        caps={"day": "0.5"},
        note="for the train",
        lenient=True,
    )
    assert (made["account"], made["account_id"]) == ("alice", alice["id"])
    assert (made["expires_at"], made["models"], made["endpoints"]) == (later, ["fast-*"], ["chat"])
    assert made["addresses"] == ["10.0.0.0/8", "2001:db8::/32"]
    assert made["limits"] == {"rpm": 60, "tpm": None, "concurrency": None, "burst": 5.0}
    assert made["caps"] == {"day": "0.50", "month": None, "ever": None}
    assert (made["note"], made["spent"], made["rotated_until"]) == ("for the train", "0.00", None)
    assert made["lenient"] is True
    assert ask("PATCH", "/keys/laptop", {"lenient": None})["lenient"] is None


def test_of_limits_and_caps_what_is_not_given_stays(ask: Counter, alice: Any) -> None:
    make(ask, limits={"rpm": 60, "tpm": 1000}, caps={"day": "1", "ever": "9"})
    changed = ask("PATCH", "/keys/laptop", {"limits": {"rpm": None}, "caps": {"day": "2.5"}})
    assert changed["limits"] == {"rpm": None, "tpm": 1000, "concurrency": None, "burst": 60.0}
    assert changed["caps"] == {"day": "2.50", "month": None, "ever": "9.00"}
    changed = ask("PATCH", "/keys/laptop", {"disabled": True, "models": ["a"], "name": "phone"})
    assert (changed["disabled"], changed["models"]) == (True, ["a"])
    assert changed["caps"]["ever"] == "9.00"
    assert ask("GET", "/keys/phone") == changed


def test_rotation_keeps_the_key_and_the_old_secret_for_a_while(ask: Counter, alice: Any) -> None:
    made = make(ask)
    entry = Entry("req_1", 1.0, key_id=made["id"], account_id=alice["id"], cost=5, day=19700101)
    ask.desk.call(lambda: ask.desk.store.add_entries([entry]))
    rotated = ask("POST", "/keys/laptop/rotate", {"grace": 60})
    assert rotated["id"] == made["id"]
    assert rotated["spent"] == "0.000000000005"
    assert rotated["secret"] != made["secret"]
    assert rotated["rotated_until"] == NOW + 60.0
    again = ask("POST", "/keys/laptop/rotate")
    assert digests(ask) == [sha256(again["secret"].encode()).digest()]


def test_keys_can_be_filtered(ask: Counter, alice: Any) -> None:
    make(ask)
    ask("POST", "/accounts", {"name": "bob", "group": "team"}, status=201)
    make(ask, name="desktop", account="bob")

    def names(query: str) -> list[str]:
        return [row["name"] for row in ask("GET", f"/keys?{query}")["data"]]

    assert names("account=bob") == ["desktop"]
    assert names("group=team") == ["desktop"]
    assert names("search=lap") == ["laptop"]
    assert names("disabled=true") == []
    assert names("limit=1") == ["laptop"]
    assert names(f"after={ask('GET', '/keys?limit=1')['next']}") == ["desktop"]
    assert ask.refused("GET", "/keys?account=nobody", status=404)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": "taken"}, 409),
        ({"account": "nobody"}, 404),
        ({"expires_at": 1.0}, 400),
        ({"addresses": ["10.0.0.0/99"]}, 400),
        ({"endpoints": ["telepathy"]}, 400),
        ({"models": [""]}, 400),
        ({"models": "fast"}, 400),
        ({"limits": {"rpm": 0}}, 400),
        ({"limits": {"rpm": 1.5}}, 400),
        ({"limits": {"speed": 1}}, 400),
        ({"limits": {"burst": 0}}, 400),
        ({"caps": {"day": "-1"}}, 400),
        ({"caps": {"day": "9999999"}}, 400),
        ({"caps": {"day": "0.0000000000001"}}, 400),
        ({"caps": {"day": 5}}, 400),
        ({"secret": "sk-relayd-mine"}, 400),
    ],
)
def test_a_bad_key_changes_nothing(
    ask: Counter, alice: Any, fields: dict[str, Any], status: int
) -> None:
    make(ask, name="taken")
    body = {"name": "laptop", "account": "alice", **fields}
    assert ask.refused("POST", "/keys", body, status=status)
    assert [key["name"] for key in ask("GET", "/keys")["data"]] == ["taken"]


def test_an_account_does_not_come_about_by_a_misspelt_name(ask: Counter, alice: Any) -> None:
    ask.refused("POST", "/keys", {"name": "laptop", "account": "alcie"}, status=404)
    assert [row["name"] for row in ask("GET", "/accounts")["data"]] == ["alice"]


def test_an_unknown_key_is_a_404(ask: Counter) -> None:
    assert ask.refused("GET", "/keys/nobody", status=404)
    assert ask.refused("PATCH", "/keys/nobody", {"note": "x"}, status=404)
    assert ask.refused("POST", "/keys/nobody/rotate", status=404)


def test_a_beginning_that_two_keys_share_is_ambiguous(ask: Counter, alice: Any) -> None:
    make(ask)
    make(ask, name="desktop")
    assert ask.refused("GET", "/keys/sk-relayd-", status=409)


def test_a_whole_number_may_be_written_as_json_has_it(ask: Counter, alice: Any) -> None:
    made = make(ask, limits={"rpm": 60.0, "burst": 1.5})
    assert (made["limits"]["rpm"], made["limits"]["burst"]) == (60, 1.5)


@pytest.mark.parametrize("amount", ["20\n", "5\n"])
def test_an_amount_does_not_end_in_a_line_end(ask: Counter, alice: Any, amount: str) -> None:
    ask.refused("POST", "/accounts/alice/credits", {"amount": amount})
    ask.refused("POST", "/keys", {"name": "x", "account": "alice", "caps": {"day": amount}})
    assert ask("GET", "/accounts/alice")["granted"] == "20.00"
