"""`relayd ledger`: whether the sums are right, and who changed what."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from relayd.accounts import Change
from relayd.cli.ledger import difference
from tests.support.commands import Commands, recent


def test_right_books_are_said_to_be_right(run: Commands) -> None:
    run("key", "create", "laptop")
    run("account", "topup", "default", "5")
    run.fill([recent(n, cost=n * 1000) for n in range(10)])
    assert (
        run("ledger", "verify").stdout == "The ledger is right: every sum agrees with its rows.\n"
    )
    assert run.json("ledger", "verify") == {"good": True, "differences": []}


def test_a_difference_is_named_and_the_exit_code_1(run: Commands) -> None:
    run("key", "create", "laptop")
    run.fill([recent(1, cost=5000)])
    with closing(sqlite3.connect(run.database)) as db, db:
        db.execute("UPDATE account_spend SET cost_micro = cost_micro + 1")
    result = run("ledger", "verify")
    assert result.exit_code == 1 and "account" in result.stdout
    assert result.stderr.startswith("relayd: the ledger has ") and "difference" in result.stderr
    as_json = run("ledger", "verify", "--json")
    assert as_json.exit_code == 1 and '"good": false' in as_json.stdout


def test_every_change_has_its_line_newest_first(run: Commands) -> None:
    secret = run("key", "create", "laptop", "--account", "alice", "--rpm", "60").stdout.strip()
    run("key", "set", "laptop", "--rpm", "none", "--spend-day", "2.5")
    run("account", "topup", "alice", "20", "--reason", "invoice 7")
    lines = run.lines("ledger", "audit")
    assert "amount 20.00" in lines[0] and "reason invoice 7" in lines[0]
    assert "rpm none (was 60)" in lines[1] and "spend-day $2.50 (was none)" in lines[1]
    assert "key 1 laptop" in lines[2] and "rpm 60" in lines[2]
    assert secret not in "".join(lines) and len(lines) == 4
    newest = run.json("ledger", "audit", "--limit", "1")
    assert newest[0]["after"]["amount"] == "20.00" and newest[0]["before"] is None
    assert "The latest 1" in run("ledger", "audit", "--limit", "1").stderr


def test_the_audit_can_be_narrowed(run: Commands) -> None:
    run("key", "create", "laptop", "--account", "alice")
    run("account", "topup", "alice", "20")

    def actions(*words: str) -> list[str]:
        return [change["action"].split(".")[0] for change in run.json("ledger", "audit", *words)]

    assert actions("--what", "key.") == ["key"]
    assert actions("--of", "alice") == ["credit", "account"]
    assert actions("--by", "cli:nobody") == []
    assert len(actions("--since", "1h")) == 3
    assert run("ledger", "audit", "--since", "soon").exit_code == 1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("{}", '{"name":"x","models":["a","b"],"note":""}', "models a b"),
        ('{"name":"x"}', '{"name":"y"}', "name y (was x)"),
        ('{"disabled":false}', '{"disabled":true}', "disabled yes (was no)"),
        ('{"disabled":true}', '{"disabled":false}', "disabled no (was yes)"),
        ('{"caps":{"day":null}}', '{"caps":{"day":1500000000000}}', "spend-day $1.50 (was none)"),
        ('{"expires_at":0.5}', '{"expires_at":null}', "expires none (was 1970-01-01 00:00:00 UTC)"),
        ("", "", ""),
        ("null", "[1]", ""),
    ],
)
def test_what_became_of_what_is_told(before: str, after: str, said: str) -> None:
    told = difference(Change(1, 0.0, "cli:a", "key.change", "key 1 x", before, after))
    assert told.replace("\N{NO-BREAK SPACE}", " ") == said
