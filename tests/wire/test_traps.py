"""Every one of the known traps has a test, or a reason why it has none here.

The list is in traps.txt: the traps' numbers are those that the tests' docstrings name.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("traps.txt")
ROOT = Path(__file__).parents[2]
TRAPS = 163
NO_TEST_HERE = "- "


def lines() -> list[tuple[int, str]]:
    rows = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return [(int(number), what) for number, _, what in (row.partition(" ") for row in rows)]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_trap_is_in_the_list_in_order() -> None:
    numbers = [number for number, _ in lines()]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, TRAPS + 1))


def test_every_test_in_the_list_exists() -> None:
    named = [what.partition("::") for _, what in lines() if not what.startswith(NO_TEST_HERE)]
    missing = [f"{path}::{test}" for path, _, test in named if test not in names_in(path)]
    assert missing == []
