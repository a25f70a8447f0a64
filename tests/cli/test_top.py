"""`relayd status` and `relayd top` as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from relayd.cli import top
from relayd.cli.daemon import Office
from relayd.cli.looks import Look
from relayd.cli.main import main
from relayd.cli.store import Failed
from relayd.control import Control
from relayd.model import Secret
from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream
from tests.support.running import Running
from tests.support.scripted_upstream import reply
from tests.support.speech import SPEECHES
from tests.support.watched import SERVED, Watched


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start()


def run(relay: Running, *words: str) -> Result:
    database = str(relay.daemon.config.database)
    return CliRunner().invoke(main, [*words, "--database", database])


def test_status_finds_the_daemon_and_says_how_it_does(relay: Running) -> None:
    path, body = SPEECHES["chat"].ask("demo")
    relay.ask(path, body)
    result = run(relay, "status")
    assert result.exit_code == 0, result.output
    assert "since its start" in result.output and "demo/1" in result.output
    said = orjson.loads(run(relay, "status", "--json").output)
    assert said["requests"] >= 1 and said["uptime"] >= 0


def test_top_looks_as_often_as_it_is_told(relay: Running) -> None:
    result = run(relay, "top", "--every", "0.1", "--times", "2", "--json")
    assert result.exit_code == 0 and result.output.count('"version"') == 2
    assert "req/s" in run(relay, "top", "--every", "0.1", "--times", "1").output


def test_in_a_pipe_there_are_no_colours(relay: Running) -> None:
    assert "\x1b" not in run(relay, "status").output


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--database", str(tmp_path / "none.db")])
    assert result.exit_code == 1 and "relayd: " in result.output


def test_a_token_that_is_not_taken_is_said(start: Daemons) -> None:
    relay = start('demo: "on"\nmetrics: {token: "a-long-metrics-token"}\n')
    where = ["--url", relay.url, "--token", "a-wrong-token-0123456789"]
    result = CliRunner().invoke(main, ["status", *where])
    assert result.exit_code == 1 and "refuses the token of" in result.output
    assert run(relay, "status").exit_code == 0  # the control file opens it


@pytest.mark.parametrize("body", [b"", b"<html>hello", b'{"a": 1}'])
def test_what_is_no_relayd_is_said_to_be_none(body: bytes) -> None:
    stranger = AnsweringUpstream(lambda asked: reply(body))
    try:
        where = ["--url", stranger.url, "--token", "a-token-0123456789"]
        result = CliRunner().invoke(main, ["status", *where])
    finally:
        stranger.close()
    assert result.exit_code == 1 and f"what answers at {where[1]} is no" in result.output


def test_an_answer_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.cli.daemon.LARGEST", 1000)
    stranger = AnsweringUpstream(lambda asked: reply(b"#" * 2000))
    try:
        where = ["--url", stranger.url, "--token", "a-token-0123456789"]
        result = CliRunner().invoke(main, ["status", *where])
    finally:
        stranger.close()
    assert result.exit_code == 1 and "it does not end" in result.output


def test_a_daemon_that_is_away_for_a_while_does_not_end_the_watching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched()
    answers: list[Any] = [
        watched.look(100.0, [SERVED]),
        Failed("it is not running"),
        watched.look(110.0, [SERVED] * 5),
    ]

    def look(office: Office) -> Look:
        answer = answers.pop(0)
        if isinstance(answer, Failed):
            raise answer
        assert isinstance(answer, Look)
        return answer

    monkeypatch.setattr(top, "look", look)
    office = Office(Control("http://127.0.0.1:1", Secret(""), 0), "nowhere")
    (first, silence), (second, after) = top.watched(lambda: office, 0.0, 2)
    assert silence.startswith("no answer for ") and "it is not running" in silence
    assert first.after.moment == 100.0  # what was seen last
    assert (after, second.seconds, second.grown("relayd_requests_total")) == ("", 10.0, 5)
