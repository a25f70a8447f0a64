"""All the operator's commands together: where they find the database, and as a real process."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relayd.cli import admin
from tests.support.commands import Commands, relayd

LOOKING = [
    ("key", "list"),
    ("key", "show", "x"),
    ("account", "list"),
    ("account", "topup", "x", "1"),
    ("token", "list"),
    ("ledger", "verify"),
    ("ledger", "audit"),
    ("usage",),
]


@pytest.mark.parametrize("words", LOOKING)
def test_only_what_makes_something_makes_a_database(run: Commands, words: tuple[str, ...]) -> None:
    run.database.unlink()
    result = run(*words)
    assert result.exit_code == 1 and "there is no database at" in result.stderr
    assert not run.database.exists()


def test_an_empty_database_says_what_to_do(run: Commands) -> None:
    run.fill([])
    assert "relayd key create NAME" in run("key", "list").stderr
    assert "relayd account create NAME" in run("account", "list").stderr
    assert "relayd token create NAME" in run("token", "list").stderr
    assert "Nothing was changed" in run("ledger", "audit").stderr
    assert run.json("key", "list") == run.json("token", "list") == run.json("ledger", "audit") == []


@pytest.mark.parametrize("name", ["key", "account", "group", "ledger", "token"])
def test_every_command_says_what_it_does_in_a_line_that_is_not_cut(name: str) -> None:
    group = relayd.commands[name]
    assert isinstance(group, click.Group)
    for command in [group, *group.commands.values()]:
        said = command.get_short_help_str(limit=66)
        assert said and not said.endswith("..."), f"{command.name}: {said}"


@pytest.mark.parametrize("words", [("key",), ("key", "set"), ("account", "topup"), ("usage",)])
def test_help_fits_a_terminal_of_80_columns(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(relayd, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0 and max(map(len, result.stdout.splitlines())) <= 80


# where the database is


def test_the_configuration_names_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text("database: here.db\n")
    (tmp_path / "other.yaml").write_text("database: there.db\n")
    paths = admin.database_path(None, None), admin.database_path("other.yaml", None)
    assert paths == (tmp_path / "here.db", tmp_path / "there.db")
    monkeypatch.setenv("RELAYD_CONFIG", str(tmp_path / "other.yaml"))
    assert admin.database_path(None, None) == tmp_path / "there.db"
    assert admin.database_path(None, "mine.db") == Path("mine.db")


def test_without_a_configuration_a_database_must_be_named(
    run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)
    result = run.bare("key", "list")
    assert result.exit_code == 2 and "give --config PATH or --database PATH" in result.stderr


@pytest.mark.parametrize(
    ("words", "name"),
    [("key", "bad.yaml"), ("key", "missing.yaml"), ("group", "missing.yaml")],
)
def test_a_configuration_that_cannot_be_used_is_a_refusal(
    tmp_path: Path, words: str, name: str
) -> None:
    (tmp_path / "bad.yaml").write_text("database: [1, 2]\n")
    result = CliRunner().invoke(relayd, [words, "list", "--config", str(tmp_path / name)])
    assert result.exit_code == 1 and name in result.stderr, result.output


# who did it


def test_the_audit_names_the_person_also_behind_sudo(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.delenv("SUDO_USER", raising=False)
    run("account", "create", "one")
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("SUDO_USER", "bert")
    run("account", "create", "two")
    assert [line["actor"] for line in run.json("ledger", "audit")] == ["cli:bert", "cli:anna"]


# a database that cannot be used


def test_a_database_of_a_newer_relayd_is_said(run: Commands) -> None:
    run.fill([])
    with closing(sqlite3.connect(run.database)) as db:
        db.execute("PRAGMA user_version = 9999")
    before = run.database.read_bytes()
    result = run("account", "create", "alice")
    assert result.exit_code == 1 and "newer" in result.stderr and result.stderr.count("\n") == 1
    assert run.database.read_bytes() == before


def test_a_file_that_is_no_database_is_said(run: Commands) -> None:
    run.database.write_text("dear diary, " * 100)
    result = run("account", "create", "alice")
    assert result.exit_code == 1 and str(run.database) in result.stderr
    assert run.database.read_text() == "dear diary, " * 100


# a real process


def test_the_program_prints_plain_text_into_a_pipe_and_loads_rich_late(run: Commands) -> None:
    program = (
        "import sys; from relayd.cli.main import main\n"
        "assert 'rich' not in sys.modules, 'the daemon would load it too'\n"
        "main(prog_name='relayd')"
    )

    def relayd(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *words, "--database", str(run.database)]
        environ = {**os.environ, "COLUMNS": "20"}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    secret = relayd("key", "create", "laptop").stdout.strip()
    listed = relayd("key", "list")
    assert secret[:16] in listed.stdout and "\x1b" not in listed.stdout
    assert len(listed.stdout.splitlines()) == 2 and listed.stderr == ""
    failed = relayd("key", "disable", "nobody")
    assert (failed.returncode, failed.stderr) == (1, "relayd: there is no key 'nobody'\n")
    paid = relayd("account", "topup", "default", "20")
    assert paid.stdout == "Account 'default' has $20.00 more: its balance is $20.00.\n"
    taken = relayd("account", "adjust", "default", "-5.5", "--reason", "a slip")
    assert taken.stdout == "Account 'default' has $5.50 less: its balance is $14.50.\n"
