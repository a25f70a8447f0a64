"""The values in chat chunks, and what garbage becomes."""

from __future__ import annotations

import pytest

from relayd.wire.chat import found
from relayd.wire.chat.found import Call, Choice
from relayd.wire.events import Failure, Logprob, Reason
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
