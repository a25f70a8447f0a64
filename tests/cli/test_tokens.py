"""The commands for admin tokens, as typed."""

from __future__ import annotations

import pytest

from tests.support.commands import Commands


def test_create_prints_the_token_alone_on_stdout(run: Commands) -> None:
    result = run("token", "create", "grafana")
    secret = result.stdout.strip()
    assert secret.startswith("rat-") and "\n" not in secret and secret not in result.stderr
    assert "Admin token 'grafana' (id 1)" in result.stderr


def test_tokens_are_listed_without_their_secret(run: Commands) -> None:
    made = run.json("token", "create", "grafana")
    secret = made.pop("secret")
    assert secret.startswith(made["prefix"])
    assert run.json("token", "list") == [made]
    listed = run("token", "list").stdout
    assert made["prefix"] in listed and secret not in listed


def test_a_token_is_switched_by_name_or_id(run: Commands) -> None:
    run("token", "create", "grafana")
    assert (
        run("token", "disable", "grafana").stdout == "Admin token 'grafana' (id 1) is disabled.\n"
    )
    assert run.json("token", "list")[0]["disabled"] is True
    assert run.json("token", "enable", "1")["disabled"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "grafana"), "there is an admin token named 'grafana' already"),
        (("create", "7"), "'7' is not a name"),
        (("disable", "nobody"), "there is no admin token 'nobody'"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    run: Commands, words: tuple[str, ...], message: str
) -> None:
    run("token", "create", "grafana")
    before = run.contents()
    result = run("token", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"relayd: {message}") and result.stderr.count("\n") == 1
    assert run.contents() == before
