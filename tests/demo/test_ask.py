"""Requests of any shape are read without trust."""

from __future__ import annotations

import pytest

from relayd.demo.ask import Tool, callable_now, parse_document, text_of, weigh
from relayd.demo.refusal import Refusal


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"a":' * 5000])
def test_only_an_object_is_a_request(body: bytes) -> None:
    with pytest.raises(Refusal):
        parse_document(body)


def test_four_bytes_are_about_a_token() -> None:
    assert weigh(None) == 1
    assert weigh("a" * 400) == 100
    assert weigh({"a": ["b" * 40, {"c": "d" * 40}], "e": 5}) == 20
    assert weigh("é" * 40) == 20


def test_text_is_a_string_or_parts() -> None:
    assert text_of("a") == "a"
    assert text_of([{"text": "a"}, {"type": "image"}, {"text": 5}, "x", {"text": "b"}]) == "ab"
    assert text_of(None) == text_of({"text": "a"}) == ""


def test_tools_may_be_forbidden_or_narrowed() -> None:
    tools = [Tool("a", {}), Tool("b", {})]
    assert callable_now(tools, forbidden=True) == ()
    assert callable_now(tools, forbidden=False, allowed=["", "b"]) == (tools[1],)
    assert callable_now(tools, forbidden=False, allowed=[""]) == tuple(tools)
