"""Dialects: (dialect, base URL, call) to request line and credential."""

from __future__ import annotations

import pytest

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.dialects import (
    DIALECTS,
    auth_headers,
    listing_target,
    request_target,
    resource_target,
    session_target,
)
from relayd.wire.paths import TAILS, Target

CHAT = TAILS["chat/completions"]
MESSAGES = TAILS["messages"]
GEMINI = Target("gemini", "generate", "x", False, True, "generateContent")
EVENTS = Target("gemini", "generate", "x", True, True, "streamGenerateContent")
ARRAY = Target("gemini", "generate", "x", True, False, "streamGenerateContent")


@pytest.mark.parametrize(
    ("dialect", "base_url", "target", "expected"),
    [
        ("openai", "https://h/v1", CHAT, "/v1/chat/completions"),
        ("openai", "https://h", CHAT, "/v1/chat/completions"),
        ("openai", "https://h/", TAILS["embeddings"], "/v1/embeddings"),
        ("openai-compatible", "https://h/v1beta/openai/", CHAT, "/v1beta/openai/chat/completions"),
        ("openai-compatible", "http://h/llm", CHAT, "/llm/v1/chat/completions"),
        (
            "openai-compatible",
            "http://h/v1?api-version=2",
            CHAT,
            "/v1/chat/completions?api-version=2",
        ),
        ("groq", "https://h/openai/v1", CHAT, "/openai/v1/chat/completions"),
        ("zai", "https://h/api/paas/v4", CHAT, "/api/paas/v4/chat/completions"),
        ("perplexity", "https://h", CHAT, "/chat/completions"),
        ("anthropic", "https://h", MESSAGES, "/v1/messages"),
        ("anthropic", "https://h/v1/", TAILS["messages/count_tokens"], "/v1/messages/count_tokens"),
        ("gemini", "https://h", GEMINI, "/v1beta/models/m:generateContent"),
        ("gemini", "https://h/v1", GEMINI, "/v1/models/m:generateContent"),
        ("gemini", "https://h/v1beta", EVENTS, "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("gemini", "https://h", ARRAY, "/v1beta/models/m:streamGenerateContent"),
        ("demo", "http://h", GEMINI, "/v1beta/models/m:generateContent"),
        ("demo", "http://h/v1", GEMINI, "/v1beta/models/m:generateContent"),
        ("relay", "http://h/v1", MESSAGES, "/v1/messages"),
        ("relay", "http://h/sub", CHAT, "/sub/v1/chat/completions"),
    ],
)
def test_the_version_segment_may_be_written_or_not(
    dialect: str, base_url: str, target: Target, expected: str
) -> None:
    assert request_target(DIALECTS[dialect], base_url, target, "m") == expected


@pytest.mark.parametrize(
    ("dialect", "base_url", "name", "expected"),
    [
        ("openai", "https://h", "chat", "/v1/models"),
        (
            "openai-compatible",
            "http://h/llm/v2?api-version=2",
            "chat",
            "/llm/v2/models?api-version=2",
        ),
        ("gemini", "https://h", "gemini", "/v1beta/models"),
        ("demo", "http://h/v1", "chat", "/v1/models"),
        ("demo", "http://h/v1", "gemini", "/v1beta/models"),
        ("openrouter", "https://h/api/v1", "chat", "/api/v1/key"),
        ("perplexity", "https://h", "chat", None),
    ],
)
def test_a_key_is_shown_where_it_costs_nothing(
    dialect: str, base_url: str, name: FormatName, expected: str | None
) -> None:
    assert listing_target(DIALECTS[dialect], base_url, name) == expected


@pytest.mark.parametrize(
    ("dialect", "base_url", "expected"),
    [
        ("openai", "https://api.openai.com/v1", "/v1/realtime?model=m"),
        ("openai-compatible", "http://a/x", "/x/v1/realtime?model=m"),
        ("demo", "http://a", "/v1/realtime?model=m"),
    ],
)
def test_a_session_is_asked_for_where_the_chat_is(
    dialect: str, base_url: str, expected: str
) -> None:
    assert session_target(DIALECTS[dialect], base_url, "model=m") == expected


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("tunedModels/x", "/v1beta/tunedModels/x:generateContent"),
        ("org/.m..5", "/v1beta/models/org/.m..5:generateContent"),
        ("org/m:free", "/v1beta/models/org/m:free:generateContent"),
        ("a b?c#d%", "/v1beta/models/a%20b%3Fc%23d%25:generateContent"),
    ],
)
def test_a_gemini_model_cannot_leave_its_path(model: str, path: str) -> None:
    assert request_target(DIALECTS["gemini"], "https://h", GEMINI, model) == path


@pytest.mark.parametrize("model", ["../x", "../../v1/a", "tunedModels/../x", "a/./b", "a/.."])
def test_a_gemini_model_with_steps_up_is_none(model: str) -> None:
    with pytest.raises(BadCall) as caught:
        request_target(DIALECTS["gemini"], "https://h", GEMINI, model)
    assert caught.value.param == "model"
    other = Target("chat", "generate", verb="chat/completions")
    assert ".." not in request_target(DIALECTS["gemini"], "https://h", other, model)


@pytest.mark.parametrize(
    ("dialect", "format_name", "key", "header"),
    [
        ("openai", "chat", "k", (b"authorization", b"Bearer k")),
        ("anthropic", "messages", "k", (b"x-api-key", b"k")),
        ("anthropic", "messages", "sk-ant-oat01-x", (b"authorization", b"Bearer sk-ant-oat01-x")),
        ("gemini", "gemini", "k", (b"x-goog-api-key", b"k")),
        ("relay", "responses", "k", (b"authorization", b"Bearer k")),
        ("relay", "messages", "k", (b"x-api-key", b"k")),
        ("relay", "gemini", "k", (b"x-goog-api-key", b"k")),
    ],
)
def test_each_upstream_gets_its_key_in_its_own_header(
    dialect: str, format_name: str, key: str, header: tuple[bytes, bytes]
) -> None:
    assert auth_headers(DIALECTS[dialect], format_name, key) == (header,)


def test_no_key_is_no_header() -> None:
    assert auth_headers(DIALECTS["openai-compatible"], "chat", "") == ()


def test_every_dialect_speaks_something_and_is_filed_under_its_name() -> None:
    for name, dialect in DIALECTS.items():
        assert dialect.name == name
        assert dialect.formats


@pytest.mark.parametrize(
    ("dialect", "base_url", "rest", "expected"),
    [
        ("openai", "https://h/v1", "/v1/files", "/v1/files"),
        ("openai", "https://h", "/v1/files/", "/v1/files/"),
        ("openai", "https://h/v1?a=b", "/v1/files", "/v1/files?a=b&q=1"),
        ("openai", "https://h/v1", "/odd/x", "/odd/x"),
        ("groq", "https://h/openai/v1", "/v1/files", "/openai/v1/files"),
        ("zai", "https://h/api/paas/v4", "/v1/files", "/api/paas/v4/files"),
        ("gemini", "https://h/v1beta", "/v1beta/files", "/v1beta/files"),
        ("gemini", "https://h/v1beta", "/upload/v1beta/files", "/upload/v1beta/files"),
        ("openai-compatible", "https://h/llm", "/v1/files", "/llm/v1/files"),
    ],
)
def test_what_is_passed_through_keeps_its_path_behind_the_base_url(
    dialect: str, base_url: str, rest: str, expected: str
) -> None:
    query = "q=1" if "?" in expected else ""
    asked = Target("chat", "other", verb="passthrough", rest=rest, method="GET", query=query)
    assert resource_target(DIALECTS[dialect], base_url, asked) == expected


@pytest.mark.parametrize(
    ("dialect", "base_url", "expected"),
    [
        ("openai", "https://h/v1", "/v1/responses/r/input_items?limit=1"),
        ("openai", "https://h", "/v1/responses/r/input_items?limit=1"),
        ("demo", "http://h", "/v1/responses/r/input_items?limit=1"),
        ("xai", "https://h/v1?x=y", "/v1/responses/r/input_items?x=y&limit=1"),
    ],
)
def test_what_is_there_already_is_asked_for_by_its_id(
    dialect: str, base_url: str, expected: str
) -> None:
    asked = Target(
        "responses", "follow_up", verb="responses", rest="r/input_items", query="limit=1"
    )
    assert resource_target(DIALECTS[dialect], base_url, asked) == expected
