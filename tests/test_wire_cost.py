"""The measurement of translation's cost: it measures what it says, not how fast this machine is."""

from __future__ import annotations

import pytest

from benchmarks import wire
from relayd.model import FormatName


@pytest.mark.parametrize(("upstream", "client"), wire.CROSSINGS)
def test_a_text_event_goes_through_each_crossing_at_once(
    upstream: FormatName, client: FormatName
) -> None:
    pipe = wire.translating(upstream, client)

    assert b"Zw\xc3\xb6lf" in pipe.feed(wire.event(upstream, "Zwölf"))
    assert b"Boxk" in pipe.feed(wire.event(upstream, " Boxk"))


@pytest.mark.parametrize("name", wire.NAMES)
def test_the_same_event_is_passed_as_it_is(name: FormatName) -> None:
    event = wire.event(name, wire.USUAL_TEXT)

    assert wire.passing(name).feed(event) == event


def test_every_crossing_has_a_goal_and_every_format_its_own_passing_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "BATCH", 3)
    section = wire.per_event(1)

    assert len(section.goals) == 12
    assert [row[0] for row in section.rows if row[1] == "(passed)"] == list(wire.NAMES)
    assert all(float(row[2]) > 0 for row in section.rows)


def test_every_size_is_measured_for_every_crossing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SIZES", (100, 200_000))
    monkeypatch.setattr(wire, "MEASURED", 1000)
    section = wire.by_size()

    assert [len(row) for row in section.rows] == [4] * 12
    assert len(section.goals) == 12


def test_a_missed_promise_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wire, "BATCH", 3)
    monkeypatch.setattr(wire, "GOAL", 0.0)

    assert wire.main(["--only", "events", "--quick"]) == 1
    assert "NO" in capsys.readouterr().out
