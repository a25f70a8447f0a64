"""The values in chat chunks, and what garbage becomes."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.alike import Plain
from relayd.wire.chat import found
from relayd.wire.chat.found import Call, Choice
from relayd.wire.events import Delta, Failure, Logprob, Reason
from relayd.wire.parts import Audio, Citation, Extra, Image, Text


@pytest.mark.parametrize(
    ("word", "called", "reason"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("tool_calls", False, "stop"),
        ("function_call", True, "tool_calls"),
        ("length", True, "length"),
        ("model_length", False, "length"),
        ("content_filter", True, "filter"),
        ("", False, "stop"),
        ("no_such_word", True, "tool_calls"),
    ],
)
def test_the_reason_fits_what_came(word: str, called: bool, reason: Reason) -> None:
    choice = Choice(0)
    choice.finish, choice.called = word, called

    assert choice.reason == reason


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("It broke.", Failure("It broke.")),
        (["first", "second"], Failure("first")),
        ({"message": "m", "code": 429}, Failure("m", 429)),
        ({"message": "m", "status_code": 503}, Failure("m", 503)),
        ({"message": "m", "code": 9}, Failure("m")),
        (
            {"message": "m", "code": "rate_limit_exceeded"},
            Failure("m", 502, "rate_limit_exceeded"),
        ),
        ({"message": "m", "code": "odd"}, Failure("m")),
        ({}, Failure("error")),
    ],
)
def test_errors_of_any_shape_are_failures(error: object, failure: Failure) -> None:
    assert found.failure(error) == failure


@pytest.mark.parametrize("raw", [None, "x", {}, {"content": None}, {"content": ["x"]}])
def test_no_probabilities_are_none(raw: object) -> None:
    assert found.logprobs(raw) == []


def test_probabilities_of_the_wrong_type_are_plain_values() -> None:
    raw = {
        "token": 5,
        "logprob": "x",
        "bytes": ["a"],
        "top_logprobs": [{"token": "b", "bytes": [1]}],
    }

    assert found.logprobs({"refusal": [raw]}) == [Logprob("", 0.0, None, [Logprob("b", 0.0, [1])])]


def test_a_source_on_the_web_is_a_citation() -> None:
    value = {"url": "u", "title": "t", "content": "c", "start_index": "0", "end_index": 4}
    native = {"type": "url_citation", "url_citation": value, "index": 3}

    cited = found.citation(native)

    assert cited == Citation("u", "t", "c", None, 4, native)
    assert found.citation({"type": "file"}) is None


@pytest.mark.parametrize(
    ("url", "picture"),
    [
        ("data:image/png;base64,aGk", Image(mime="image/png", data="aGk=")),
        ("https://x/y", Image(url="https://x/y")),
        ("file:///etc/passwd", None),
        ("data:image/png,plain", None),
        (None, None),
    ],
)
def test_a_picture_is_inline_or_an_address(url: object, picture: Image | None) -> None:
    assert found.picture({"image_url": {"url": url}}) == picture


def test_sound_is_put_together_of_pieces() -> None:
    audio = {"data": ["aGk=", "%%", "aG8"], "transcript": ["a", "b"], "id": "i"}

    assert found.sound(audio) == Audio(
        mime="", data="aGlobw==", transcript="ab", extra={"id": Extra("i", "silent")}
    )
    assert found.sound({}) == Audio(mime="", data="")


def test_they_tell_their_state() -> None:
    choice = Choice(1)
    assert repr(choice) == "<Choice 1 open=None calls=[]>"
    choice.kind = Text
    assert "open=Text" in repr(choice)
    assert repr(Call("c", custom=False, legacy=False)) == "<Call '' block=-1>"


def call(index: object, **function: object) -> dict[str, Any]:
    delta = {"tool_calls": [{"index": index, "function": function}]}
    return {"choices": [{"index": 0, "delta": delta}]}


def calling() -> Choice:
    """An answer with two calls under way, of which the second went on last."""
    choice = Choice(0)
    for index, name in enumerate("fg"):
        choice.calls[index] = known = Call("c", custom=False, legacy=False)
        known.name, known.block = name, 5 + index
    choice.last = 1
    return choice


def test_a_call_that_goes_on_is_plain() -> None:
    more = found.plain(call(1, arguments='{"a'), {0: calling()})
    assert more == Plain(Delta(6, '{"a'), b'"arguments":')


@pytest.mark.parametrize(
    "value",
    [
        call(0, arguments="x"),  # another one than the last
        call(True, arguments="x"),
        call(1, arguments="x", name="g"),
        call(1, arguments="x", more="y"),
        call(1, arguments=""),
        call(1, arguments={"a": 1}),
        call(1),
        call(7, arguments="x"),
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, "function": "x"}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": "x"}}]},
        {"choices": [{"index": 0, "delta": {"content": "x"}}]},
        {"choices": [{"index": 0, "delta": "x"}]},
        {"choices": "x"},
    ],
)
def test_a_call_of_which_more_is_said_is_not(value: dict[str, Any]) -> None:
    assert found.plain(value, {0: calling()}) is None
