"""Headers on pass-through: lists of what may pass, so nothing new slips through."""

from __future__ import annotations

import pytest

from relayd.model import FormatName
from relayd.wire import headers
from relayd.wire.formats import FORMATS

SECRETS = [
    (b"authorization", b"Bearer k"),
    (b"x-api-key", b"k"),
    (b"x-goog-api-key", b"k"),
    (b"api-key", b"k"),
    (b"cookie", b"k"),
]
JSON = b"application/json; charset=utf-8"
NEVER = [
    *SECRETS,
    (b"host", b"h"),
    (b"connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"3"),
    (b"accept-encoding", b"gzip"),
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"cf-ray", b"1"),
    (b"openai-organization", b"org"),
    (b"x-goog-user-project", b"p"),
]


@pytest.mark.parametrize("name", FORMATS)
def test_no_credential_and_no_hop_by_hop_header_goes_up(name: FormatName) -> None:
    kept = headers.for_upstream(NEVER, name)
    assert kept == ([(b"anthropic-version", b"2023-06-01")] if name == "messages" else [])


def test_what_the_format_needs_goes_up() -> None:
    common = [(b"accept", b"*/*"), (b"idempotency-key", b"1"), (b"x-stainless-lang", b"python")]
    assert headers.for_upstream([*common, (b"openai-beta", b"x")], "chat") == [
        *common,
        (b"openai-beta", b"x"),
    ]
    google = [(b"x-goog-api-client", b"x"), (b"x-server-timeout", b"9")]
    assert headers.for_upstream(google, "gemini") == google
    assert headers.for_upstream(google, "responses") == []


def test_anthropic_betas_are_joined_and_the_version_is_kept() -> None:
    given = [
        (b"anthropic-beta", b"a,b"),
        (b"anthropic-version", b"2026-10-21"),
        (b"Anthropic-Beta", b""),
        (b"Anthropic-Beta", b"c"),
    ]
    kept = dict(headers.for_upstream(given, "messages"))
    assert kept == {b"anthropic-version": b"2026-10-21", b"anthropic-beta": b"a,b,c"}


def test_limits_and_retry_advice_come_down_but_no_account_names() -> None:
    passes = [
        (b"x-ratelimit-remaining-tokens", b"1"),
        (b"anthropic-ratelimit-requests-limit", b"2"),
        (b"retry-after", b"3"),
        (b"retry-after-ms", b"3000"),
        (b"x-should-retry", b"false"),
    ]
    stays = [
        (b"set-cookie", b"a=b"),
        (b"content-encoding", b"gzip"),
        (b"openai-organization", b"org"),
        (b"anthropic-organization-id", b"id"),
        (b"x-request-id", b"r"),
    ]
    kind = (b"content-type", b"application/json")
    called = (b"content-disposition", b"attachment; filename=speech.mp3")
    assert headers.for_client([*stays, *passes, kind, called]) == [*passes, kind, called]
    assert headers.for_client([*passes, kind], stream=True) == passes


@pytest.mark.parametrize("kinds", [[], [b"text/html"], [b"image/svg+xml"], [JSON, b"text/html"]])
def test_what_an_upstream_sends_is_no_page_of_ours(kinds: list[bytes]) -> None:
    kept = headers.for_client([(b"content-type", kind) for kind in kinds])
    assert (b"x-content-type-options", b"nosniff") in kept
    assert (b"content-security-policy", b"sandbox; default-src 'none'") in kept


def test_json_needs_no_such_word() -> None:
    kind = (b"content-type", JSON)
    assert headers.for_client([kind]) == [kind]


def test_the_upstreams_request_id_is_found() -> None:
    assert headers.upstream_request_id([(b"a", b"b"), (b"request-id", b"req_1")]) == "req_1"
    assert headers.upstream_request_id([]) == ""


@pytest.mark.parametrize("name", FORMATS)
def test_of_a_translated_call_only_what_all_formats_understand_goes_up(name: FormatName) -> None:
    """wire-formats, trap 153"""
    own = [
        (b"anthropic-beta", b"a"),
        (b"anthropic-version", b"2026-10-21"),
        (b"openai-beta", b"x"),
        (b"x-goog-api-client", b"x"),
        (b"x-stainless-lang", b"python"),
    ]
    common = [(b"Accept", b"*/*"), (b"idempotency-key", b"1")]
    version = [(b"anthropic-version", b"2023-06-01")] if name == "messages" else []
    kept = headers.for_upstream([*NEVER, *own, *common], name, translated=True)
    assert kept == [(b"accept", b"*/*"), (b"idempotency-key", b"1"), *version]


def test_of_a_translated_reply_only_the_advice_to_come_again_comes_down() -> None:
    advice = [(b"retry-after", b"3"), (b"retry-after-ms", b"3000"), (b"x-should-retry", b"false")]
    own = [(b"content-type", b"text/event-stream"), (b"x-ratelimit-limit-requests", b"1")]
    assert headers.for_client([*own, *advice], translated=True) == advice


def test_of_what_is_passed_on_unread_the_same_never_goes_up() -> None:
    assert headers.unread([*NEVER, (b"Forwarded", b"x"), (b"Upgrade", b"h2c")]) == []


def test_what_tells_of_a_body_or_a_part_of_a_file_goes_up_whatever_the_format() -> None:
    kept = [
        (b"content-type", b"multipart/form-data; boundary=x"),
        (b"range", b"bytes=0-9"),
        (b"if-match", b"e"),
        (b"openai-beta", b"assistants=v2"),
        (b"anthropic-beta", b"files"),
        (b"x-goog-upload-protocol", b"resumable"),
        (b"x-stainless-lang", b"python"),
    ]
    assert headers.unread([(name.title(), value) for name, value in kept]) == kept
