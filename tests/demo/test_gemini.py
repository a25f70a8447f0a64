"""Gemini content is worded as wire-formats 5 says."""

from __future__ import annotations

from typing import Any

import orjson

from tests.demo.serving import TOOL, data_of, generate, script_of, streamed, whole


def test_gemini_knows_no_system_role() -> None:
    contents = [{"role": "system", "parts": [{"text": "Be kind"}]}]
    answer = script_of("/v1beta/models/demo:generateContent", {"contents": contents})
    assert answer.status == 400
    assert orjson.loads(answer.whole)["error"] == {
        "code": 400,
        "message": "Please use a valid role: user, model.",
        "status": "INVALID_ARGUMENT",
    }


def test_both_spellings_of_a_field_are_read() -> None:
    for field, inner in (
        ("generationConfig", "maxOutputTokens"),
        ("generation_config", "max_output_tokens"),
    ):
        more: dict[str, Any] = {field: {inner: 1}}
        reply = whole("gemini", **more)
        assert reply["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_thoughts_are_shown_to_those_who_ask() -> None:
    def thoughts(**config: object) -> bool:
        reply = whole("gemini", generationConfig={"thinkingConfig": config})
        return "thought" in reply["candidates"][0]["content"]["parts"][0]

    assert thoughts(includeThoughts=True)
    assert not thoughts(thinkingLevel="HIGH")
    assert not thoughts(includeThoughts=True, thinkingBudget=0)


def test_the_array_stream_is_framed_as_google_frames_it() -> None:
    path, document, _ = generate("array", "demo", stream=True)
    body = script_of(path, document).whole
    assert body[:2] == b"[{"
    assert body[-2:] == b"}]"
    assert body.count(b"},\r\n{") == len(data_of(body)) - 1


def test_usage_stands_on_every_chunk_and_is_complete_on_the_last() -> None:
    chunks = streamed("gemini")
    assert all(chunk["usageMetadata"]["promptTokenCount"] for chunk in chunks)
    assert "candidatesTokenCount" not in chunks[0]["usageMetadata"]
    assert chunks[-1]["usageMetadata"] == whole("gemini")["usageMetadata"]


def test_a_prompt_may_be_wrapped_to_be_counted() -> None:
    contents = {"contents": [{"parts": [{"text": "Hi there"}]}]}
    plain = script_of("/v1beta/models/demo:countTokens", contents).whole
    wrapped = {"generateContentRequest": {"model": "models/demo", **contents}}
    assert script_of("/v1beta/models/demo:countTokens", wrapped).whole == plain


def test_the_result_of_a_function_is_quoted() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
    result = {"functionResponse": {"name": "f", "response": {"output": "sunny"}}}
    contents = [call, {"role": "user", "parts": [result]}]
    reply = whole("gemini", contents=contents, **TOOL["gemini"])
    assert "sunny" in reply["candidates"][0]["content"]["parts"][0]["text"]
