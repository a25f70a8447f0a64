"""The key commands, as typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.commands import Commands, recent

EVERYTHING = (
    *("--account", "alice", "--expires", "30d", "--models", "gpt-*, claude-*"),
    *("--models", "o4", "--endpoints", "chat,embeddings", "--address", "10.0.0.0/8"),
    *("--address", "2001:db8::/32", "--rpm", "60", "--tpm", "100k", "--concurrency", "4"),
    *("--spend-day", "5", "--spend-month", "99.50", "--spend-ever", "1000", "--note", "her own"),
    *("--lenient", "yes"),
)


def days_from_now(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def test_create_prints_the_key_alone_on_stdout_and_the_remarks_beside(run: Commands) -> None:
    result = run("key", "create", "laptop")
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert secret.startswith("sk-relayd-") and "\n" not in secret
    assert "Key 'laptop' of account 'default' (id 1)" in result.stderr
    assert "cannot be shown again" in result.stderr and secret not in result.stderr


def test_a_new_account_is_said_because_it_may_be_a_slip_of_the_hand(run: Commands) -> None:
    said = [run("key", "create", name, "--account", "alice").stderr for name in ("one", "two")]
    assert ["a new account" in text for text in said] == [True, False]


def test_a_key_is_made_with_all_that_narrows_it(run: Commands) -> None:
    made = run.json("key", "create", "laptop", *EVERYTHING)
    assert made.pop("secret").startswith(made["prefix"])
    assert made["account"] == "alice" and made["note"] == "her own"
    assert made["models"] == ["gpt-*", "claude-*", "o4"]
    assert made["endpoints"] == ["chat", "embeddings"]
    assert made["addresses"] == ["10.0.0.0/8", "2001:db8::/32"]
    assert (made["rpm"], made["tpm"], made["concurrency"]) == (60, 100_000, 4)
    assert made["spend"] == {"day": "5.00", "month": "99.50", "ever": "1000.00"}
    shown = run.json("key", "show", "laptop")
    assert {**made, "spent": shown["spent"]} == shown


def test_a_key_is_as_strict_as_its_group_unless_it_says_otherwise(run: Commands) -> None:
    made = run.json("key", "create", "laptop")
    assert made["lenient"] is None
    assert not any(line.startswith("lenient") for line in run.lines("key", "show", "laptop"))
    for word, said in (("yes", True), ("No", False)):
        assert run.json("key", "set", "laptop", "--lenient", word)["lenient"] is said
    assert "lenient    no" in run.lines("key", "show", "laptop")
    assert "neither yes nor no" in run("key", "set", "laptop", "--lenient", "maybe").stderr


def test_without_options_a_key_may_all_that_its_group_may(run: Commands) -> None:
    made = run.json("key", "create", "laptop")
    assert made["expires_at"] is made["rpm"] is made["spend"]["ever"] is None
    assert made["models"] == made["endpoints"] == made["addresses"] == []


def test_keys_are_listed_with_their_state_and_no_secret(run: Commands) -> None:
    secrets = [run("key", "create", name).stdout.strip() for name in ("one", "two")]
    run("key", "disable", "two")
    lines = run.lines("key", "list")
    titles = "id name account prefix spent ($) created (UTC) state"
    assert lines[0].split() == titles.split()
    assert lines[1].split()[:5] == ["1", "one", "default", secrets[0][:16], "0.0000"]
    assert [line.split()[-1] for line in lines[1:]] == ["enabled", "disabled"]
    assert not any(secret in "".join(lines) for secret in secrets)


def test_the_list_shows_limits_expiry_and_spending(run: Commands) -> None:
    run("key", "create", "laptop", *EVERYTHING)
    run.fill([recent(1, cost=1_250_000_000_000)])
    (line,) = run.lines("key", "list")[1:]
    assert "60 rpm, 100k tpm, 4 at once, $5/day, $99.50/month, $1,000 ever" in line
    assert days_from_now(30) in line
    assert " 1.2500 " in line
    assert run.json("key", "list")[0]["spent"] == "1.25"


def test_the_list_can_be_that_of_one_account(run: Commands) -> None:
    for name, account in (("one", "alice"), ("two", "bob"), ("three", "alice")):
        run("key", "create", name, "--account", account)
    assert [k["name"] for k in run.json("key", "list", "--account", "alice")] == ["one", "three"]


def test_show_tells_what_a_key_may_and_spent(run: Commands) -> None:
    run("key", "create", "laptop", *EVERYTHING)
    run.fill([recent(1, cost=10**12), recent(2, cost=5, day=20200101)])
    facts = dict(line.split(maxsplit=1) for line in run.lines("key", "show", "laptop"))
    assert facts["account"] == "alice (id 1, group 'default')"
    assert facts["models"] == "gpt-*, claude-*, o4"
    assert facts["spent"] == "$1.00 today, $1.00 this month, $1.0000 ever"
    assert facts["note"] == "her own" and facts["expires"].endswith("UTC")
    spent = run.json("key", "show", "laptop")["spent"]
    assert spent == {"day": "1.00", "month": "1.00", "ever": "1.000000000005"}


def test_show_says_what_is_not_narrowed(run: Commands) -> None:
    run("key", "create", "laptop")
    facts = dict(line.split(maxsplit=1) for line in run.lines("key", "show", "1"))
    assert facts["models"] == facts["endpoints"] == "all that group 'default' has"
    assert (facts["addresses"], facts["limits"], facts["expires"]) == (
        "any",
        "none of its own",
        "never",
    )


def test_set_changes_what_is_given_and_leaves_the_rest(run: Commands) -> None:
    before = run.json("key", "create", "laptop", *EVERYTHING)
    after = run.json("key", "set", "laptop", "--rpm", "10", "--spend-day", "1", "--name", "mac")
    expected = {**before, "name": "mac", "rpm": 10, "spend": {**before["spend"], "day": "1.00"}}
    del expected["secret"]
    assert after == expected
    assert "limits     10 rpm, 100k tpm" in "\n".join(run.lines("key", "set", "mac", "--rpm", "10"))


@pytest.mark.parametrize(
    ("option", "field", "empty"),
    [
        ("--expires", "expires_at", None),
        ("--models", "models", []),
        ("--endpoints", "endpoints", []),
        ("--address", "addresses", []),
        ("--rpm", "rpm", None),
        ("--tpm", "tpm", None),
        ("--concurrency", "concurrency", None),
        ("--note", "note", ""),
        ("--lenient", "lenient", None),
        ("--spend-day", "spend", {"day": None, "month": "99.50", "ever": "1000.00"}),
        ("--spend-month", "spend", {"day": "5.00", "month": None, "ever": "1000.00"}),
        ("--spend-ever", "spend", {"day": "5.00", "month": "99.50", "ever": None}),
    ],
)
def test_none_takes_a_restriction_away(run: Commands, option: str, field: str, empty: Any) -> None:
    made = run.json("key", "create", "laptop", *EVERYTHING)
    del made["secret"]
    assert run.json("key", "set", "laptop", option, "none") == {**made, field: empty}


def test_none_at_creation_is_what_stands_there_anyway(run: Commands) -> None:
    made = run.json("key", "create", "laptop", "--rpm", "none", "--models", "None", "--rpm", "none")
    assert made["rpm"] is None and made["models"] == []


def test_rotate_keeps_the_key_and_gives_a_new_secret(run: Commands) -> None:
    old = run.json("key", "create", "laptop", *EVERYTHING)
    result = run("key", "rotate", "laptop")
    assert result.stdout.strip().startswith("sk-relayd-") and result.stdout.strip() != old["secret"]
    assert "The old one is refused." in result.stderr
    new = run.json("key", "show", "laptop")
    assert new["prefix"] == result.stdout[:16]
    same = ("id", "name", "account", "rpm", "spend", "created_at", "models")
    assert [new[name] for name in same] == [old[name] for name in same]


def test_rotate_with_grace_says_until_when_the_old_one_works(run: Commands) -> None:
    run("key", "create", "laptop")
    tomorrow = days_from_now(1)
    assert f"works until {tomorrow}" in run("key", "rotate", "laptop", "--grace", "24h").stderr
    assert f"works until {tomorrow}" in run("key", "show", "laptop").stdout
    assert run.json("key", "rotate", "laptop", "--grace", "none")["secret"]
    assert "old secret" not in run("key", "show", "laptop").stdout


def test_a_key_is_switched_by_name_prefix_or_id(run: Commands) -> None:
    prefix = run("key", "create", "laptop").stdout[:16]
    for reference in ("laptop", prefix, "1"):
        assert (
            run("key", "disable", reference).stdout == f"Key 'laptop' ({prefix}...) is disabled.\n"
        )
        assert run.json("key", "enable", reference)["disabled"] is False


def test_a_closed_account_shows_on_its_keys(run: Commands) -> None:
    run("key", "create", "bot", "--account", "team")
    run("account", "disable", "team")
    assert run("key", "list").stdout.rstrip().endswith("account disabled")
    assert run.json("key", "show", "bot")["state"] == "account disabled"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "laptop"), "there is a key named 'laptop' already"),
        (("create", "7"), "'7' is not a name: it looks like an id or a key"),
        (("disable", "nobody"), "there is no key 'nobody'"),
        (("show", "nobody"), "there is no key 'nobody'"),
        (("set", "nobody", "--rpm", "1"), "there is no key 'nobody'"),
        (("set", "laptop", "--name", "other"), "there is a key named 'other' already"),
        (("rotate", "nobody"), "there is no key 'nobody'"),
        (("create", "x", "--expires", "2020-01-01"), "--expires: '2020-01-01' is in the past"),
        (("set", "laptop", "--expires", "soon"), "--expires: 'soon' is no time"),
        (("create", "x", "--address", "10.0.0.0/40"), "--address: '10.0.0.0/40' is no address"),
        (("create", "x", "--rpm", "-1"), "--rpm: '-1' is no number"),
        (("create", "x", "--spend-day", "-1"), "--spend-day: '-1' is less than nothing"),
        (("create", "x", "--spend-ever", "1e99"), "--spend-ever: 1e99 is beyond"),
        (("create", "x", "--endpoints", "video"), "--endpoints: 'video' is none of chat"),
        (("create", "x", "--note", "n" * 5000), "a note or reason has at most"),
        (("rotate", "laptop", "--grace", "long"), "--grace: 'long' is no duration"),
        (("list", "--account", "nobody"), "there is no account 'nobody'"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    run: Commands, words: tuple[str, ...], message: str
) -> None:
    run("key", "create", "laptop")
    run("key", "create", "other")
    before = run.contents()
    result = run("key", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"relayd: {message}") and result.stderr.count("\n") == 1
    assert run.contents() == before


def test_a_change_of_nothing_is_a_wrong_call(run: Commands) -> None:
    run("key", "create", "laptop")
    result = run("key", "set", "laptop")
    assert result.exit_code == 2 and "say what to change" in result.stderr
