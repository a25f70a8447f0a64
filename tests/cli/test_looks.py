"""What the metrics page says of a running daemon, whoever wrote it, and what happened between two
looks at it."""

from __future__ import annotations

import math

import orjson
import pytest

from relayd.cli.looks import Between, Look, NoMetrics, document, figures, keys
from tests.support.watched import FAILED, SERVED, Watched

BASE = """\
relayd_build_info{version="1",python="3"} 1
process_start_time_seconds 1700000000
relayd_requests_total{model="m",outcome="ok"} 5
relayd_upstream_key_up{upstream="a",key="1"} 1
relayd_upstream_key_state{upstream="a",key="1",state="up"} 1
"""


def test_figures_are_of_what_happened_between_two_looks() -> None:
    watched = Watched()
    before = watched.look(100.0, [SERVED] * 50)
    said = figures(Between(before, watched.look(110.0, [SERVED] * 20 + [FAILED])))
    assert (said["requests"], said["failed"], said["requests_per_second"]) == (21, 1, 2.1)
    assert said["tokens_per_second"] == 20 * 30 / 10
    assert (said["input_per_second"], said["cached_per_second"]) == (20, 10)
    assert said["dollars_per_hour"] == pytest.approx(3600 * 20 * 0.01 / 10)
    assert (said["first_byte_p50"], said["first_byte_p95"]) == (0.25, 0.25)
    assert said["overhead_p95"] == 0.0005
    assert (said["keys"], said["keys_up"], said["version"]) == (3, 1, "1.2.3")


def test_keys_say_how_they_are_and_what_came_of_asking_them() -> None:
    watched = Watched()
    before = watched.look(0.0)
    for result in ("ok", "ok", "client_gone", "lost_race", "upstream_500"):
        watched.metrics.requests.attempt("up", "1", result)
    first, second, third = keys(Between(before, watched.look(10.0)))
    assert (first.name, first.state, first.attempts, first.in_flight) == ("up/1", "up", 5, 2)
    assert first.ok == pytest.approx(2 / 3) and first.troubled == {"open": 1}
    assert (second.state, second.again_in, second.ok) == ("cooling", 12.0, None)
    assert (third.state, third.again_in) == ("refused", math.inf)


def test_a_daemon_that_began_anew_did_not_run_backwards() -> None:
    before = Watched().look(1.0, [SERVED] * 50)
    assert figures(Between(before, Watched().look(2.0, [SERVED] * 3)))["requests"] == 3


def test_what_should_not_grow_is_told_when_it_does() -> None:
    watched = Watched()
    before = watched.look(1.0)
    assert figures(Between(before, watched.look(2.0)))["lost"] == {}
    watched.lines_lost = 7
    assert figures(Between(before, watched.look(3.0)))["lost"] == {"lines of the log lost": 7}


def test_a_document_is_for_programs_and_never_is_null() -> None:
    said = orjson.loads(orjson.dumps(document(Between(None, Watched().look(1.0)))))
    assert [key["again_in"] for key in said["upstream_keys"]] == [0, 12.0, None]


@pytest.mark.parametrize(
    "text",
    ["", "<html>hello", "relayd_requests_total 4\n", 'relayd_build_info{version="1 1\n', "{{{}"],
)
def test_another_page_is_no_metrics(text: str) -> None:
    with pytest.raises(NoMetrics):
        Look(text, 0.0)


@pytest.mark.parametrize(
    "line",
    [
        "relayd_in_flight_requests NaN",
        'relayd_requests_total{model="m"} +Inf',
        "process_resident_memory_bytes 1e300",
        'relayd_time_to_first_byte_seconds_bucket{le="abc"} 1',
        'relayd_time_to_first_byte_seconds_bucket{le="NaN"} 1',
        'relayd_upstream_key_state{x="1"} 1',
        "relayd_requests_total 4",
        'relayd_upstream_key_cooldown_seconds{upstream="a",key="1"} 1e18',
    ],
)
def test_what_no_relay_would_write_does_no_harm(line: str) -> None:
    said = document(Between(None, Look(f"{BASE}{line}\n", 1.7e9 + 60)))
    assert said["uptime"] == 60 and said["requests"] in (5, 9)
    assert orjson.loads(orjson.dumps(said))
    assert repr(Look(BASE, 0.0)) == "<Look at 5 series>"
