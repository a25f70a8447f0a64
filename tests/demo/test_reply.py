"""What is answered, decided without I/O: routes, keys, formats, whole replies and streams."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.demo.reply import reply_to
from relayd.demo.routes import ROUTES, VERBS, Request
from tests.demo.serving import (
    FORMATS,
    TOOL,
    VERSION,
    script_of,
    streamed,
    text_in,
    whole,
)

NO_TOOL: dict[str, dict[str, Any]] = {
    "chat": {"tool_choice": "none"},
    "responses": {"tool_choice": "none"},
    "messages": {"tool_choice": {"type": "none"}},
    "gemini": {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
}


def usage_in(format: str, documents: list[Any]) -> Any:
    """The usage that stands in a whole document, or comes last in a stream."""
    if format == "gemini":
        return documents[-1]["usageMetadata"]
    for document in reversed(documents):
        found = document.get("usage") or document.get("response", {}).get("usage")
        if found:
            return found
    return None


@pytest.mark.parametrize("model", ["demo", "demo-reasoning", "demo-cached"])
@pytest.mark.parametrize("format", FORMATS)
def test_stream_and_whole_reply_report_the_same_usage(format: str, model: str) -> None:
    one = usage_in(format, [whole(format, model)])
    other = usage_in(format, streamed(format, model))
    assert other == {key: one[key] for key in other}
    assert sum(value for value in other.values() if isinstance(value, int)) > 0


@pytest.mark.parametrize("format", FORMATS)
def test_a_tool_is_called_unless_it_is_forbidden(format: str) -> None:
    assert '"f"' in orjson.dumps(whole(format, **TOOL[format])).decode()
    forbidden = whole(format, **TOOL[format], **NO_TOOL[format])
    assert "You said" in orjson.dumps(forbidden).decode()


def test_usage_is_consistent_in_every_vocabulary() -> None:
    chat = whole("chat", "demo-cached-reasoning")["usage"]
    assert chat["total_tokens"] == chat["prompt_tokens"] + chat["completion_tokens"]
    assert 0 < chat["prompt_tokens_details"]["cached_tokens"] <= chat["prompt_tokens"]
    gemini = whole("gemini", "demo-cached-reasoning")["usageMetadata"]
    assert gemini["totalTokenCount"] == (
        gemini["promptTokenCount"] + gemini["candidatesTokenCount"] + gemini["thoughtsTokenCount"]
    )
    anthropic = whole("messages", "demo-cached-reasoning")["usage"]
    assert anthropic["cache_read_input_tokens"] > 0
    counted = whole("messages")["usage"]["input_tokens"]
    assert anthropic["input_tokens"] + anthropic["cache_read_input_tokens"] == counted


@pytest.mark.parametrize("format", FORMATS)
def test_the_answer_derives_from_the_request_alone(format: str) -> None:
    assert whole(format) == whole(format)
    assert whole(format) != whole(format, text="Something else")


@pytest.mark.parametrize("format", [*FORMATS, "array"])
def test_every_stream_document_has_the_same_identity(format: str) -> None:
    documents = streamed(format)
    ids = {d[field] for d in documents for field in ("id", "responseId") if field in d}
    ids |= {d["response"]["id"] for d in documents if "response" in d}
    ids |= {d["message"]["id"] for d in documents if "message" in d}
    assert len(ids) == 1
    assert text_in(format, documents).startswith("You said")


@pytest.mark.parametrize(
    ("path", "document", "status", "words"),
    [
        ("/v1/nope", {}, 404, "Invalid URL"),
        ("/v1/models/demo:nope", {}, 404, "Invalid URL"),
        ("/v1/chat/completions", b"{", 400, "parse the JSON"),
        ("/v1/chat/completions", [], 400, "JSON object"),
        ("/v1/chat/completions", {"messages": []}, 400, "model"),
        ("/v1/chat/completions", {"model": "demo"}, 400, "'messages'"),
        ("/v1/chat/completions", {"model": "demo", "messages": []}, 400, "empty array"),
        ("/v1/chat/completions", {"model": "demo", "messages": "x"}, 400, "Invalid type"),
        ("/v1/responses", {"model": "demo"}, 400, "'input'"),
        ("/v1/responses", {"model": "demo", "input": 5}, 400, "Invalid type"),
        ("/v1/embeddings", {"model": "demo", "input": []}, 400, "input"),
        ("/v1/embeddings", {"model": "demo", "input": ["a", 5]}, 400, "input"),
        ("/v1/embeddings", {"model": "demo", "input": "a", "dimensions": 0}, 400, "dimensions"),
        ("/v1beta/models/demo:generateContent", {}, 400, "contents is not specified"),
        ("/v1beta/models/demo:embedContent", {}, 400, "empty"),
    ],
)
def test_what_is_wrong_is_said(path: str, document: object, status: int, words: str) -> None:
    answer = script_of(path, document)
    assert answer.status == status
    assert words in orjson.loads(answer.whole)["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "role content type text parts function name tools tool_choice schema format "
                "messages input contents generationConfig response_format parameters".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    asked=st.dictionaries(
        st.sampled_from(
            "messages input contents tools tool_choice stop "
            "stop_sequences response_format text thinking reasoning generationConfig n system "
            "instructions stream toolConfig output_config requests content".split()
        ),
        JSON,
        max_size=5,
    )
)
def test_no_document_makes_it_fail(asked: dict[str, Any]) -> None:
    asked = {**asked, "model": "demo", "max_tokens": 9}
    for path in (*ROUTES, *(f"/v1/models/demo:{verb}" for verb in VERBS)):
        answer = reply_to(Request("POST", path, VERSION, orjson.dumps(asked)), None, 0.0)
        assert answer.status in (200, 400)
