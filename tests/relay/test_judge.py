"""Whole replies judged: an answer, the client's mistake, or the upstream's failure."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadReply, BadStatus, RelayError
from relayd.model import FormatName, Operation
from relayd.relay.judge import first_event_error, judge
from tests.support.speech import FORMATS, SPEECHES
from tests.wire.cuts import observer

JSON = [(b"content-type", b"application/json")]
ERROR = b'{"error": {"message": "no", "code": 1}}'
NOW = 1795251600.0  # Sat, 21 Nov 2026 09:00:00 GMT


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> FormatName:
    found: FormatName = request.param
    return found


def test_an_answer_passes_with_its_usage(name: FormatName) -> None:
    speech = SPEECHES[name]
    verdict = judge(name, "generate", 200, JSON, speech.reply)
    assert (verdict.status, verdict.outcome, verdict.error_code) == (200, "ok", "")
    assert verdict.usage is not None
    assert (verdict.usage.in_uncached, verdict.usage.out_total) == speech.usage


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_the_clients_mistake_passes(name: FormatName, status: int) -> None:
    verdict = judge(name, "generate", status, JSON, ERROR)
    assert (verdict.status, verdict.outcome) == (status, "bad_request")
    assert verdict.error_code == f"upstream_{status}"


def test_a_rate_limit_passes_and_is_the_upstreams(name: FormatName) -> None:
    verdict = judge(name, "generate", 429, JSON, ERROR)
    assert (verdict.status, verdict.outcome) == (429, "upstream_error")


@pytest.mark.parametrize("status", [401, 402, 403])
def test_trouble_with_our_credential_is_a_502(name: FormatName, status: int) -> None:
    with pytest.raises(BadStatus) as caught:
        judge(name, "generate", status, JSON, b'{"error": {"message": "key sk-abc is wrong"}}')
    assert (caught.value.status, caught.value.code) == (502, "upstream_credential")
    assert "sk-abc" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, 502),
        (501, 502),
        (502, 502),
        (503, 503),
        (504, 504),
        (522, 504),
        (524, 504),
        (529, 503),
        (599, 502),
    ],
)
def test_a_failure_is_reworded(name: FormatName, status: int, told: int) -> None:
    with pytest.raises(BadStatus) as caught:
        judge(name, "generate", status, [*JSON, (b"retry-after", b"7")], b"<html>down</html>")
    assert (caught.value.status, caught.value.upstream_status) == (told, status)
    assert caught.value.retry_after == 7
    assert "<html" not in caught.value.message


@pytest.mark.parametrize("status", [300, 302, 304, 399])
def test_a_redirect_is_no_answer(name: FormatName, status: int) -> None:
    with pytest.raises(BadReply):
        judge(name, "generate", status, JSON, b"")


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", ERROR])
def test_a_200_without_an_answer_is_a_failure(name: FormatName, body: bytes) -> None:
    with pytest.raises(BadReply):
        judge(name, "generate", 200, JSON, body)


def test_a_200_that_does_not_claim_to_be_json_passes_and_is_the_upstreams(
    name: FormatName,
) -> None:
    verdict = judge(name, "generate", 200, [(b"content-type", b"text/plain")], b"hello")
    assert (verdict.status, verdict.outcome) == (200, "upstream_error")
    assert verdict.error_code == "upstream_not_json"


def test_a_failed_response_object_is_a_proper_answer() -> None:
    body = b'{"id":"r1","object":"response","status":"failed","error":{"code":"x","message":"no"}}'
    verdict = judge("responses", "generate", 200, JSON, body)
    assert (verdict.status, verdict.outcome) == (200, "upstream_error")


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ([(b"retry-after", b"7")], ERROR, 7),
        ([(b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"6s")], b"", 6),
        ([], b'{"error":{"details":[{"retryDelay":"34s"}]}}', 34),
        ([(b"retry-after", b"Sat, 21 Nov 2026 09:00:30 GMT")], b"", 30),
        ([], ERROR, None),
    ],
)
def test_a_rate_limit_may_be_tried_elsewhere_and_tells_how_long_it_lasts(
    name: FormatName, headers: list[tuple[bytes, bytes]], body: bytes, wait: float | None
) -> None:
    retry = judge(name, "generate", 429, headers, body, now=NOW).retry
    assert retry is not None
    assert (retry.status, retry.upstream_status, retry.code) == (429, 429, "rate_limit_exceeded")
    assert retry.retry_after == wait


def test_a_request_that_the_upstream_gave_up_on_may_be_tried_elsewhere(name: FormatName) -> None:
    verdict = judge(name, "generate", 408, JSON, ERROR)
    assert (verdict.status, verdict.outcome) == (408, "bad_request")
    assert verdict.retry is not None
    assert (verdict.retry.status, verdict.retry.upstream_status) == (408, 408)


@pytest.mark.parametrize("status", [200, 400, 404, 422])
def test_nothing_else_that_passes_is_tried_elsewhere(name: FormatName, status: int) -> None:
    reply = SPEECHES[name].reply if status == 200 else ERROR
    assert judge(name, "generate", status, JSON, reply).retry is None


@pytest.mark.parametrize("wrap", [b"%b", b"[%b]"])
def test_googles_word_for_a_bad_key_is_trouble_with_our_credential(
    name: FormatName, wrap: bytes
) -> None:
    body = wrap % b'{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}'
    with pytest.raises(BadStatus) as caught:
        judge(name, "generate", 400, JSON, body)
    assert (caught.value.code, caught.value.upstream_status) == ("upstream_credential", 401)
    assert judge(name, "generate", 404, JSON, body).outcome == "bad_request"


@pytest.mark.parametrize(
    "body",
    [
        b"API_KEY_INVALID",
        b'"API_KEY_INVALID"',
        b'{"error": "API_KEY_INVALID"}',
        b'{"error": {"message": "Invalid value: \'API_KEY_INVALID\'."}}',
        b'{"error": {"message": "{\\"details\\":[{\\"reason\\":\\"API_KEY_INVALID\\"}]}"}}',
        b'{"error": {"param": "API_KEY_INVALID", "code": "invalid_value"}}',
        b'{"error": {"details": ["API_KEY_INVALID", {"message": "API_KEY_INVALID"}]}}',
        b'{"error": {"details": [{"reason": ["API_KEY_INVALID"]}]}}',
        b'{"details": [{"reason": "API_KEY_INVALID"}]}',
    ],
)
def test_a_clients_own_words_in_an_error_are_not_googles(name: FormatName, body: bytes) -> None:
    verdict = judge(name, "generate", 400, JSON, body)
    assert (verdict.outcome, verdict.retry) == ("bad_request", None)


def first(name: FormatName, value: object) -> RelayError | None:
    return first_event_error(name, orjson.dumps(value))


def in_event(name: FormatName, error: dict[str, object]) -> list[object]:
    """The shapes in which `error` may begin a stream of this format."""
    shapes: list[object] = [{"error": error}, {"type": "error", "error": error}]
    if name == "responses":
        shapes.append({"type": "response.failed", "response": {"id": "r", "error": error}})
    if name == "gemini":
        shapes.append([{"error": error}])
    if "type" not in error:
        shapes.append({"type": "error", **error})
    return shapes


# What an error says -> the status that it has as a whole reply, None for a client's mistake.
FIRST_EVENTS: list[tuple[dict[str, object], int | None]] = [
    ({"type": "overloaded_error", "message": "Overloaded"}, 529),
    ({"type": "api_error"}, 500),
    ({"type": "server_error", "code": "server_is_overloaded"}, 503),
    ({"type": "service_unavailable_error", "code": None}, 503),
    ({"code": "server_error"}, 500),
    ({"code": 503, "status": "UNAVAILABLE"}, 503),
    ({"code": "502"}, 502),
    ({"code": 504, "status": "DEADLINE_EXCEEDED"}, 504),
    ({"status": "INTERNAL"}, 500),
    ({"code": 499, "status": "CANCELLED"}, 500),
    ({"code": 408}, 408),
    ({"type": "timeout_error"}, 504),
    ({"message": "what now?"}, 500),
    ({"code": "a_word_of_tomorrow", "type": ["x"]}, 500),
    ({"code": 42}, 500),
    ({"code": "\u00b2\u00b2\u00b2"}, 500),
    ({"type": "rate_limit_error"}, 429),
    ({"type": "tokens", "code": "rate_limit_exceeded"}, 429),
    ({"code": "insufficient_quota"}, 429),
    ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, 429),
    ({"type": "x", "details": {"error_code": "ramp_limit_exceeded"}}, 429),
    ({"type": "authentication_error"}, 401),
    ({"type": "invalid_request_error", "code": "invalid_api_key"}, 401),
    ({"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, 401),
    ({"type": "billing_error"}, 402),
    ({"type": "permission_error"}, 403),
    ({"code": 403, "status": "PERMISSION_DENIED"}, 403),
    ({"type": "invalid_request_error", "message": "no"}, None),
    ({"type": "invalid_request_error", "code": "context_length_exceeded"}, None),
    ({"code": "context_length_exceeded"}, None),
    ({"code": "invalid_prompt"}, None),
    ({"code": "unsupported_parameter"}, None),
    ({"code": 400, "type": "BadRequestError"}, None),
    ({"code": 400, "status": "INVALID_ARGUMENT"}, None),
    ({"status": "FAILED_PRECONDITION"}, None),
    ({"code": 404, "status": "NOT_FOUND"}, None),
    ({"type": "not_found_error"}, None),
    ({"type": "request_too_large"}, None),
]


@pytest.mark.parametrize(("error", "status"), FIRST_EVENTS)
def test_an_error_that_begins_a_stream_means_what_it_says(
    name: FormatName, error: dict[str, object], status: int | None
) -> None:
    for value in in_event(name, error):
        found = first(name, value)
        assert isinstance(found, BadStatus) is (status is not None), value
        assert found is None or (isinstance(found, BadStatus) and found.upstream_status == status)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"type": "overloaded_error"}, 503, "overloaded"),
        ({"code": 500}, 502, "upstream_500"),
        ({"code": 504}, 504, "upstream_504"),
        ({"code": 429}, 429, "rate_limit_exceeded"),
        ({"code": 401}, 502, "upstream_credential"),
    ],
)
def test_an_error_that_begins_a_stream_is_reworded_as_a_whole_reply_would_be(
    name: FormatName, error: dict[str, object], status: int, code: str
) -> None:
    found = first(name, {"error": {**error, "message": "it says why"}})
    assert found is not None
    assert (found.status, found.code) == (status, code)
    assert ("it says why" in found.message) is (code != "upstream_credential")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"error":"down"}', b'{"error":["x"]}', b"{}"])
def test_an_error_of_an_unknown_shape_is_the_upstreams(name: FormatName, data: bytes) -> None:
    found = first_event_error(name, data)
    assert isinstance(found, BadStatus) and found.upstream_status == 500


def test_a_failed_response_without_a_reason_is_the_upstreams() -> None:
    value = {"type": "response.failed", "response": {"status": "failed", "error": None}}
    found = first("responses", value)
    assert isinstance(found, BadStatus) and found.upstream_status == 500


def test_an_error_that_begins_a_stream_may_tell_when_to_come_back() -> None:
    data = b'{"error":{"code":429,"details":[{"retryDelay":"34s"}]}}'
    date = [(b"retry-after", b"Sat, 21 Nov 2026 09:00:30 GMT")]
    for headers, wait in (([], 34), (date, 30)):
        found = first_event_error("gemini", data, headers, now=NOW)
        assert found is not None and found.retry_after == wait


@pytest.mark.parametrize("name", FORMATS)
def test_what_the_observer_keeps_is_what_is_judged(name: FormatName) -> None:
    for value in in_event(name, {"type": "overloaded_error", "code": 529})[:3]:
        watch = observer(name)
        watch.feed(b"data: " + orjson.dumps(value) + b"\n\n")
        found = first_event_error(name, watch.first_error_event)
        assert isinstance(found, BadStatus) and found.upstream_status == 529


# --- audio and transcripts ------------------------------------------------------------------------


def typed(kind: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", kind.encode())]


@pytest.mark.parametrize(
    ("operation", "kind", "body"),
    [
        ("speech", "audio/mpeg", b"\xff\xfb"),
        ("speech", "application/octet-stream", b"RIFF"),
        ("transcribe", "text/plain; charset=utf-8", b"Hello\n"),
        ("transcribe", "text/plain", b""),
        ("transcribe", "application/x-subrip", b"1\n"),
    ],
)
def test_audio_and_plain_transcripts_are_answers(
    operation: Operation, kind: str, body: bytes
) -> None:
    verdict = judge("chat", operation, 200, typed(kind), body)
    assert (verdict.status, verdict.outcome, verdict.error_code) == (200, "ok", "")


@pytest.mark.parametrize(
    ("operation", "kind", "body"),
    [
        ("speech", "text/html", b"<html>"),
        ("speech", "text/plain", b"Sign in"),
        ("speech", "audio/mpeg", b""),
        ("speech", "application/json", b"\xff\xfb"),
        ("transcribe", "text/html; charset=utf-8", b"<html>"),
        ("transcribe", "application/json", b"Hello"),
        ("transcribe", "audio/mpeg", b""),
        ("image", "application/json", b'{"data": []}'),
    ],
)
def test_a_page_or_nothing_is_no_answer(operation: Operation, kind: str, body: bytes) -> None:
    with pytest.raises(BadReply):
        judge("chat", operation, 200, typed(kind), body)


def test_subtitles_tell_how_long_the_audio_was() -> None:
    body = b"WEBVTT\n\n00:00.000 --> 00:02.500\nHi\n"
    verdict = judge("chat", "transcribe", 200, typed("text/vtt"), body)
    assert (verdict.usage, verdict.heard) == (None, 2500)


@pytest.mark.parametrize("body", [b"", b"not JSON", b'{"error":{"message":"of the batch"}}'])
def test_an_answer_that_nobody_reads_is_one_whatever_it_says(body: bytes) -> None:
    verdict = judge("chat", "other", 200, [(b"content-type", b"application/json")], body)
    assert (verdict.status, verdict.outcome, verdict.usage) == (200, "ok", None)
    with pytest.raises(BadStatus):
        judge("chat", "other", 500, [], body)
