"""Patterns for model names."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.globs import Glob, fill


@pytest.mark.parametrize(
    ("pattern", "name", "stars"),
    [
        ("*", "", [""]),
        ("*", "any/thing", ["any/thing"]),
        ("gpt-*", "gpt-4o", ["4o"]),
        ("gpt-*", "GPT-4o", None),
        ("*-latest", "claude-latest", ["claude"]),
        ("a*a", "a", None),
        ("a*b*c", "a-b-b-c", ["-", "-b-"]),
        ("a*b*c", "a-c", None),
        ("a*b*c", "abc", ["", ""]),
        ("**", "x", ["", "x"]),
        ("a.*", "abc", None),
        ("[a]*", "a", None),
        ("a*", "a\nb", ["\nb"]),
    ],
)
def test_stars_stand_for_any_characters(pattern: str, name: str, stars: list[str] | None) -> None:
    assert Glob(pattern).match(name) == stars


@given(st.text("ab*", max_size=8).filter(lambda p: "*" in p), st.text("ab", max_size=12))
def test_matching_agrees_with_fnmatch(pattern: str, name: str) -> None:
    stars = Glob(pattern).match(name)
    assert (stars is not None) == fnmatchcase(name, pattern)
    if stars is not None:
        assert fill(pattern, stars) == name


def test_a_nasty_name_is_matched_in_linear_time() -> None:
    assert Glob("*a" * 50 + "*b").match("a" * 100_000) is None


@pytest.mark.parametrize(
    ("target", "stars", "name"),
    [
        ("vendor/*", ["m-1"], "vendor/m-1"),
        ("*/*", ["a", "b"], "a/b"),
        ("fixed", ["a"], "fixed"),
        ("*-*", ["a"], "a-*"),
        ("*", ["*"], "*"),
    ],
)
def test_a_target_is_filled_star_by_star(target: str, stars: list[str], name: str) -> None:
    assert fill(target, stars) == name


def test_the_longest_literal_start_is_the_most_particular() -> None:
    patterns = ["*", "*-mini-preview", "gpt-*", "gpt-*-mini", "gpt-4*"]
    shuffled = sorted(map(Glob, reversed(patterns)), key=lambda glob: glob.particularity)
    assert [glob.pattern for glob in shuffled] == patterns
    assert repr(shuffled[0]) == "Glob('*')"
