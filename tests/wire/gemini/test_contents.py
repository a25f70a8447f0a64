"""The contents of a Gemini request."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire import envelope
from relayd.wire.gemini import contents
from relayd.wire.parts import (
    Audio,
    Carrier,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256))).decode()
ANTHROPIC = Carrier("anthropic-signature", "sig")


def read(*parts: object) -> list[Part]:
    return contents.parts({"parts": list(parts)}, "contents[0]")


def sealed(carrier: Carrier) -> str:
    return envelope.wrap_base64(carrier, "account")


def test_both_spellings_are_one_at_every_level() -> None:
    """wire-formats, trap 109."""
    mixed = {
        "system_instruction": {"parts": {"inline_data": {"mime_type": "a/b"}}},
        "generationConfig": {"top_k": 1, "_responseJsonSchema": {"min_items": 1}},
        "tools": [{"function_declarations": [{"parameters_json_schema": {"a_b": 1}}]}],
        "contents": [{"parts": [{"function_call": {"args": {"snake_case": {"a_b": 1}}}}]}],
    }
    assert contents.camel(mixed) == {
        "systemInstruction": {"parts": {"inlineData": {"mimeType": "a/b"}}},
        "generationConfig": {"topK": 1, "_responseJsonSchema": {"min_items": 1}},
        "tools": [{"functionDeclarations": [{"parametersJsonSchema": {"a_b": 1}}]}],
        "contents": [{"parts": [{"functionCall": {"args": {"snake_case": {"a_b": 1}}}}]}],
    }


def test_a_request_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = [deep]
    with pytest.raises(BadCall):
        contents.camel({"contents": deep})


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ({"parts": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ([{"parts": {"text": "a"}}], ["a"]),
        ([{"parts": "a"}], ["a"]),
        ([{"parts": ["a", {"text": "b"}]}], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        ([{"text": "a"}, {"text": "b"}], ["a", "b"]),
        ("a", ["a"]),
        ([], []),
        (None, []),
    ],
)
def test_contents_may_be_one_object_or_bare_parts(written: object, texts: list[str]) -> None:
    """wire-formats, trap 112."""
    found = contents.messages({"contents": written})
    assert all(message.role == "user" for message in found)
    parts = [part for message in found for part in message.parts]
    assert [part.text for part in parts if isinstance(part, Text)] == texts


def test_bare_parts_know_where_they_stood() -> None:
    [message] = contents.messages({"contents": ["a", {"text": "b"}]})
    assert [part.at for part in message.parts] == ["contents[0]", "contents[1]"]


@pytest.mark.parametrize(
    ("spoken", "role"),
    [("user", "user"), ("model", "assistant"), ("function", "tool"), ("system", "system")],
)
def test_roles_have_their_words(spoken: str, role: str) -> None:
    [message] = contents.messages({"contents": [{"role": spoken, "parts": []}]})
    assert (message.role, message.spoken, message.at) == (role, spoken, "contents[0]")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(BadCall) as refused:
        contents.messages({"contents": [{"role": "robot", "parts": []}]})
    assert refused.value.param == "contents[0].role"


@pytest.mark.parametrize(
    ("said", "texts"),
    [("be brief", ["be brief"]), ({"parts": {"text": "a"}}, ["a"]), (None, []), ({}, [])],
)
def test_an_instruction_is_a_text_or_a_content(said: object, texts: list[str]) -> None:
    found = contents.instruction(said)
    assert [part.text for part in found if isinstance(part, Text)] == texts


def test_an_instruction_of_another_type_is_refused() -> None:
    with pytest.raises(BadCall):
        contents.instruction(["a"])


# --- parts --------------------------------------------------------------------------------------


def test_thoughts_are_thinking() -> None:
    thought, empty, text = read(
        {"text": "hm", "thought": True}, {"text": "", "thought": True}, {"text": "a"}
    )
    assert (thought, empty, text) == (
        Reasoning(["hm"], at="contents[0].parts[0]"),
        Reasoning([], at="contents[0].parts[1]"),
        Text("a", at="contents[0].parts[2]"),
    )


def test_url_safe_base64_is_made_standard() -> None:
    """wire-formats, trap 110."""
    safe = PNG.replace("+", "-").replace("/", "_").rstrip("=")
    assert safe != PNG
    [picture] = read({"inlineData": {"data": safe}})
    assert isinstance(picture, Image)
    assert (picture.mime, picture.data) == ("image/png", PNG)


@pytest.mark.parametrize(
    ("mime", "kind"),
    [("audio/wav", Audio), ("video/mp4", Video), ("application/pdf", File), ("IMAGE/PNG", Image)],
)
def test_media_are_told_by_their_type(mime: str, kind: type[Part]) -> None:
    [found] = read({"fileData": {"mimeType": mime, "fileUri": "gs://a", "displayName": "n"}})
    assert isinstance(found, kind)
    assert isinstance(found, Audio | Video | File | Image)
    assert (found.mime, found.url, found.name) == (mime.lower(), "gs://a", "n")


@pytest.mark.parametrize(
    "uri", ["https://generativelanguage.googleapis.com/v1beta/files/abc", "files/abc"]
)
def test_what_was_uploaded_to_google_is_a_file_of_its_own(uri: str) -> None:
    """wire-formats, 12.8: nobody else can fetch it, and no other provider is told of it."""
    [found] = read({"fileData": {"mimeType": "image/png", "fileUri": uri}})
    assert isinstance(found, Image)
    assert (found.url, found.file_id) == ("", uri)


@pytest.mark.parametrize(
    "uri",
    ["https://youtu.be/x", "https://www.youtube.com/watch?v=x", "HTTPS://YouTube.com/shorts/x"],
)
def test_an_address_of_googles_videos_is_a_video_whatever_its_type(uri: str) -> None:
    """wire-formats, 12.8."""
    [found] = read({"fileData": {"fileUri": uri}})
    assert isinstance(found, Video)
    assert found.url == uri


@pytest.mark.parametrize(
    "uri", ["https://storage.googleapis.com/b/files/x.png", "https://e.org/youtu.be/x.png"]
)
def test_any_other_address_is_one_that_others_may_fetch(uri: str) -> None:
    [found] = read({"fileData": {"mimeType": "image/png", "fileUri": uri}})
    assert isinstance(found, Image)
    assert (found.url, found.file_id) == (uri, "")


def test_garbage_is_no_base64() -> None:
    with pytest.raises(BadCall) as refused:
        read({"inlineData": {"data": "!"}})
    assert refused.value.param == "contents[0].parts[0].inlineData.data"


def test_a_call_has_its_arguments_as_text_in_their_order() -> None:
    [call] = read({"functionCall": {"id": "1", "name": "f", "args": {"z": 1, "a": "ü"}}})
    assert call == ToolCall("1", "f", '{"z":1,"a":"ü"}', at="contents[0].parts[0]")


def test_what_else_a_payload_says_is_kept() -> None:
    call, result = read(
        {"functionCall": {"name": "f", "willContinue": True}, "videoMetadata": {"fps": 1}},
        {"functionResponse": {"name": "f", "scheduling": "SILENT"}},
    )
    assert call.extra == {
        "functionCall.willContinue": Extra(True, "drop"),
        "videoMetadata": Extra({"fps": 1}, "drop"),
    }
    assert result.extra == {"functionResponse.scheduling": Extra("SILENT", "drop")}


@pytest.mark.parametrize("member", ["functionCall", "functionResponse"])
def test_what_is_nested_too_deeply_is_refused(member: str) -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(BadCall) as refused:
        read({member: {"name": "f", "args": deep, "response": deep}})
    assert refused.value.param is not None


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "fine"}, "fine", False),
        ({"output": {"a": 1}}, '{"a":1}', False),
        ({"error": "no"}, "no", True),
        ({"error": "no", "output": "yes"}, '{"error":"no","output":"yes"}', False),
        ({"output": "text", "exitCode": 1}, '{"output":"text","exitCode":1}', False),
        ({"error": "no", "at": 3}, '{"error":"no","at":3}', True),
        ({"degrees": 20}, '{"degrees":20}', False),
        (None, "{}", False),
    ],
)
def test_a_result_is_text_and_object_and_loses_nothing(
    response: Any, text: str, failed: bool
) -> None:
    [result] = read({"functionResponse": {"id": "1", "name": "f", "response": response}})
    assert isinstance(result, ToolResult)
    assert (result.id, result.name, result.failed) == ("1", "f", failed)
    assert result.structured == (response or {})
    assert [part.text for part in result.parts if isinstance(part, Text)] == [text]


def test_a_result_may_have_pictures() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    [result] = read({"functionResponse": {"name": "f", "parts": [picture]}})
    assert isinstance(result, ToolResult)
    assert isinstance(result.parts[1], Image)
    assert result.parts[1].at == "contents[0].parts[0].functionResponse.parts[0]"


def test_what_nobody_else_has_is_opaque() -> None:
    code, nothing = read({"executableCode": {"code": "1"}, "thoughtSignature": "cw=="}, {})
    assert code == Opaque(
        "gemini",
        "executableCode",
        {"executableCode": {"code": "1"}},
        at="contents[0].parts[0]",
        carrier=Carrier("gemini-signature", "cw=="),
    )
    assert isinstance(nothing, Opaque)
    assert nothing.kind == ""


# --- what another provider wants back -----------------------------------------------------------


def test_a_signature_stays_on_its_part() -> None:
    call, text = read(
        {"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
    )
    assert call.carrier == text.carrier == Carrier("gemini-signature", "c2ln")


def test_an_envelope_becomes_thinking_where_it_stood() -> None:
    back = Carrier("anthropic-signature", "sig", "account")
    call = {"functionCall": {"name": "f"}, "thoughtSignature": sealed(ANTHROPIC)}
    thought, called = read(call)
    assert isinstance(thought, Reasoning)
    assert (thought.text, thought.carrier) == ([], back)
    assert isinstance(called, ToolCall)
    assert called.carrier is None
    [alone] = read({"text": "", "thoughtSignature": sealed(ANTHROPIC)})
    assert isinstance(alone, Reasoning)
    assert alone.carrier == back


def test_thinking_that_came_in_pieces_is_one_again() -> None:
    [text, thought] = read(
        {"text": "a"},
        {"text": "one ", "thought": True},
        {"text": "two", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": sealed(ANTHROPIC)},
    )
    assert isinstance(text, Text)
    assert isinstance(thought, Reasoning)
    assert thought.text == ["one two"]
    assert thought.carrier is not None


def test_ciphertext_on_a_call_belongs_to_the_thinking_before_it() -> None:
    openai = Carrier("openai-encrypted", "x", id="rs_1")
    call = {"functionCall": {"name": "f"}, "thoughtSignature": sealed(openai)}
    thought, _ = read({"text": "hm", "thought": True}, call)
    assert isinstance(thought, Reasoning)
    assert (thought.text, thought.carrier) == (["hm"], replace(openai, scope="account"))
    other = {"functionCall": {"name": "f"}, "thoughtSignature": sealed(ANTHROPIC)}
    assert len(read({"text": "hm", "thought": True}, other)) == 3


def test_a_carrier_of_the_call_itself_stays_on_it() -> None:
    own = Carrier("chat-details", "{}", call_id="1")
    [call] = read({"functionCall": {"name": "f"}, "thoughtSignature": sealed(own)})
    assert isinstance(call, ToolCall)
    assert call.carrier == Carrier("chat-details", "{}", "account")


def test_a_broken_envelope_is_no_signature() -> None:
    [call] = read({"functionCall": {"name": "f"}, "thoughtSignature": envelope.PREFIX + "broken"})
    assert call.carrier is None
