"""Tables of what went well, for the screen and for the page that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

WELL: Final = "ok"
BAD: Final = "FAILED"


def verdict(problems: Sequence[str]) -> str:
    """One cell: how many of its runs went well."""
    bad = sum(map(bool, problems))
    if bad:
        return f"{BAD} {bad}/{len(problems)}"
    return f"{WELL} {len(problems)}" if len(problems) > 1 else WELL


def drawn(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, aligned to be read as it is."""
    cells = [[*head], *([*row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| "
        + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in cells
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return [lines[0], rule, *lines[1:]]


def failures(problems: Mapping[str, str]) -> list[str]:
    """One line for each failure."""
    return [f"{name}: {problem}" for name, problem in problems.items() if problem]
