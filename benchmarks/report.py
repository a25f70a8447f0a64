"""The sections of a run as tables: for a terminal, and for RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from benchmarks.stage import Section

GOALS = ["goal", "measured", "promised", "met"]


def text(machine: Mapping[str, str], sections: Sequence[Section]) -> Iterator[str]:
    """For people at a terminal."""
    for name, value in machine.items():
        yield f"{name + ':':<16}{value}"
    for section in sections:
        yield ""
        yield section.title
        yield from _aligned([section.headings, *section.rows])
        yield from (f"  {note}" for note in section.notes)
    yield ""
    yield from _aligned([GOALS, *_goal_rows(sections)])


def markdown(machine: Mapping[str, str], sections: Sequence[Section], today: date) -> Iterator[str]:
    """For RESULTS.md."""
    yield "# Results"
    yield ""
    yield f"Measured on {today.isoformat()} by `make bench`; README.md says what and how."
    yield ""
    yield from _piped([GOALS, *_goal_rows(sections)])
    yield ""
    yield "## The machine"
    yield ""
    yield from _piped([["", ""], *([name, value] for name, value in machine.items())])
    for section in sections:
        yield ""
        yield f"## {section.title}"
        yield ""
        yield from _piped([section.headings, *section.rows])
        for note in section.notes:
            yield ""
            yield note
    yield ""


def _goal_rows(sections: Sequence[Section]) -> list[list[str]]:
    return [goal.row() for section in sections for goal in section.goals]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def _piped(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *rest = rows
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rest:
        yield f"| {' | '.join(row)} |"
