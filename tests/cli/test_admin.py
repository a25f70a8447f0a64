"""The key and account commands, and the usage report, as typed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from relayd import cli_admin
from relayd.cli_tables import count, printable, span
from relayd.cli_usage import parse_moment
from relayd.model import Entry, Usage
from relayd.store.sqlite import SqliteStore
from tests.store.samples import NOON, entry

Invoke = Callable[..., Result]


@click.group()
def relayd() -> None:
    """The command line with nothing but these commands."""


cli_admin.register(relayd)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "relayd.db"


@pytest.fixture
def invoke(database: Path) -> Invoke:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(relayd, [*words, "--database", str(database)])

    return invoke


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def fill(database: Path, rows: Sequence[Entry]) -> None:
    async def steps() -> None:
        store = await SqliteStore.open(database)
        await store.add_entries(rows)
        await store.close()

    asyncio.run(steps())


def recent(number: int, **changes: Any) -> Entry:
    return entry(number, started_at=datetime.now(UTC).timestamp() - 60 + number, **changes)


# keys and accounts


def test_create_prints_the_key_alone_on_stdout_and_the_remarks_beside(invoke: Invoke) -> None:
    result = invoke("key", "create", "laptop")
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert secret.startswith("sk-relayd-") and "\n" not in secret
    assert "Key 'laptop' of account 'default' (id 1)" in result.stderr
    assert "cannot be shown again" in result.stderr and secret not in result.stderr


def test_keys_are_listed_with_their_state_and_no_secret(invoke: Invoke) -> None:
    secrets = [invoke("key", "create", name).stdout.strip() for name in ("one", "two")]
    invoke("key", "disable", "two")
    lines = invoke("key", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "name", "account", "key", "created", "(UTC)", "state"]
    assert lines[1].split()[:4] == ["1", "one", "default", f"{secrets[0][:16]}..."]
    assert [line.split()[-1] for line in lines[1:]] == ["enabled", "disabled"]
    assert not any(secret in "".join(lines) for secret in secrets)


def test_a_key_is_switched_by_name_prefix_or_id(invoke: Invoke) -> None:
    prefix = invoke("key", "create", "laptop").stdout[:16]
    for reference in ("laptop", prefix, "1"):
        assert (
            invoke("key", "disable", reference).stdout
            == f"Key 'laptop' ({prefix}...) is disabled.\n"
        )
        assert parsed(invoke("key", "enable", reference, "--json"))["disabled"] is False


def test_a_closed_account_shows_on_its_keys(invoke: Invoke) -> None:
    invoke("key", "create", "bot", "--account", "team")
    assert invoke("account", "disable", "team").stdout == "Account 'team' (id 1) is disabled.\n"
    assert invoke("key", "list").stdout.rstrip().endswith("account disabled")
    assert parsed(invoke("account", "enable", "1", "--json")) == {
        "id": 1,
        "name": "team",
        "disabled": False,
    }


def test_accounts_are_listed_with_how_many_keys_they_have(invoke: Invoke) -> None:
    assert invoke("account", "create", "team").stdout == "Account 'team' (id 1) is created.\n"
    invoke("key", "create", "bot", "--account", "other")
    rows = [line.split() for line in invoke("account", "list").stdout.splitlines()]
    assert rows[1:] == [["1", "team", "0", "enabled"], ["2", "other", "1", "enabled"]]
    assert [a["keys"] for a in parsed(invoke("account", "list", "--json"))] == [0, 1]


def test_scripts_read_json(invoke: Invoke) -> None:
    made = parsed(invoke("key", "create", "laptop", "--json"))
    secret = made.pop("secret")
    assert secret.startswith(made["prefix"])
    assert parsed(invoke("key", "list", "--json")) == [made]
    assert made["account"] == "default" and made["created_at"].endswith("+00:00")
    assert parsed(invoke("account", "create", "team", "--json"))["name"] == "team"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("key", "create", "laptop"), "relayd: there is a key named 'laptop' already\n"),
        (("key", "disable", "nobody"), "relayd: there is no key 'nobody'\n"),
        (("account", "create", "default"), "relayd: there is an account named 'default' already\n"),
        (("account", "disable", "nobody"), "relayd: there is no account 'nobody'\n"),
        (("key", "create", "7"), "relayd: '7' is not a name: it looks like an id or a key\n"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_1(
    invoke: Invoke, words: tuple[str, ...], message: str
) -> None:
    invoke("key", "create", "laptop")
    result = invoke(*words)
    assert (result.exit_code, result.stderr, result.stdout) == (1, message, "")


@pytest.mark.parametrize("words", [("key", "list"), ("account", "list"), ("usage",)])
def test_looking_makes_no_database(invoke: Invoke, database: Path, words: tuple[str, ...]) -> None:
    result = invoke(*words)
    assert result.exit_code == 1 and "there is no database at" in result.stderr
    assert not database.exists()


def test_an_empty_database_says_what_to_do(invoke: Invoke, database: Path) -> None:
    fill(database, [])
    assert "relayd key create NAME" in invoke("key", "list").stderr
    assert "relayd account create NAME" in invoke("account", "list").stderr
    assert invoke("usage", "--since", "2026-11-01").stderr == (
        "No requests since 2026-11-01 00:00:00 (UTC).\n"
    )
    assert "until 2026" in invoke("usage", "--since", "2026-11-01", "--until", "2026-11-02").stderr
    assert "No requests" in invoke("usage", "--rows", "3").stderr
    assert parsed(invoke("key", "list", "--json")) == []


# where the database is


def test_the_configuration_names_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text("database: here.db\n")
    (tmp_path / "other.yaml").write_text("database: there.db\n")
    paths = cli_admin.database_path(None, None), cli_admin.database_path("other.yaml", None)
    assert paths == (tmp_path / "here.db", tmp_path / "there.db")
    monkeypatch.setenv("RELAYD_CONFIG", str(tmp_path / "other.yaml"))
    assert cli_admin.database_path(None, None) == tmp_path / "there.db"
    assert cli_admin.database_path(None, "mine.db") == Path("mine.db")


def test_a_configuration_that_cannot_be_used_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("database: [1, 2]\n")
    for name in ("bad.yaml", "missing.yaml"):
        result = CliRunner().invoke(relayd, ["key", "list", "--config", str(tmp_path / name)])
        assert result.exit_code == 1 and name in result.stderr, result.output


# the usage report


def test_usage_is_a_table_with_totals(invoke: Invoke, database: Path) -> None:
    big = Usage(in_uncached=1_000_000, cache_read=234_567, out_total=5)
    rows = [recent(1), recent(2), recent(3, model_asked="large", usage=big, duration=61.0)]
    fill(database, rows)
    lines = invoke("usage", "--since", "1d").stdout.splitlines()
    titles = ["model", "requests", "failed", "input", "cached", "output", "reasoning"]
    assert lines[0].split() == [*titles, "first", "byte", "duration"]
    assert lines[1].split() == "small 2 0 240 40 60 10 250 ms 1.50 s".split()
    assert lines[2].split() == "large 1 0 1,234,567 234,567 5 - 250 ms 1 m 01 s".split()
    assert lines[3].split() == "total 3 0 1,234,807 234,607 65 10 250 ms 21.3 s".split()
    assert len(lines) == 4
    assert lines[1].index("2") == lines[2].index("1"), "numbers stand to the right"


def test_usage_is_grouped_as_asked(invoke: Invoke, database: Path) -> None:
    fill(database, [recent(1), recent(2, status=404, outcome="refused", key_id=None)])
    expected = ["key", "status", "outcome"]
    for words in (("--by", "key,status", "--by", "outcome"), ("--by", "key, status,outcome,key")):
        report = parsed(invoke("usage", *words, "--json"))
        assert report["by"] == expected
        assert {tuple(row[name] for name in expected) for row in report["rows"]} == {
            ("", "200", "ok"),
            ("", "404", "refused"),
        }
        assert report["total"]["requests"] == 2 and report["total"]["failed"] == 1


def test_usage_since_and_until_are_honoured(invoke: Invoke, database: Path) -> None:
    fill(database, [entry(0), entry(3600)])
    words = ("usage", "--since", "2026-11-21T12:00", "--until", "2026-11-21T13:00Z", "--json")
    report = parsed(invoke(*words))
    assert report["total"]["requests"] == 1
    assert report["since"] == "2026-11-21T12:00:00.000+00:00"
    assert report["until"] == "2026-11-21T13:00:00.000+00:00"


def test_single_requests_are_listed_newest_first(invoke: Invoke, database: Path) -> None:
    invoke("key", "create", "laptop")
    rows = [recent(n) for n in range(5)]
    fill(database, [*rows, replace(recent(-1), usage=Usage(), key_id=None)])
    lines = invoke("usage", "--rows", "2").stdout.splitlines()
    assert [line.split()[2] for line in lines[1:]] == [rows[4].request_id, rows[3].request_id]
    assert lines[1].split()[3:] == "laptop small north chat ok 200 120 30 250 ms 1.50 s".split()
    (newest,) = parsed(invoke("usage", "--rows", "1", "--json"))
    assert newest["key"] == "laptop" and newest["usage"]["cache_read"] == 20
    assert parsed(invoke("usage", "--rows", "9", "--json"))[-1]["key"] is None


def test_a_long_name_is_neither_cut_nor_wrapped_nor_obeyed(invoke: Invoke, database: Path) -> None:
    name = "[red]vendor[/red]/" + "x" * 300
    fill(database, [recent(1, model_asked=name), recent(2, model_asked="\x1b[2Jgone\n")])
    lines = invoke("usage").stdout.splitlines()
    assert len(lines) == 4
    assert any(line.startswith(name) for line in lines)
    assert any(line.startswith("\ufffd[2Jgone\ufffd") for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ("--by", "secret"),
        ("--since", "yesterday"),
        ("--since", "1h", "--until", "2h"),
        ("--rows", "0"),
        ("--rows", "3", "--by", "key"),
    ],
)
def test_a_wrong_call_is_exit_code_2(invoke: Invoke, words: tuple[str, ...]) -> None:
    assert invoke("usage", *words).exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", NOON - 90),
        ("30m", NOON - 1800),
        ("2h", NOON - 7200),
        (" 1d ", NOON - 86_400),
        ("2w", NOON - 14 * 86_400),
        ("999999999w", 0.0),
        ("2026-11-21", NOON - 12 * 3600),
        ("2026-11-21T12:00", NOON),
        ("2026-11-21 13:00+01:00", NOON),
    ],
)
def test_moments_are_ago_or_dates_in_utc(text: str, seconds: float) -> None:
    assert parse_moment(text, NOON) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1d", "2026-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(text, NOON)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.0042, "4.2 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (59.96, "1 m 00 s"),
        (3599.4, "59 m 59 s"),
        (7805, "2 h 10 m"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_unknown_is_a_dash_and_zero_is_zero() -> None:
    assert (count(None), count(0), count(1234567)) == ("-", "0", "1,234,567")
    assert (printable(""), printable("a\x07b")) == ("-", "a\ufffdb")


# a real process


def test_the_program_prints_plain_text_into_a_pipe_and_loads_rich_late(database: Path) -> None:
    program = (
        "import sys; from relayd.cli import main\n"
        "assert 'rich' not in sys.modules, 'the daemon would load it too'\n"
        "main(prog_name='relayd')"
    )

    def relayd(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *words, "--database", str(database)]
        environ = {**os.environ, "COLUMNS": "20"}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    secret = relayd("key", "create", "laptop").stdout.strip()
    listed = relayd("key", "list")
    assert secret[:16] + "..." in listed.stdout and "\x1b" not in listed.stdout
    assert len(listed.stdout.splitlines()) == 2 and listed.stderr == ""
    failed = relayd("key", "disable", "nobody")
    assert (failed.returncode, failed.stderr) == (1, "relayd: there is no key 'nobody'\n")
