"""What does not grow in a Gemini reply."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from relayd.wire.events import Logprob
from relayd.wire.gemini.pieces import logprobs_of, whole
from relayd.wire.parts import Audio, Carrier, File, Image, Media, Opaque, ToolCall, Video

SIGNED = Carrier("gemini-signature", "c2ln")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def test_a_call_is_its_name_and_arguments() -> None:
    call = {"functionCall": {"id": "1", "name": "f", "args": {"b": 1, "a": 2}}}
    assert whole(call | {"thoughtSignature": "c2ln"}) == ToolCall(
        "1", "f", '{"b":1,"a":2}', carrier=SIGNED
    )
    assert whole({"functionCall": {"name": "f", "args": None}}) == ToolCall("", "f", "{}")


@pytest.mark.parametrize("call", [{}, {"name": ""}, {"name": 7}, "f"])
def test_a_call_of_nothing_is_no_call(call: Any) -> None:
    assert whole({"functionCall": call}) == Opaque("gemini", "functionCall", {"functionCall": call})


def test_arguments_that_are_nested_too_deeply_are_too_large() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(OverflowError):
        whole({"functionCall": {"name": "f", "args": deep}})


@pytest.mark.parametrize(
    ("mime", "kind"),
    [("image/png", Image), ("audio/wav", Audio), ("video/mp4", Video), ("text/csv", File)],
)
def test_media_are_told_by_their_type(mime: str, kind: type[Media]) -> None:
    found = whole({"inlineData": {"mimeType": mime, "data": "AAAA"}, "thoughtSignature": "c2ln"})
    assert found == kind(mime=mime, data="AAAA", carrier=SIGNED)
    assert whole({"fileData": {"mimeType": mime, "fileUri": "gs://a"}}).carrier is None


def test_a_type_that_nobody_named_is_seen() -> None:
    found = whole({"inlineData": {"data": PNG}})
    assert isinstance(found, Image)
    assert found.mime == "image/png"
    broken = whole({"inlineData": {"data": "!"}})
    assert isinstance(broken, File)
    assert broken.data == ""


def test_what_only_google_has_is_opaque() -> None:
    part = {"thoughtSignature": "c2ln", "executableCode": {"code": "1"}}
    assert whole(part) == Opaque(
        "gemini", "executableCode", {"executableCode": {"code": "1"}}, carrier=SIGNED
    )
    assert whole({}) == Opaque("gemini", "", {})


def test_logprobs_are_tokens_with_their_rivals() -> None:
    value = {
        "chosenCandidates": [{"token": "ä", "logProbability": -1}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "c", "logProbability": -2.5}]}],
    }
    assert logprobs_of(value) == [
        Logprob("ä", -1.0, [195, 164], [Logprob("c", -2.5, [99])]),
        Logprob("b", 0.0, [98]),
    ]
    assert logprobs_of({}) == []
