"""Heads: what is no request is refused with a reason, and what is one is parsed once."""

from __future__ import annotations

import pytest

from relayd.errors import BadCall
from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    outgoing,
    read_object,
    without_key,
)
from relayd.wire.paths import Target


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"a":"\x00"}',
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b"[" * 99_999,
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadCall) as caught:
        read_object(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_nesting_beyond_the_parsers_bound_is_refused() -> None:
    with pytest.raises(BadCall):
        read_object(b'{"a":' * 5000 + b"1" + b"}" * 5000)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "missing_required_parameter"),
        (3, "invalid_type"),
        (["m"], "invalid_type"),
        ("", "invalid_value"),
        ("a\x00b", "invalid_value"),
        ("a\nb", "invalid_value"),
        ("x" * 300, "invalid_value"),
    ],
)
def test_a_model_that_is_no_name_is_refused(value: object, code: str) -> None:
    with pytest.raises(BadCall) as caught:
        checked_model(value)
    assert (caught.value.code, caught.value.param) == (code, "model")


def test_stream_is_a_boolean_or_null() -> None:
    assert checked_stream(True)
    assert not checked_stream(None)
    with pytest.raises(BadCall) as caught:
        checked_stream("true")
    assert caught.value.param == "stream"


def test_the_body_goes_out_as_the_same_object_unless_renamed() -> None:
    body = b'{"model":"a","n":1.0}'
    head = Head(Target("chat", "generate"), "a", False, body)
    assert outgoing(head, "a")[0] is body
    assert b"".join(outgoing(head, "b/c")) == b'{"model":"b/c","n":1.0}'


@pytest.mark.parametrize("other", [b'"model":"z"', b'"mod\\u0065l":"z"'])
def test_a_second_model_is_renamed_too_even_when_the_name_does_not_change(other: bytes) -> None:
    """Else a duplicate key would smuggle another name past routing and prices."""
    body = b"{" + other + b',"model":"a"}'
    head = Head(Target("chat", "generate"), "a", False, body)
    assert b'"z"' not in b"".join(outgoing(head, "a"))


def test_a_body_of_countless_arrays_is_refused_before_it_is_parsed() -> None:
    """Before, 60 MB of them stopped the event loop for seconds."""
    with pytest.raises(BadCall) as caught:
        read_object(b'{"a":[' + b"[]," * 600_000 + b"[]]}")
    assert caught.value.status == 413
    assert read_object(b'{"a":"' + b"x" * 2**21 + b'"}')["a"]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("gpt-5", "gpt-5"),
        ("task-of-some-length-and-more", "task-of-some-length-and-more"),
        ("sk-short", "sk-short"),
        ("sk-relayd-0123456789abcdefghij", "sk-***"),
        ("openai/sk-proj-0123456789_abcdefghij", "openai/sk-***"),
        ("rat-0123456789abcdefghij", "rat-***"),
    ],
)
def test_a_key_in_the_place_of_a_model_is_not_written_down(asked: str, shown: str) -> None:
    assert without_key(asked) == shown
