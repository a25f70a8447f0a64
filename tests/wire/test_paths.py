"""Paths: every spelling that clients use leads to the same target."""

from __future__ import annotations

import pytest

from relayd.wire.paths import (
    TAILS,
    Listing,
    Session,
    Target,
    format_of_path,
    is_gemini_path,
    locate,
    without_key,
)


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
        ("/v1beta/models/g-3(or%20other%20models):generateContent", "g-3"),
        ("/v1beta/models/g-3%20%28or other models%29:generateContent", "g-3"),
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


@pytest.mark.parametrize(
    ("method", "tail", "rest"),
    [
        ("GET", "resp_1", "resp_1"),
        ("DELETE", "resp_1/", "resp_1"),
        ("POST", "resp_1/cancel", "resp_1/cancel"),
        ("GET", "resp_1/input_items", "resp_1/input_items"),
        ("GET", "resp%5F1", "resp_1"),
        ("GET", "compact", "compact"),
    ],
)
@pytest.mark.parametrize("prefix", ["/v1", "", "/api/v1", "/v1/v1"])
def test_what_follows_on_a_response_keeps_its_id_and_method(
    prefix: str, method: str, tail: str, rest: str
) -> None:
    found = locate(method, f"{prefix}/responses/{tail}", "limit=1&key=k")
    expected = Target("responses", "follow_up", stream=False, verb="responses", rest=rest)
    assert found == expected._replace(method=method, query="limit=1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "responses/resp_1"),
        ("PUT", "responses/resp_1"),
        ("GET", "responses/resp_1/cancel"),
        ("POST", "responses/resp_1/input_items"),
        ("GET", "responses/resp_1/input_items/x"),
        ("GET", "responses/.."),
        ("GET", "responses/a%2e"),
        ("GET", "responses/" + "x" * 257),
        ("HEAD", "responses/resp_1"),
    ],
)
def test_other_requests_for_responses_are_none(method: str, path: str) -> None:
    assert locate(method, f"/v1/{path}", "") is None


@pytest.mark.parametrize(
    ("method", "tail", "query", "stream"),
    [
        ("GET", "r", "stream=true&starting_after=3", True),
        ("GET", "r", "stream=1", True),
        ("GET", "r", "stream=false&stream=True", True),
        ("GET", "r", "stream=false", False),
        ("GET", "r/input_items", "stream=true", False),
        ("DELETE", "r", "stream=true", False),
    ],
)
def test_a_response_is_streamed_where_its_query_says_so(
    method: str, tail: str, query: str, stream: bool
) -> None:
    found = locate(method, f"/v1/responses/{tail}", query)
    assert isinstance(found, Target)
    assert found.stream is stream


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("key=mine", ""),
        ("a=1&key=mine&b=2", "a=1&b=2"),
        ("k%65y=mine&a=1", "a=1"),
        ("+key=mine&a=1", "+key=mine&a=1"),
        ("keys=1&a=%20%zz", "keys=1&a=%20%zz"),
        ("a=é b\r\nHost: x", "a=%C3%A9%20b%0D%0AHost:%20x"),
    ],
)
def test_a_query_travels_without_the_key_and_as_one_line(query: str, kept: str) -> None:
    assert without_key(query) == kept


@pytest.mark.parametrize("prefix", ["/v1", "", "/api/v1", "/openai/v1"])
@pytest.mark.parametrize("verb", ["realtime", "responses"])
def test_a_get_of_what_has_sessions_asks_for_one(prefix: str, verb: str) -> None:
    assert locate("GET", f"{prefix}/{verb}", "model=m") == Session(verb)
    assert not isinstance(locate("POST", f"{prefix}/{verb}", ""), Session)


@pytest.mark.parametrize(
    ("path", "verb", "defaults"),
    [
        ("/api/v1/chat", "chat/completions", "chat"),
        ("/v1/chat/completions", "chat/completions", ""),
        ("/v1/images/generations", "images/generations", "image"),
        ("/v1/moderations", "moderations", "moderation"),
        ("/v1/images/edits", "images/edits", "image"),
        ("/v1/audio/transcriptions", "audio/transcriptions", ""),
    ],
)
def test_endpoints_with_optional_fields_have_defaults(path: str, verb: str, defaults: str) -> None:
    target = locate("POST", path, "")

    assert isinstance(target, Target)
    assert (target.verb, target.defaults) == (verb, defaults)


@pytest.mark.parametrize(
    ("path", "googles"),
    [
        ("/v1beta/models/m:generateContent", True),
        ("/v1/models/m:streamGenerateContent", True),
        ("/v1/models", True),
        ("/models/m", True),
        ("/v1alpha/operations/o", True),
        ("/api/v1beta/cachedContents", True),
        ("/upload/v1beta/files", True),
        ("/upload/v1/files", False),
        ("/v1beta/openai/chat/completions", False),
        ("/v1/publishers/google/models/m:generateContent", True),
        ("/v1/chat/completions", False),
        ("/v1/realtime", False),
        ("/v1/files/models", False),
        ("/api/usage/token", False),
        ("/", False),
        ("", False),
    ],
)
def test_which_paths_are_googles(path: str, googles: bool) -> None:
    assert is_gemini_path(path) is googles
