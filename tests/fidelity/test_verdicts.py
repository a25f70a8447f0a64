"""The tables of fidelity count what there is, and say of each failure what and where."""

from __future__ import annotations

from typing import get_args

import pytest

from benchmarks.fidelity.verdicts import (
    Exceptional,
    Outcome,
    Verdict,
    excused,
    failed,
    judged,
    lines,
)

MEANT = [Exceptional("chat .*", "^id: ", "ids are ours"), Exceptional(".*", "^x: ", "x is odd")]


def test_an_exception_raised_by_what_is_measured_is_a_failure_with_its_place() -> None:
    def check() -> Verdict:
        raise ValueError("odd")

    verdict = judged("row", "one", check)

    assert failed([verdict])
    assert "raised ValueError in fidelity/test_verdicts.py check:" in verdict.problems[0]


def test_differences_are_excused_only_when_each_of_them_is_meant() -> None:
    assert excused("chat reply", ["id: 1 became 2"], MEANT) == "ids are ours"
    assert excused("chat reply", ["id: 1", "x: 2"], MEANT) == "ids are ours; x is odd"
    assert excused("chat reply", ["id: 1 became 2", "text: lost"], MEANT) == ""
    assert excused("gemini reply", ["id: 1 became 2"], MEANT) == ""


def test_a_table_counts_each_row_and_lists_what_is_behind_it() -> None:
    verdicts = [
        Verdict("chat", "a", "equal"),
        Verdict("chat", "b", "tolerated", ("null_is_absent",)),
        Verdict("gemini", "c", "refused", why="`tools[3]`: the gemini format has none"),
        Verdict("gemini", "d", "refused", why="`tools[4]`: the gemini format has none"),
        Verdict("gemini", "e", "failed", problems=("text: lost 'a'",)),
        Verdict("gemini", "f", "failed", problems=("text: lost 'b'",)),
    ]
    told = list(lines("format", verdicts))

    assert [line.split() for line in told[:3]] == [
        ["format", "all", "equal", "tolerated", "refused", "failed"],
        ["chat", "2", "1", "1"],
        ["gemini", "4", "2", "2"],
    ]
    assert "  tolerances: null_is_absent 1" in told
    assert "  refused: 2 x `tools[]`: that format has none  [gemini 2; c]" in told
    assert "  FAILED: gemini: 2 x text: lost  (e: text: lost 'a')" in told


def test_more_reasons_than_asked_for_are_counted() -> None:
    verdicts = [Verdict("chat", str(n), "refused", why=f"reason {n}") for n in range(5)]
    told = list(lines("format", verdicts, most=2))

    assert "  refused: 3 x 3 more reasons (--all lists them)" in told


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_only_failures_fail(outcome: Outcome) -> None:
    assert bool(failed([Verdict("row", "one", outcome)])) == (outcome == "failed")
