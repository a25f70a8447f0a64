"""Careful readings: whatever a host sends, a plain value or None comes out."""

from __future__ import annotations

import orjson
import pytest

from relayd.wire import facts


@pytest.mark.parametrize(
    ("value", "count"),
    [(3, 3), (0, 0), (-4, 0), (2.0, 2), (True, None), (None, None), ("3", None), (10**15, None)],
)
def test_a_count_is_plausible_or_unknown(value: object, count: int | None) -> None:
    assert facts.tokens(value) == count


def test_the_first_count_wins_and_zero_is_one() -> None:
    assert facts.first_tokens(None, 0, 5) == 0
    assert facts.first_tokens(None, "x") is None


def test_unknown_counts_add_nothing() -> None:
    assert facts.added(None, 1, 2) == 3
    assert facts.added(None, None) is None


@pytest.mark.parametrize(
    ("prompt", "read", "write", "rest"),
    [
        (10, 3, 2, 5),
        (10, None, None, 10),
        (None, 3, None, None),
        # Writes counted outside the prompt: only the reads are taken off.
        (10, 4, 8, 6),
        (10, 12, None, 0),
    ],
)
def test_uncached_is_never_negative(
    prompt: int | None, read: int | None, write: int | None, rest: int | None
) -> None:
    assert facts.uncached(prompt, read, write) == rest


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ("plain  \n text", "plain text"),
        ({"message": "m", "code": 1}, "m"),
        ({"detail": [{"message": "d"}]}, "d"),
        ({"code": 429}, "429"),
        ({"other": 1}, "error"),
        (["a", "b"], "a"),
        (True, "True"),
        ("x" * 999, "x" * facts.LONGEST_TEXT),
    ],
)
def test_an_error_of_any_shape_is_one_short_line(error: object, text: str | None) -> None:
    assert facts.error_text(error) == text


def test_an_array_of_one_object_is_unwrapped() -> None:
    assert facts.parsed(b'[{"a":1}]') == {"a": 1}
    assert facts.parsed(b"[1]") is None
    assert facts.parsed(b"{") is None
    assert facts.parsed(b'[{"a":1},{}]') is None


def test_only_server_tools_that_were_used_are_named() -> None:
    raw = {"web_search_requests": 2, "web_fetch_requests": 0, "other": 3}
    assert facts.requests_made(raw) == {"web_search": 2}
    assert facts.requests_made(None) == {}


def test_objects_ignores_what_is_none() -> None:
    assert facts.objects([{"a": 1}, 2, None]) == [{"a": 1}]
    assert facts.objects(7) == []
    assert facts.section(7) == {}
    assert facts.text(7) == ""


@pytest.mark.parametrize(
    ("tail", "value"),
    [
        (b'xt"}}],"usage": {"a":{"b":"}"}}, "z":1}', {"a": {"b": "}"}}),
        (b'"usage":{"a":1}},{"usage":{"a":2}}]', {"a": 2}),
        (b'"usage":null}', {}),
        # Groq says once more, behind the sum, what each model used.
        (b'],"usage":{"a":3},"by":{"m":[{"usage":{"a":1}},{"usage":{"a":2}}]}}', {"a": 3}),
        (b'],"usage":{"a":3},"by":["usage"],"z":"\\"usage\\":{"}', {"a": 3}),
        (b'"usage":{"a":3},"by":[' + b'{"usage":{"a":1}},' * 20 + b"0]}", {"a": 1}),
        (b'"usage":{"a":', {}),
        (b'"usage"', {}),
        (b'"usage":', {}),
        (b"nothing", {}),
    ],
)
def test_the_outermost_object_of_a_tail_is_read_and_else_the_last(
    tail: bytes, value: dict[str, object]
) -> None:
    assert facts.last_object(tail, "usage") == value


@pytest.mark.parametrize(
    ("value", "refuses"),
    [
        ({"error": {"details": [{"reason": "API_KEY_INVALID"}]}}, True),
        ([{"error": {"details": ["x", {}, {"reason": "API_KEY_INVALID"}]}}], True),
        ({"error": {"details": [{"reason": "OTHER"}]}}, False),
        ({"error": {"details": [{"reason": "OTHER", "message": "API_KEY_INVALID"}]}}, False),
        ({"error": {"message": "API_KEY_INVALID"}}, False),
        ({"error": "API_KEY_INVALID"}, False),
        ("API_KEY_INVALID", False),
    ],
)
def test_only_the_field_of_its_own_says_that_the_key_is_refused(
    value: object, refuses: bool
) -> None:
    assert facts.refuses_key(orjson.dumps(value)) is refuses
