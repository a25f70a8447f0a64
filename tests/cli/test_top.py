"""`relayd status` and `relayd top`: figures between two looks, and a screen that says them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from relayd.cli.main import main
from relayd.cli.top import Between, Look, figures, screen
from relayd.metrics.collector import Metrics
from relayd.metrics.states import LedgerState, Sources
from relayd.model import Entry, Usage
from relayd.money import pico
from relayd.policy.reports import DoorReport
from tests.conftest import Daemons
from tests.support.running import Running
from tests.support.speech import SPEECHES

SERVED = Entry(
    "req_1",
    0.0,
    format_in="chat",
    format_out="chat",
    upstream="up",
    status=200,
    outcome="ok",
    usage=Usage(in_uncached=10, cache_read=5, out_total=20),
    usage_source="reported",
    first_byte=0.2,
    duration=0.5,
    cost=pico("0.01"),
)
FAILED = replace(SERVED, status=502, outcome="upstream_error", usage_source="none", first_byte=None)


def door(key: str, state: str, until: float | None = None) -> DoorReport:
    return DoorReport("up", key, 1, 1, state, "", until, 2, 0, 0, None, None, None)


NO_TROUBLE = LedgerState()
DOORS = [door("1", "up"), door("2", "cooling", 12.0), door("3", "refused")]


class Watched:
    """Metrics that are looked at."""

    def __init__(self, ledger: LedgerState = NO_TROUBLE) -> None:
        sources = Sources(version="1.2.3", doors=lambda: DOORS, ledger=lambda: ledger)
        self.metrics = Metrics(sources)

    def look(self, moment: float, ended: Iterable[Entry] = ()) -> Look:
        for entry in ended:
            self.metrics.requests.settle(entry, "fast")
            self.metrics.requests.overhead("chat", 0.0004)
            self.metrics.requests.attempt(
                "up", "1", "ok" if entry.outcome == "ok" else "upstream_500"
            )
        return Look(self.metrics.page().decode(), moment)


def drawn(seen: Between) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(screen(seen))
    return out.getvalue()


def test_figures_are_of_what_happened_between_two_looks() -> None:
    watched = Watched()
    before = watched.look(100.0, [SERVED] * 50)
    said = figures(Between(before, watched.look(110.0, [SERVED] * 20 + [FAILED])))
    assert (said["requests"], said["failed"], said["requests_per_second"]) == (21, 1, 2.1)
    assert said["tokens_per_second"] == 20 * 30 / 10
    assert said["dollars_per_hour"] == pytest.approx(3600 * 20 * 0.01 / 10)
    assert (said["first_byte_p50"], said["first_byte_p95"]) == (0.25, 0.25)
    assert said["overhead_p95"] == 0.0005
    assert (said["keys"], said["keys_up"], said["version"]) == (3, 1, "1.2.3")


def test_where_nothing_happened_there_is_no_time_to_tell() -> None:
    watched = Watched()
    quiet = Between(watched.look(1.0, [SERVED]), watched.look(2.0))
    assert figures(quiet)["first_byte_p95"] is None
    assert "first byte -, p95 -" in drawn(quiet)


def test_a_daemon_that_began_anew_did_not_run_backwards() -> None:
    before = Watched().look(1.0, [SERVED] * 50)
    assert figures(Between(before, Watched().look(2.0, [SERVED] * 3)))["requests"] == 3


def test_the_screen_says_how_each_key_and_model_does() -> None:
    watched = Watched()
    text = drawn(Between(watched.look(0.0), watched.look(10.0, [SERVED] * 9 + [FAILED])))
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert lines["up/1"] == "up/1 up 2 1.00 90% -"
    assert lines["up/2"] == "up/2 cooling 2 0.00 - 0:00:12"
    assert lines["up/3"] == "up/3 refused 2 0.00 - never"
    assert lines["fast"] == "fast 1.00 1 14 18 32.40"
    assert "10 requests over 10 s (1/s), 1 failed" in text
    assert "first byte <=250 ms" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (LedgerState(full=True), "requests are refused"),
        (LedgerState(lag=61.0), "the usage log is 61 s behind"),
    ],
)
def test_trouble_of_the_ledger_is_said(state: LedgerState, words: str) -> None:
    watched = Watched(state)
    assert words in drawn(Between(None, watched.look(1.0)))


def test_what_is_longer_than_the_last_bucket_is_said_so() -> None:
    watched = Watched()
    seen = Between(watched.look(0.0), watched.look(1.0, [replace(SERVED, first_byte=9999.0)]))
    assert figures(seen)["first_byte_p50"] == math.inf
    assert "first byte more than 10 min" in drawn(seen)
    assert repr(seen.after).startswith("<Look at ")


# --- as typed -----------------------------------------------------------------------------------


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
    assert "requests since the start" in result.output and "demo/1" in result.output
    said = orjson.loads(run(relay, "status", "--json").output)
    assert said["requests"] >= 1 and said["uptime"] >= 0


def test_top_looks_as_often_as_it_is_told(relay: Running) -> None:
    result = run(relay, "top", "--every", "0.1", "--times", "2", "--json")
    assert result.exit_code == 0 and result.output.count('"version"') == 2
    assert "requests over" in run(relay, "top", "--every", "0.1", "--times", "1").output


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--database", str(tmp_path / "none.db")])
    assert result.exit_code == 1 and "relayd: " in result.output


def test_a_token_that_is_not_taken_is_said(start: Daemons) -> None:
    relay = start('demo: "on"\nmetrics: {token: "a-long-metrics-token"}\n')
    where = ["--url", relay.url, "--token", "a-wrong-token-0123456789"]
    result = CliRunner().invoke(main, ["status", *where])
    assert result.exit_code == 1 and "refuses the token of" in result.output
    assert run(relay, "status").exit_code == 0  # the control file opens it
