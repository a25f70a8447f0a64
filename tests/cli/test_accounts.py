"""The account and credit commands, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.cli.tables import dollars
from relayd.money import DOLLAR
from tests.support.commands import Commands, recent


def test_an_account_is_made_once(run: Commands) -> None:
    assert run("account", "create", "team").stdout == "Account 'team' (id 1) is created.\n"
    again = run("account", "create", "team")
    assert (again.exit_code, again.stderr) == (
        1,
        "relayd: there is an account named 'team' already\n",
    )
    made = run.json("account", "create", "other", "--note", "ours")
    assert made.pop("created_at").endswith("+00:00")
    assert made == {"id": 2, "name": "other", "group": "default", "disabled": False, "note": "ours"}


def test_accounts_are_listed_with_their_figures(run: Commands) -> None:
    run("account", "create", "team", "--note", "the whole team")
    run("key", "create", "bot", "--account", "other")
    run("account", "topup", "team", "20")
    run.fill([recent(1, account_id=1, cost=DOLLAR // 4), recent(2, account_id=2, cost=DOLLAR)])
    lines = run.lines("account", "list")
    assert lines[0].split() == "id name group keys balance ($) spent ($) note state".split()
    assert lines[1].split("  ")[0].strip() == "1" and "19.7500" in lines[1]
    assert "the whole team" in lines[1] and lines[1].endswith("enabled")
    assert lines[2].split() == ["2", "other", "default", "1", "-", "1.0000", "-", "enabled"]
    found = run.json("account", "list")
    figures = [[a["keys"], a["granted"], a["spent"], a["balance"]] for a in found]
    assert figures == [[0, "20.00", "0.25", "19.75"], [1, None, "1.00", None]]


def test_show_tells_where_a_balance_comes_from(run: Commands) -> None:
    run("key", "create", "bot", "--account", "team")
    facts = dict(line.split(maxsplit=1) for line in run.lines("account", "show", "team"))
    assert facts["balance"] == "none kept: it was never given a credit"
    assert (facts["keys"], facts["group"]) == ("bot", "default")
    run("account", "set", "team", "--note", "ours")
    run("account", "topup", "1", "5")
    run.fill([recent(1, cost=6 * DOLLAR)])
    facts = dict(line.split(maxsplit=1) for line in run.lines("account", "show", "team"))
    assert facts["balance"] == "-$1.00 (granted $5.00, spent $6.00)"
    assert facts["note"] == "ours" and facts["spent"] == "$6.00"
    assert run.json("account", "show", "team")["balance"] == "-1.00"


def test_many_keys_are_counted_not_listed(run: Commands) -> None:
    for number in range(22):
        run("key", "create", f"k{number}")
    assert "k19, 2 more" in run("account", "show", "default").stdout


def test_an_account_is_closed_and_opened(run: Commands) -> None:
    run("account", "create", "team")
    assert run("account", "disable", "team").stdout == "Account 'team' (id 1) is disabled.\n"
    assert "disabled" in run("account", "show", "1").stdout
    assert run.json("account", "enable", "1")["disabled"] is False


def test_set_changes_name_group_and_note(run: Commands) -> None:
    run("account", "create", "team")
    words = ("--name", "crew", "--note", "ours", "--group", "gold")
    assert run("account", "set", "team", *words).stdout == (
        "Account 'crew' (id 1) is now in group 'gold'.\n"
    )
    assert run("account", "set", "crew", "--note", "").stdout == (
        "Account 'crew' (id 1) is changed.\n"
    )
    assert run.json("account", "show", "crew")["note"] == ""
    assert run("account", "set", "crew").exit_code == 2


def test_a_group_must_be_in_the_configuration_where_that_is_known(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("groups: {gold: {rpm: 600}}\n")
    run = Commands(tmp_path / "relayd.db")
    with_config = ("--config", str(config))
    for words in (("create", "bob", "--group", "glod"), ("set", "bob", "--group", "glod")):
        result = run.bare("account", *words, *with_config)
        assert (result.exit_code, result.stderr) == (
            1,
            f"relayd: there is no group 'glod' in {config}; there are default, gold\n",
        )
    assert not run.database.exists()
    made = run.bare("account", "create", "bob", "--group", "gold", *with_config)
    assert made.exit_code == 0
    assert run.json("account", "show", "bob")["group"] == "gold"


# credits


def test_topup_and_adjust_say_the_balance(run: Commands) -> None:
    run("account", "create", "alice")
    first = run("account", "topup", "alice", "20", "--reason", "invoice 7")
    assert first.stdout == "Account 'alice' has $20.00 more: its balance is $20.00.\n"
    assert "It is its first credit" in first.stderr
    second = run("account", "adjust", "alice", "-5.25", "--reason", "a slip")
    assert second.stdout == "Account 'alice' has $5.25 less: its balance is $14.75.\n"
    assert second.stderr == ""
    third = run.json("account", "topup", "1", "0.000000000001")
    assert (third["amount"], third["balance"]) == ("0.000000000001", "14.750000000001")


def test_credits_are_listed_newest_first_with_who_and_why(run: Commands) -> None:
    run("account", "create", "alice")
    assert (
        "has no credits: relayd account topup alice 20" in run("account", "credits", "alice").stderr
    )
    run("account", "topup", "alice", "20", "--reason", "invoice 7")
    run("account", "adjust", "alice", "-5", "--reason", "a slip")
    lines = run.lines("account", "credits", "alice")
    assert [line.split()[3:5] for line in lines[1:3]] == [
        ["-5.0000", "adjustment"],
        ["20.0000", "grant"],
    ]
    assert "a slip" in lines[1] and "cli:" in lines[1]
    assert lines[3] == "Balance: $15.00 (granted $15.00, spent $0.00)"
    found = run.json("account", "credits", "alice", "--limit", "1")
    assert found["balance"] == "15.00" and [c["amount"] for c in found["credits"]] == ["-5.00"]
    assert "The latest 1" in run("account", "credits", "alice", "--limit", "1").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("topup", "nobody", "5"), "there is no account 'nobody'"),
        (
            ("topup", "alice", "-5"),
            "a top-up is more than 0; to take back: relayd account adjust alice -5.00",
        ),
        (("topup", "alice", "0"), "a top-up is more than 0"),
        (("topup", "alice", "five"), "'five' is not an amount of dollars"),
        (("topup", "alice", "nan"), "nan is beyond what an amount of dollars can be"),
        (("topup", "alice", "1e999999"), "1e999999 is beyond"),
        (("topup", "alice", "9000001"), "9000001 is beyond"),
        (("topup", "alice", "0.0000000000001"), "0.0000000000001 is finer"),
        (("topup", "alice", "8999999"), "the credits of an account together are at most"),
        (("adjust", "alice", "0", "--reason", "x"), "an adjustment by 0 is none"),
        (("adjust", "nobody", "-5", "--reason", "x"), "there is no account 'nobody'"),
        (("set", "nobody", "--note", "x"), "there is no account 'nobody'"),
        (("set", "alice", "--name", "bob"), "there is an account named 'bob' already"),
        (("disable", "nobody"), "there is no account 'nobody'"),
        (("credits", "nobody"), "there is no account 'nobody'"),
        (("show", "nobody"), "there is no account 'nobody'"),
        (("create", "7"), "'7' is not a name"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    run: Commands, words: tuple[str, ...], message: str
) -> None:
    run("account", "create", "alice")
    run("account", "create", "bob")
    run("account", "topup", "alice", "10")
    before = run.contents()
    result = run("account", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"relayd: {message}") and result.stderr.count("\n") == 1
    assert run.contents() == before


@pytest.mark.parametrize(
    "words",
    [("adjust", "alice", "-5"), ("topup", "alice"), ("topup", "alice", "5", "--reson", "x")],
)
def test_a_wrong_call_is_exit_code_2(run: Commands, words: tuple[str, ...]) -> None:
    run("account", "create", "alice")
    assert run("account", *words).exit_code == 2


def test_amounts_in_sentences_are_short_where_that_is_exact() -> None:
    amounts = (0, 20 * DOLLAR, -DOLLAR // 2, 1234 * DOLLAR + DOLLAR // 8, 12)
    said = [dollars(amount) for amount in amounts]
    assert said == ["$0.00", "$20.00", "-$0.50", "$1,234.1250", "$0.000000000012"]
