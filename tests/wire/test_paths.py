"""Paths: every spelling that clients use leads to the same target."""

from __future__ import annotations

import pytest

from relayd.wire.paths import TAILS, Listing, Target, format_of_path, locate


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    "prefix", ["/v1", "", "/v1/v1", "/api/v1", "/openai/v1", "/v1beta/openai", "//v1/"]
)
def test_version_segments_may_be_doubled_missing_or_prefixed(prefix: str, tail: str) -> None:
    assert locate("POST", f"{prefix}/{tail}", "beta=true") == TAILS[tail]
    assert locate("POST", f"{prefix}/{tail}/", "") == TAILS[tail]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-3:generateContent", "gemini-3"),
        ("/v1/models/gemini-3:generateContent", "gemini-3"),
        ("/models/gemini-3:generateContent", "gemini-3"),
        ("/v1beta/v1beta/models/gemini-3:generateContent", "gemini-3"),
        ("/v1beta/models/models/gemini-3:generateContent", "gemini-3"),
        ("/v1beta/models/gemini-3%3AgenerateContent", "gemini-3"),
        ("/v1beta/models/org%2Fname:free:generateContent", "org/name:free"),
        ("/v1/models/org/name:free:generateContent", "org/name:free"),
        ("/v1beta/tunedModels/mine:generateContent", "tunedModels/mine"),
        ("/v1beta/models/tunedModels/mine:generateContent", "tunedModels/mine"),
        ("/v1beta1/projects/p/locations/l/publishers/google/models/g-3:generateContent", "g-3"),
        ("/v1beta/models/models-of-mine:generateContent", "models-of-mine"),
        ("/v1beta/models/:generateContent", ""),
    ],
)
def test_gemini_verb_follows_the_last_colon(path: str, model: str) -> None:
    expected = Target("gemini", "generate", model, False, True, "generateContent")
    assert locate("POST", path, "") == expected


@pytest.mark.parametrize(
    ("verb", "operation"),
    [("countTokens", "count_tokens"), ("embedContent", "embed"), ("batchEmbedContents", "embed")],
)
def test_gemini_verbs_name_their_operation(verb: str, operation: str) -> None:
    found = locate("POST", f"/v1beta/models/x:{verb}", "key=k")
    assert isinstance(found, Target)
    assert (found.operation, found.verb, found.stream) == (operation, verb, False)


@pytest.mark.parametrize(
    ("query", "sse"),
    [("alt=sse", True), ("key=k&$alt=sse", True), ("", False), ("alt=json", False)],
)
def test_gemini_streams_an_array_unless_events_are_asked_for(query: str, sse: bool) -> None:
    found = locate("POST", "/v1beta/models/x:streamGenerateContent", query)
    assert isinstance(found, Target)
    assert (found.stream, found.sse) == (True, sse)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models", Listing(None, False)),
        ("/models/", Listing(None, False)),
        ("/v1/models/gpt-4o", Listing("gpt-4o", False)),
        ("/v1/models/org/name", Listing("org/name", False)),
        ("/v1beta/models", Listing(None, True)),
        ("/v1beta/models/models/gemini-3", Listing("gemini-3", True)),
        ("/v1beta/openai/models", Listing(None, False)),
    ],
)
def test_model_lists_know_whether_the_path_is_geminis(path: str, expected: Listing) -> None:
    assert locate("GET", path, "") == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/nothing"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1beta/models/x:predict"),
        ("POST", "/other/x:generateContent"),
        ("POST", "/"),
        ("POST", ":generateContent"),
        ("GET", "/"),
        ("DELETE", "/v1/models"),
        ("POST", "/%ff%00"),
    ],
)
def test_unknown_routes_are_none(method: str, path: str) -> None:
    assert locate(method, path, "") is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/messages/batches", "messages"),
        ("/v1/responses/resp_1/cancel", "responses"),
        ("/v1beta/files", "gemini"),
        ("/v1/models/x:predict", "gemini"),
        ("/v1/models/x", "chat"),
        ("/v1/audio/speech", "chat"),
        ("/", "chat"),
    ],
)
def test_unknown_routes_are_worded_for_the_likely_client(path: str, name: str) -> None:
    assert format_of_path(path) == name
