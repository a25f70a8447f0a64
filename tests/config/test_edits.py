"""What an upstream's section changes on the way: headers, parameters, status codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.config.document import Source, root
from relayd.config.edits import headers, params, remove_headers, status_map
from relayd.config.values import Reader

OWN = ("Host", "Content-Length", "Transfer-Encoding", "Connection")


def read(reader: Reader, text: str) -> tuple[Any, list[str]]:
    """What `a: <text>` comes to, and the problems in it."""
    source = Source(Path("/etc"), {"TEXT": "from the environment"})
    found = root(f"a: {text}", source).members()["a"].take(reader)
    return found, [f"{problem.path}: {problem.message}" for problem in source.problems]


def problems(reader: Reader, text: str) -> list[str]:
    return read(reader, text)[1]


def test_headers_cannot_touch_the_framing_of_requests() -> None:
    for name in OWN:
        assert problems(headers, f"{{{name}: x}}") == [
            f"a.{name}: belongs to the connection and cannot be set"
        ]
        assert problems(remove_headers, f"[{name}]") == [
            "a[0]: belongs to the connection and cannot be removed"
        ]
    assert problems(headers, "{'x y': z}") == ["a.x y: is not the name of a header"]
    assert "tell upper from lower" in problems(headers, "{x-a: 1, X-A: 2}")[0]
    assert "cannot stand in a header" in problems(headers, '{x-a: "1\\r\\nx-b: 2"}')[0]


def test_headers_to_remove_are_different_names() -> None:
    assert read(remove_headers, "[User-Agent, x-b]") == (("user-agent", "x-b"), [])
    assert problems(remove_headers, "[x-a, X-A, 'x y']") == [
        "a[1]: stands here twice",
        "a[2]: is not the name of a header",
    ]
    assert problems(remove_headers, "[]") == ["a: names no header"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", b"0"),
        ("0.70", b"0.70"),
        ("-1e3", b"-1e3"),
        ("123456789012345678901234567890", b"123456789012345678901234567890"),
        ("low", b'"low"'),
        ("'0'", b'"0"'),
        ("yes", b"true"),
        ("'yes'", b'"yes"'),
        ("off", b"false"),
        ("~", b"null"),
        ("null", b"null"),
        ("2026-01-01", b'"2026-01-01"'),
        ("'${TEXT}'", b'"from the environment"'),
        ("[1, [a, {b: null}]]", b'[1,["a",{"b":null}]]'),
        ("{}", b"{}"),
        ("[]", b"[]"),
        ("ä", '"ä"'.encode()),
    ],
)
def test_a_parameter_is_any_value_as_json(text: str, expected: bytes) -> None:
    assert read(params, f"{{set: {{x.y: {text}}}}}") == ({"set_params": (("x.y", expected),)}, [])


@pytest.mark.parametrize("text", ["0x10", "010", "1:30", "1_000", ".inf", ".5"])
def test_a_number_that_only_yaml_knows_is_refused(text: str) -> None:
    assert problems(params, f"{{default: {{x: [{text}]}}}}") == [
        f"a.default.x[0]: {text!r} is not a number that JSON knows; a text goes in quotes"
    ]


def test_a_character_that_json_cannot_hold_is_refused() -> None:
    assert problems(params, '{set: {x: "\\ud800"}}') == [
        "a.set.x: holds a character that JSON cannot hold"
    ]


def test_parameters_are_set_defaulted_or_removed() -> None:
    found, faults = read(params, "{set: {a: 1}, default: {b.c: 2}, remove: [d, e.f]}")

    assert faults == []
    assert found == {
        "set_params": (("a", b"1"),),
        "default_params": (("b.c", b"2"),),
        "remove_params": ("d", "e.f"),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{set: {a: 1}, default: {a: 2}}", ["a: 'a' stands under set and default: keep one"]),
        ("{default: {a: 1}, remove: [a]}", ["a: 'a' stands under default and remove: keep one"]),
        ("{set: {model: x}}", ["a.set.model: is what the request was routed by: rename models"]),
        ("{default: {stream: no}}", ["a.default.stream: decides how the reply is read"]),
        ("{remove: [stream]}", ["a.remove[0]: decides how the reply is read"]),
        ("{set: {a..b: 1}}", ["a.set.a..b: is not a path such as temperature or reasoning.effort"]),
        ("{remove: ['', x, x]}", ["a.remove[0]: is not a path", "a.remove[2]: stands here twice"]),
        ("{remove: []}", ["a.remove: names no parameter"]),
        ("{add: {a: 1}}", ["a.add: unknown name"]),
        ("{set: [a]}", ["a.set: expected a section"]),
    ],
)
def test_what_is_wrong_with_parameters_is_named(text: str, expected: list[str]) -> None:
    found = problems(params, text)

    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True)), found


def test_statuses_are_failures_on_both_sides() -> None:
    assert read(status_map, "{404: 503, 500: 400}") == (((404, 503), (500, 400)), [])
    assert problems(status_map, "{200: 503, 404: 200, 0x194: 500, 4040: 500, 405: x}") == [
        "a.200: is not a status code between 400 and 599",
        "a.404: must be between 400 and 599",
        "a.0x194: is not a status code between 400 and 599",
        "a.4040: is not a status code between 400 and 599",
        "a.405: 'x' is not a whole number",
    ]
