"""The operator hears of each change and each reason, not of each failure."""

from __future__ import annotations

import logging

import pytest

from relayd.faults import MOST_CHANGES, MOST_REASONS, QUIET, FaultLog
from relayd.policy.changes import Change
from tests.support.logged import lines

OPENS = Change("opens", "openai", "1", "gpt", "", 0.0, "req_1", "It answered with status 500.")
URL = "https://me:secret@one.test/v1"


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "relayd")


def test_a_reason_is_told_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog()
    moments = (0.0, 1.0, 2.0, QUIET, QUIET + 1)
    said = [faults.note("up", "1", "upstream_500", now, f"req_{now:g}") for now in moments]
    assert said == [True, False, False, True, False]
    assert lines(caplog) == [
        "warning upstream key up/1 fails: upstream_500 request=req_0 upstream=up key=1"
        " reason=upstream_500",
        "warning upstream key up/1 fails: upstream_500 request=req_60 upstream=up key=1"
        " reason=upstream_500 more=2",
    ]
    assert repr(faults) == "<FaultLog 1 reasons>"


def test_reasons_and_upstreams_are_told_apart() -> None:
    faults = FaultLog()
    assert faults.note("a", "1", "x", 0.0)
    assert faults.note("b", "1", "x", 0.0)
    assert faults.note("b", "2", "x", 0.0)
    assert faults.note("a", "1", "y", 0.0)


def test_a_model_that_nobody_serves_is_told_with_the_reason_of_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog()
    assert faults.unserved("m*", "m" * 999, "a/1 failing; b/1 at its limits", 0.0, "req_1")
    for number in range(MOST_REASONS + 5):  # clients make up names
        assert not faults.unserved("m*", f"m{number}", "a/1 failing", 1.0, "req_2")
    [line] = lines(caplog)
    assert line == (
        f"warning no upstream serves {'m' * 100} request=req_1 model={'m' * 100}"
        ' why="a/1 failing; b/1 at its limits"'
    )


def test_its_memory_is_bounded() -> None:
    faults = FaultLog()
    for number in range(MOST_REASONS + 5):
        faults.note("up", "1", f"reason {number}", 0.0)
    assert len(faults._told) <= MOST_REASONS


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            OPENS._replace(failures=5, again=4.9),
            "warning upstream key openai/1: model gpt: breaker opens request=req_1 upstream=openai"
            ' key=1 model=gpt why="It answered with status 500." failures=5 again_s=4.9',
        ),
        (
            OPENS._replace(event="probes", why=""),
            "info upstream key openai/1: model gpt: breaker is half open, this request is the probe"
            " request=req_1 upstream=openai key=1 model=gpt",
        ),
        (
            OPENS._replace(event="closes", why=""),
            "warning upstream key openai/1: model gpt: breaker closes request=req_1"
            " upstream=openai key=1 model=gpt",
        ),
        (
            OPENS._replace(event="cools", why="", again=30.0),
            "warning upstream key openai/1: model gpt: rate limit of the provider, it is left alone"
            " for a while request=req_1 upstream=openai key=1 model=gpt again_s=30.0",
        ),
        (
            OPENS._replace(event="refused", why="no", model=""),
            "error upstream key openai/1 is taken out: its provider refuses it; `relayd upstream"
            " enable openai/1` takes it back request=req_1 upstream=openai key=1 why=no",
        ),
        (
            OPENS._replace(event="refused", why="no"),
            "error upstream key openai/1: model gpt: its provider refuses it request=req_1"
            " upstream=openai key=1 model=gpt why=no",
        ),
        (
            OPENS._replace(event="back", request="", model="", why="A probe was answered well."),
            "warning upstream key openai/1 is back upstream=openai key=1"
            ' why="A probe was answered well."',
        ),
        (
            OPENS._replace(model="", site=URL, why="no", again=1.0, instead="http://two.test"),
            "warning upstream openai: base URL https://one.test/v1: breaker opens request=req_1"
            " upstream=openai site=https://one.test/v1 why=no again_s=1.0 instead=http://two.test",
        ),
    ],
    ids=lambda value: value.event if isinstance(value, Change) else None,
)
def test_each_change_of_state_is_one_line(
    caplog: pytest.LogCaptureFixture, change: Change, line: str
) -> None:
    FaultLog().hear(change)
    assert lines(caplog) == [line]


def test_changes_of_made_up_models_are_bounded_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog()
    for key in ("1", "2"):
        for number in range(MOST_CHANGES + 7):
            faults.hear(OPENS._replace(event="cools", key=key, model=f"m{number}", at=0.0))
    assert len(caplog.records) == 2 * MOST_CHANGES
    faults.hear(OPENS._replace(event="refused", model="", at=1.0))
    assert len(caplog.records) == 2 * MOST_CHANGES + 1, "what is about the key is always told"
    faults.hear(OPENS._replace(at=QUIET))
    assert lines(caplog)[-1].endswith(" more=7")
    for number in range(MOST_REASONS):
        faults.hear(OPENS._replace(key=str(number), at=QUIET))
    assert len(faults._changes) <= MOST_REASONS


def test_a_storm_of_rate_limits_is_a_line_a_minute_for_each_model_at_a_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog()
    for second in range(0, 121, 2):
        for model in ("a", "b"):
            faults.hear(OPENS._replace(event="cools", model=model, at=float(second)))
    said = lines(caplog)
    assert len(said) == 6
    assert [line.rpartition(" ")[2] for line in said[2:]] == ["more=29"] * 4
