"""The usage report, as typed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relayd.model import Usage
from relayd.money import DOLLAR
from tests.store.samples import entry
from tests.support.commands import Commands, recent, today

TODAY = f"{str(today())[:4]}-{str(today())[4:6]}-{str(today())[6:]}"


def test_usage_is_a_table_with_totals(run: Commands) -> None:
    big = Usage(in_uncached=1_000_000, cache_read=234_567, out_total=5)
    rows = [recent(1), recent(2), recent(3, model_asked="large", usage=big, duration=61.0)]
    run.fill(rows)
    lines = run.lines("usage", "--since", "1d")
    titles = "model requests failed input cached output reasoning first byte duration"
    assert lines[0].split() == titles.split()
    assert lines[1].split() == "small 2 0 240 40 60 10 250 ms 1.50 s".split()
    assert lines[2].split() == "large 1 0 1,234,567 234,567 5 - 250 ms 1 m 01 s".split()
    assert lines[3].split() == "total 3 0 1,234,807 234,607 65 10 250 ms 21.3 s".split()
    assert len(lines) == 4
    assert lines[1].index("2") == lines[2].index("1"), "numbers stand to the right"


def test_usage_tells_what_it_cost(run: Commands) -> None:
    rows = [recent(1, cost=DOLLAR // 8, uncharged=7), recent(2, cost=3, model_asked="tiny")]
    run.fill(rows)
    lines = run.lines("usage")
    assert lines[0].split()[7:11] == ["cost", "($)", "uncharged", "($)"]
    assert " 0.1250 " in lines[1] and " 0.000000000003 " in lines[2] and " 0.1250 " in lines[3]
    report = run.json("usage")
    assert [row["cost"] for row in report["rows"]] == ["0.125", "0.000000000003"]
    assert report["total"]["cost"] == "0.125000000003"
    assert report["total"]["uncharged"] == "0.000000000007"


def test_usage_tells_of_pictures_and_audio_where_there_are_any(run: Commands) -> None:
    made = Usage(images=3, audio_ms=61_000, characters=1200)
    run.fill([recent(1, usage=made), recent(2, model_asked="tiny", usage=Usage(searches=2))])
    lines = run.lines("usage")
    assert lines[0].split()[5:9] == ["pictures", "audio", "characters", "searches"]
    assert " 3 " in lines[1] and " 1 m 01 s " in lines[1] and " 1,200 " in lines[1]
    assert run.json("usage")["total"]["audio_ms"] == 61_000


def test_usage_is_grouped_as_asked(run: Commands) -> None:
    run.fill([recent(1), recent(2, status=404, outcome="refused", key_id=None)])
    expected = ["key", "status", "outcome"]
    for words in (("--by", "key,status", "--by", "outcome"), ("--by", "key, status,outcome,key")):
        report = run.json("usage", *words)
        assert report["by"] == expected
        assert {tuple(row[name] for name in expected) for row in report["rows"]} == {
            ("", "200", "ok"),
            ("", "404", "refused"),
        }
        assert report["total"]["requests"] == 2 and report["total"]["failed"] == 1


@pytest.mark.parametrize(
    ("words", "requests"),
    [
        (("--key", "laptop"), 2),
        (("--account", "bob"), 1),
        (("--model", "large"), 1),
        (("--upstream", "south"), 1),
        (("--outcome", "client_gone"), 1),
        (("--key", "1", "--model", "large"), 1),
        (("--key", "laptop", "--account", "bob"), 0),
    ],
)
def test_usage_is_narrowed_as_asked(run: Commands, words: tuple[str, ...], requests: int) -> None:
    run("key", "create", "laptop", "--account", "alice")
    run("key", "create", "phone", "--account", "bob")
    run.fill(
        [
            recent(1),
            recent(2, model_asked="large", upstream="south"),
            recent(3, key_id=2, account_id=2, outcome="client_gone"),
        ]
    )
    report = run.json("usage", *words)
    assert report["total"]["requests"] == requests
    assert sum(row["requests"] for row in report["rows"]) == requests
    assert run.json("usage", *words, "--since", "30d")["total"]["requests"] == requests
    assert len(run.json("usage", *words, "--rows", "9")) == requests


def test_an_unknown_key_is_a_refusal_not_an_empty_report(run: Commands) -> None:
    run.fill([recent(1)])
    for words in (("--key", "nobody"), ("--account", "nobody")):
        result = run("usage", *words)
        assert result.exit_code == 1 and "nobody" in result.stderr and result.stdout == ""


def test_usage_since_and_until_are_honoured(run: Commands) -> None:
    run.fill([entry(0), entry(3600)])
    words = ("--since", "2026-11-21T12:00", "--until", "2026-11-21T13:00Z")
    report = run.json("usage", *words)
    assert report["total"]["requests"] == 1 and report["whole_days"] is None
    assert report["since"] == "2026-11-21T12:00:00.000+00:00"
    assert report["until"] == "2026-11-21T13:00:00.000+00:00"
    assert len(run.json("usage", "--rows", "9", *words)) == 1


def test_a_long_report_says_that_it_counts_whole_days(run: Commands) -> None:
    run.fill([recent(1), recent(2)])
    result = run("usage", "--since", "30d", "--by", "day")
    assert result.stdout.splitlines()[1].split()[:2] == [TODAY, "2"]
    assert "Counted in whole days: " in result.stderr
    report = run.json("usage", "--since", "30d", "--by", "day")
    assert report["rows"][0]["day"] == TODAY and len(report["whole_days"]) == 2


def test_nothing_used_is_said_with_the_time(run: Commands) -> None:
    run.fill([])
    assert run("usage", "--since", "2026-11-01").stderr == (
        "No requests since 2026-11-01 00:00:00 (UTC).\n"
    )
    said = run("usage", "--since", "2026-11-01", "--until", "2026-11-02").stderr
    assert "until 2026-11-02" in said
    assert "No requests" in run("usage", "--rows", "3").stderr


def test_single_requests_are_listed_newest_first(run: Commands) -> None:
    run("key", "create", "laptop")
    rows = [recent(n) for n in range(5)]
    run.fill([*rows, replace(recent(-1), usage=Usage(), key_id=None, cost=DOLLAR)])
    lines = run.lines("usage", "--rows", "2")
    assert [line.split()[2] for line in lines[1:]] == [rows[4].request_id, rows[3].request_id]
    assert lines[1].split()[3:] == "laptop small north chat ok 200 120 30 250 ms 1.50 s".split()
    (newest,) = run.json("usage", "--rows", "1")
    assert newest["key"] == "laptop" and newest["usage"]["cache_read"] == 20
    assert (newest["cost"], newest["day"]) == ("0.00", TODAY)
    assert datetime.fromisoformat(newest["started_at"]).tzinfo == UTC
    oldest = run.json("usage", "--rows", "9")[-1]
    assert (oldest["key"], oldest["cost"]) == (None, "1.00")
    assert "1.0000" in run.lines("usage", "--rows", "9")[-1]


def test_a_long_name_is_neither_cut_nor_wrapped_nor_obeyed(run: Commands) -> None:
    name = "[red]vendor[/red]/" + "x" * 300
    run.fill([recent(1, model_asked=name), recent(2, model_asked="\x1b[2Jgone\n")])
    lines = run.lines("usage")
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
def test_a_wrong_call_is_exit_code_2(run: Commands, words: tuple[str, ...]) -> None:
    assert run("usage", *words).exit_code == 2
