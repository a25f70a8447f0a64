"""One candidate of a Gemini reply: what its blocks become."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from relayd.wire import envelope
from relayd.wire.gemini.answer import Answer
from relayd.wire.neutral import Request, Thinking
from relayd.wire.parts import (
    Carrier,
    CarrierKind,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.setting import Coming

SIGNED = Carrier("gemini-signature", "c2ln")
FOREIGN = replace(envelope.UNSEALED, call_id="1")
OPENAI = Carrier("openai-encrypted", "ciphertext", id="rs_1")


def answer(*, shown: bool = False, native: bool = False) -> Answer:
    thinking = Thinking(show="summary" if shown else None)
    request = Request(source="gemini", model="m", messages=[], thinking=thinking)
    return Answer(Coming(request, "m", "req", 0, scope="account", sealed=not native))


def made(*parts: Part, **how: bool) -> list[dict[str, Any]]:
    this = answer(**how)
    return [each for part in parts for each in this.whole(part)] + this.rest()


def opened(document: dict[str, Any]) -> Carrier | None:
    return envelope.unwrap(document["thoughtSignature"])


def test_texts_and_refusals_are_texts() -> None:
    assert made(Text("a"), Refusal("b"), Text("")) == [{"text": "a"}, {"text": "b"}]


def test_media_are_blobs() -> None:
    assert made(
        Image(mime="image/png", data="AAAA"),
        File(mime="application/pdf", url="gs://a", name="a.pdf"),
        Image(data="AAAA"),
    ) == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {
            "fileData": {
                "mimeType": "application/pdf",
                "fileUri": "gs://a",
                "displayName": "a.pdf",
            }
        },
        {"inlineData": {"mimeType": "application/octet-stream", "data": "AAAA"}},
    ]


def test_what_only_one_format_has_is_left_out_for_others() -> None:
    hosted = Opaque("gemini", "toolCall", {"toolCall": {}}, carrier=SIGNED)
    assert made(hosted) == []
    assert made(hosted, native=True) == [{"toolCall": {}, "thoughtSignature": "c2ln"}]


# --- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "args"), [('{"b":1,"a":2}', {"b": 1, "a": 2}), ("", {}), (" ", {}), ("{}", {})]
)
def test_a_call_has_an_object(arguments: str, args: Any) -> None:
    assert made(ToolCall("1", "f", arguments), ToolCall("", "g"), native=True) == [
        {"functionCall": {"name": "f", "args": args, "id": "1"}},
        {"functionCall": {"name": "g", "args": {}}},
    ]


@pytest.mark.parametrize("arguments", ['{"a":', "7", "[1, 2]", '"a"'])
def test_arguments_are_an_object_or_the_call_is_malformed(arguments: str) -> None:
    """wire-formats, trap 103."""
    this = answer()
    assert this.whole(ToolCall("1", "f", arguments)) == []
    assert this.malformed


# --- thinking and its carriers ------------------------------------------------------------------


def test_thoughts_are_shown_only_to_who_asked() -> None:
    """wire-formats, trap 113."""
    thought = Reasoning(["a", "b"])
    assert made(thought, Text("c")) == [{"text": "c"}]
    assert made(thought, Text("c"), shown=True) == [
        {"text": "a\n\nb", "thought": True},
        {"text": "c"},
    ]


def test_a_signature_is_base64() -> None:
    """wire-formats, trap 104."""
    call = ToolCall("1", "f", carrier=Carrier("gemini-signature", "no base64 !"))
    [document] = made(call)
    base64.b64decode(document["thoughtSignature"], validate=True)
    assert opened(document) == Carrier("gemini-signature", "no base64 !", "account", "", "1")


def test_what_a_provider_wants_back_goes_with_the_next_call() -> None:
    [document] = made(Reasoning([], carrier=OPENAI), ToolCall("1", "f"))
    assert "functionCall" in document
    assert opened(document) == Carrier("openai-encrypted", "ciphertext", "account", "rs_1")


def test_without_a_call_it_stands_alone_where_it_was() -> None:
    sealed, text = made(Reasoning([], carrier=OPENAI), Text("a"))
    assert sealed["text"] == ""
    assert opened(sealed) == Carrier("openai-encrypted", "ciphertext", "account", "rs_1")
    assert text == {"text": "a"}
    before, at_the_end = made(Text("a"), Reasoning([], carrier=OPENAI))
    assert (before, at_the_end["text"]) == ({"text": "a"}, "")


def test_one_part_carries_one_thing() -> None:
    first, second = made(
        Reasoning([], carrier=OPENAI), Reasoning([], carrier=OPENAI), ToolCall("1", "f")
    )
    assert first["text"] == ""
    assert "functionCall" in second
    before, call = made(Reasoning([], carrier=OPENAI), ToolCall("1", "f", carrier=SIGNED))
    assert before["text"] == ""
    assert opened(call) == Carrier("gemini-signature", "c2ln", "account", "", "1")


def test_a_call_that_is_none_loses_nothing() -> None:
    [document] = made(Reasoning([], carrier=OPENAI), ToolCall("1", "f", "["))
    assert document["text"] == ""


@pytest.mark.parametrize("kind", ["anthropic-signature", "chat-details"])
def test_a_signature_of_thinking_goes_with_the_thinking(kind: CarrierKind) -> None:
    thought = Reasoning(["hm"], carrier=Carrier(kind, "sig"))
    said, signed, call = made(thought, ToolCall("1", "f"), shown=True)
    assert said == {"text": "hm", "thought": True}
    assert (signed["text"], signed["thought"]) == ("", True)
    assert opened(signed) == Carrier(kind, "sig", "account")
    assert opened(call) == FOREIGN
    [alone] = made(thought, ToolCall("1", "f"))  # who did not see it cannot send it back
    assert opened(alone) == FOREIGN


def test_the_first_call_of_a_reply_tells_that_another_provider_made_it() -> None:
    """wire-formats, trap 122 "other upstream": the next step may go to a model that wants a
    signature there, and then somebody has to know that there is none."""
    first, second = made(Text("a"), ToolCall("1", "f"), ToolCall("2", "f"))[1:]
    assert opened(first) == FOREIGN
    assert "thoughtSignature" not in second
    [nameless] = made(ToolCall("", "f"))
    assert opened(nameless) == replace(FOREIGN, call_id="f")


def test_ciphertext_needs_no_thinking_beside_it() -> None:
    thought = Reasoning(["hm"], carrier=OPENAI)
    said, call = made(thought, ToolCall("1", "f"), shown=True)
    assert said == {"text": "hm", "thought": True}
    assert opened(call) == Carrier("openai-encrypted", "ciphertext", "account", "rs_1")


def test_a_carrier_of_a_text_stands_behind_it() -> None:
    text, sealed = made(Text("a", carrier=SIGNED))
    assert (text, sealed["text"]) == ({"text": "a"}, "")


def test_googles_own_clients_get_googles_own_signatures() -> None:
    assert made(
        Reasoning(["hm"], carrier=SIGNED),
        Reasoning([], carrier=SIGNED),
        ToolCall("1", "f", carrier=SIGNED),
        native=True,
    ) == [
        {"text": "hm", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f", "args": {}, "id": "1"}, "thoughtSignature": "c2ln"},
    ]


def test_it_shows_what_is_open() -> None:
    this = answer()
    this.open(3, Text(""))
    assert repr(this) == "<Answer current=3 waiting=[]>"
