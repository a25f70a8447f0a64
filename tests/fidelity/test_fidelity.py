"""Recorded traffic passes through a real daemon byte for byte, and its usage is what it says.

The hand-made recordings of `tests/fixtures/traffic.jsonl` cover every format and every odd shape;
the real ones that `make fidelity` reads lie beside the checkout, on some machines only.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from benchmarks.fidelity import report
from benchmarks.fidelity.__main__ import main
from benchmarks.fidelity.check import Checked, check
from benchmarks.fidelity.expect import EMBEDDED, HIDDEN, INCOMPLETE, REWORDED
from benchmarks.fidelity.recording import FIXTURE, SHARED, read
from benchmarks.fidelity.replay import replay


def replayed(path: Path) -> list[Checked]:
    """Every exchange of the file, played and judged."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return [check(one) for one in runner.run(replay(read(path)))]


@pytest.fixture(scope="module")
def by_hand() -> list[Checked]:
    """The verdicts on the hand-made recordings: one daemon serves all tests of this module."""
    return replayed(FIXTURE)


def ids(checked: list[Checked], reason: str) -> set[str]:
    """The exchanges that deviate for this reason."""
    return {c.replayed.recorded.id for c in checked if any(r.startswith(reason) for r in c.reasons)}


def test_every_recorded_exchange_passes_whole_and_cut(by_hand: list[Checked]) -> None:
    assert [(c.replayed.recorded.id, c.failures) for c in by_hand if c.failures] == []


def test_bytes_differ_from_the_recording_only_where_that_is_meant(by_hand: list[Checked]) -> None:
    changed = {c.replayed.recorded.id for c in by_hand if not c.exact}

    assert changed == {c.replayed.recorded.id for c in by_hand if c.reasons}
    assert ids(by_hand, HIDDEN) == {
        "chat-stream/usage-chunk-not-asked",
        "chat-stream/azure-filter-chunk",
        "chat-stream/the-word-usage-in-the-text",
    }
    assert ids(by_hand, INCOMPLETE) == {"chat-stream/cut-before-the-end"}
    assert ids(by_hand, REWORDED) == {"failures/500", "failures/our-key"}
    assert ids(by_hand, EMBEDDED) == {"failures/200-with-an-error"}


def test_requests_are_changed_only_to_ask_for_usage_or_to_hoist_a_system_role(
    by_hand: list[Checked],
) -> None:
    changed = {c.replayed.recorded.id for c in by_hand if not c.request_exact}
    unasked = {
        c.replayed.recorded.id
        for c in by_hand
        if c.replayed.recorded.label == "chat stream" and not c.replayed.recorded.asked_usage
    }

    assert changed == unasked | {"gemini/system-role-hoisted"}


def test_the_fixture_states_usage_in_every_format(by_hand: list[Checked]) -> None:
    stated = {c.replayed.recorded.label for c in by_hand if c.stated}

    assert stated == {
        "chat",
        "chat stream",
        "embeddings",
        "gemini",
        "gemini stream",
        "gemini-aux",
        "messages",
        "messages stream",
        "responses",
        "responses stream",
    }


def test_the_command_counts_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FIXTURE), "--only", "gemini-stream"]) == 0
    told = capsys.readouterr().out
    assert "3 passed, 0 failed\n" in told
    assert "\ngemini -> messages stream" in told


def test_the_command_refuses_a_file_that_holds_no_exchanges(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_text('{"id": "half"}\n')

    assert main([str(path)]) == 2


def test_real_provider_traffic_passes_whole_and_cut() -> None:
    if not SHARED.exists():
        pytest.skip("no recorded provider traffic beside this checkout")

    checked = replayed(SHARED)

    assert [(c.replayed.recorded.id, c.failures) for c in checked if c.failures] == []
    assert len(report.failed_ids(checked)) == 0
