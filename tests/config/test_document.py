"""The walker under the configuration: bounds, lines, variables, names."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relayd.config.document import (
    MAX_DEPTH,
    MAX_FILE,
    ConfigProblems,
    Place,
    Problem,
    Source,
    Wrong,
    interpolate,
    read_text,
    root,
    unknown,
)


def place(text: str, environ: dict[str, str] | None = None) -> Place:
    return root(text, Source(Path("/etc/relayd"), environ or {}))


def refusal(text: str) -> str:
    with pytest.raises(ConfigProblems) as caught:
        place(text)
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\n", "line 3: is not YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "a: 1\n\tb: 2\n",
            "line 2: is not YAML: found character '\\t' that cannot start any token",
        ),
        ("a: b: c", "line 1: is not YAML: mapping values are not allowed here"),
        ("a: &x 1\nb: *x", "line 1: is not YAML: anchors and aliases are not used here"),
        ("b: *x", "line 1: is not YAML: anchors and aliases are not used here"),
        ("a: !!python/name:os.system x", "line 1: is not YAML: tags are not used here"),
        ("a: 1\n---\nb: 2", "line 2: is not YAML: but found another document"),
        ("a: \x07", "holds a character that YAML refuses (code 0x7)"),
    ],
)
def test_what_is_not_our_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == message


def test_nesting_is_bounded_before_it_can_exhaust_the_stack() -> None:
    assert place("[" * MAX_DEPTH + "]" * MAX_DEPTH).is_list
    assert "is nested too deep" in refusal("[" * 100_000)
    assert "is nested too deep" in refusal("{a: " * 20_000)


def test_an_alias_bomb_goes_off_at_its_first_anchor() -> None:
    bomb = 'a: &a ["x", "x"]\n' + "".join(
        f"{name}: &{name} [*{last}, *{last}]\n"
        for last, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    begun = time.perf_counter()

    assert "line 1: is not YAML: anchors" in refusal(bomb)
    assert time.perf_counter() - begun < 15  # written out it would take for ever


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"#" * MAX_FILE)
    assert len(read_text(path)) == MAX_FILE

    path.write_bytes(b"#" * (MAX_FILE + 1))
    with pytest.raises(ConfigProblems, match="is over 1 MiB"):
        read_text(path)


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")

    with pytest.raises(ConfigProblems) as caught:
        read_text(path)

    assert caught.value.problems == (Problem("", 2, "is not UTF-8 text"),)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert list(root(read_text(path), Source(tmp_path, {})).members()) == ["a"]


def test_a_name_that_stands_twice_is_a_problem_and_the_first_one_counts() -> None:
    here = place("a: 1\nb: 2\na: 3\n")

    members = here.members()

    assert [str(problem) for problem in here.source.problems] == [
        "line 3: a: stands here twice (first on line 1)"
    ]
    assert members["a"].text() == "1"


def test_a_name_that_is_no_text_is_a_problem() -> None:
    here = place("? [1, 2]\n: 3\n")

    assert here.members() == {}
    assert str(here.source.problems[0]) == "line 1: ?: a name must be plain text"


def test_a_place_knows_its_path_and_line() -> None:
    inner = place("a:\n  - x\n  -\n    b: y\n").members()["a"].items()[1].members()["b"]

    assert (inner.path, inner.line, inner.text()) == ("a[1].b", 4, "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1]", "expected a single value, found a list"),
        ("a: {b: 1}", "expected a single value, found a section"),
        ("a:", "has no value: give one, or leave the line out"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_in_plain_words(text: str, message: str) -> None:
    with pytest.raises(Wrong, match=message):
        place(text).members()["a"].text()


def test_a_section_and_a_list_say_what_was_found_instead() -> None:
    here = place("a: 12\nb: [x]\n").members()

    with pytest.raises(Wrong, match="expected a section of `name: value` lines, found a number"):
        here["a"].members()
    with pytest.raises(Wrong, match="expected a section of `name: value` lines, found a list"):
        here["b"].members()
    with pytest.raises(Wrong, match="expected a list, found a number"):
        here["a"].items()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwoz"),
        ("${NONE:-}", ""),
        ("${NONE:-a-b:c}", "a-b:c"),
        ("${A:-other}", "one"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("$${A} $A $ }{", "${A} $A $ }{"),
        ("${NEST}", "${A}"),
    ],
)
def test_variables_are_put_in_as_a_shell_would(text: str, value: str) -> None:
    environ = {"A": "one", "B": "two", "EMPTY": "", "NEST": "${A}"}

    assert interpolate(text, environ) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${A} ${B}", "variable A is not set; the environment variable B is not set"),
        ("${A", r"\$\{A is not \$\{NAME\} or \$\{NAME:-default\}"),
        ("${}", r"\$\{\} is not"),
        ("${A-x}", r"\$\{A-x\} is not"),
        ("${1A}", r"\$\{1A\} is not"),
    ],
)
def test_every_missing_or_misspelt_variable_is_named(text: str, message: str) -> None:
    with pytest.raises(Wrong, match=message):
        interpolate(text, {})


def test_an_unknown_name_comes_with_the_nearest_or_with_all_known() -> None:
    assert unknown("stal", ["connect", "stall"]) == "unknown name; did you mean 'stall'?"
    assert unknown("xyz", ["connect", "stall"]) == "unknown name; known are connect, stall"


def test_problems_come_in_the_order_of_the_file() -> None:
    problems = ConfigProblems([Problem("b", 9, "late"), Problem("a", 2, "early")])

    assert str(problems) == "line 2: a: early\nline 9: b: late"
