"""What any client finds at the door: credentials, path tolerances, CORS, the fixed pages,
headers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Daemons
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.speech import FORMATS, SPEECHES, Speech, error_of


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start('demo: "on"\n')


@pytest.fixture(params=FORMATS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def seen(relay: Running) -> Any:
    """What reached the provider last."""
    demo: Any = relay.daemon._demo
    return demo.provider.seen[-1]


def status(relay: Running, path: str, body: bytes, headers: dict[str, str]) -> int:
    with relay.connect() as client:
        client.send(request_bytes(path, body, headers))
        return client.reply().status


PLACES = ("Authorization", "authorization", "x-api-key", "x-goog-api-key", "api-key", "X-API-KEY")


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_taken_from_every_place_in_every_format(
    relay: Running, speech: Speech, place: str
) -> None:
    bearer = place.lower() == "authorization"
    path, body = speech.ask("demo")
    for scheme in ("Bearer ", "bearer ", "BEARER  ") if bearer else ("", " "):
        assert status(relay, path, body, {place: scheme + relay.key}) == 200


def test_a_key_in_the_query_is_taken(relay: Running) -> None:
    speech = SPEECHES["gemini"]
    for stream in (False, True):
        path, body = speech.ask("demo", stream=stream)
        mark = "&" if "?" in path else "?"
        assert status(relay, f"{path}{mark}key={relay.key}", body, {}) == 200
        assert relay.key not in seen(relay).path


def test_the_first_place_that_is_not_empty_wins(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    good = relay.key
    assert status(relay, path, body, {"Authorization": f"Bearer {good}", "x-api-key": "bad"}) == 200
    assert status(relay, path, body, {"Authorization": "Bearer bad", "x-api-key": good}) == 401
    assert status(relay, path, body, {"Authorization": "Bearer ", "x-api-key": good}) == 200
    assert status(relay, path, body, {"Authorization": "Basic eDp5", "api-key": good}) == 200
    assert status(relay, path, body, {"x-api-key": "", "x-goog-api-key": good}) == 200


NO_KEYS: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer sk-relayd-nobody"},
    {"x-api-key": "\xff\xfe"},
    {"Authorization": "Bearer " + "x" * 5000},
]


@pytest.mark.parametrize("headers", NO_KEYS, ids=lambda h: str(h)[:40])
def test_no_good_key_is_a_401_before_the_body_is_looked_at(
    relay: Running, speech: Speech, headers: dict[str, str]
) -> None:
    before = relay.mark()
    with relay.connect() as client:
        client.send(request_bytes(speech.path("demo", False), b"not json", headers))
        reply = client.reply()

    assert reply.status == 401
    kind, _ = error_of(speech.format, reply.document)
    assert kind in ("invalid_request_error", "authentication_error", "UNAUTHENTICATED")
    [row] = relay.new_rows(before)
    assert (row.status, row.outcome, row.key_id) == (401, "refused", None)


@pytest.mark.parametrize("stream", [False, True])
def test_no_credential_of_the_client_ever_travels_upstream(
    relay: Running, speech: Speech, stream: bool
) -> None:
    path, body = speech.ask("demo", stream=stream)
    path += ("&" if "?" in path else "?") + f"key={relay.key}&other={relay.key}"
    everywhere = {place: relay.key for place in ("x-api-key", "x-goog-api-key", "api-key")}
    more = {
        "Cookie": f"k={relay.key}",
        "Proxy-Authorization": relay.key,
        "X-Forwarded-For": "9.9.9.9",
    }
    assert status(relay, path, body, {**relay.auth, **everywhere, **more}) == 200

    request = seen(relay)
    assert relay.key not in request.path
    assert not [name for name, value in request.headers.items() if relay.key in value]
    assert not {"cookie", "x-forwarded-for", "proxy-authorization", "api-key"} & set(
        request.headers
    )


def test_headers_that_a_format_needs_travel_upstream(relay: Running) -> None:
    path, body = SPEECHES["messages"].ask("demo")
    betas = "a-2026-01-01,b-2026-01-01"
    assert status(relay, path, body, {**relay.auth, "anthropic-beta": betas}) == 200
    assert seen(relay).headers["anthropic-beta"] == betas
    assert seen(relay).headers["anthropic-version"] == "2023-06-01"
    status(relay, path, body, {**relay.auth, "Anthropic-Version": "2026-10-21"})
    assert seen(relay).headers["anthropic-version"] == "2026-10-21"


def test_the_body_reaches_the_upstream_byte_for_byte(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    odd = b'{ "x":1.0, "x" : 12345678901234567890123,"u":"\\u00e9\xc3\xa9" ,' + body[1:] + b"\n "
    assert status(relay, path, odd, relay.auth) == 200
    assert seen(relay).body == odd


TOLERATED = {
    "chat": [
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/api/v1/chat/completions",
        "//v1/chat/completions",
    ],
    "responses": ["/responses", "/v1/v1/responses", "/api/v1/responses"],
    "messages": ["/messages", "/v1/v1/messages", "/v1/messages?beta=true", "/api/v1/messages"],
    "gemini": [
        "/v1/models/demo:generateContent",
        "/models/demo:generateContent",
        "/v1beta/v1beta/models/demo:generateContent",
        "/v1beta/models/models/demo:generateContent",
        "/v1beta/models/demo%3AgenerateContent",
        "/api/v1beta/models/demo:generateContent",
    ],
}


@pytest.mark.parametrize(
    ("name", "path"), [(n, p) for n, paths in TOLERATED.items() for p in paths]
)
def test_paths_are_tolerated(relay: Running, name: str, path: str) -> None:
    speech = SPEECHES[name]
    body = speech.ask("demo")[1]
    assert status(relay, path, body, relay.auth) == 200
    canonical = speech.path("demo", False)
    assert seen(relay).path.replace("/v1/models", "/v1beta/models") == canonical


def test_a_model_name_with_slashes_and_colons_is_taken_whole(relay: Running) -> None:
    body = SPEECHES["gemini"].ask("x")[1]
    for model in ("acme/demo:free", "a%2Fb"):
        assert status(relay, f"/v1beta/models/{model}:generateContent", body, relay.auth) == 200
    assert [row.model_asked for row in relay.rows()[:2]] == ["a/b", "acme/demo:free"]


# --- browsers, probes and pages ---------------------------------------------------------


def test_a_browsers_preflight_is_answered_without_a_key(relay: Running, speech: Speech) -> None:
    before = relay.mark()
    asks = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-api-key",
    }
    with relay.connect() as client:
        client.send(request_bytes(speech.path("demo", False), b"", asks, method="OPTIONS"))
        reply = client.reply(bodiless=True)
        client.send(request_bytes("/healthz", method="GET"))
        assert client.reply().body == b"ok\n", "the answer to OPTIONS is not framed"

    assert reply.status in (200, 204)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "POST" in reply.headers["access-control-allow-methods"]
    allowed = reply.headers["access-control-allow-headers"].lower()
    assert "*" in allowed
    assert "authorization" in allowed
    relay.new_rows(before, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_may_be_read_by_a_page(relay: Running, speech: Speech, stream: bool) -> None:
    path, body = speech.ask("demo", stream=stream)
    for sent in (body, b"broken"):
        headers = relay.ask(path, sent).headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/api/status"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_fixed_pages_need_no_key_and_leave_no_row(
    relay: Running, path: str, method: str
) -> None:
    before = relay.mark()
    with relay.connect() as client:
        client.send(request_bytes(path, method=method))
        reply = client.reply(bodiless=method == "HEAD")
        client.send(request_bytes("/healthz", method="GET"))
        assert client.reply().body == b"ok\n", "the connection is out of step"

    assert reply.status == 200
    relay.new_rows(before, 0)


def test_the_status_page_tells_no_secret(relay: Running) -> None:
    reply = relay.ask("/api/status", method="GET")
    assert reply.document["data"]["version"]
    assert relay.key.encode() not in reply.body
    assert b"demo-provider-key" not in reply.body


@pytest.mark.parametrize(
    ("path", "headers", "field"),
    [
        ("/v1/models", {}, "data"),
        ("/models", {}, "data"),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "first_id"),
        ("/v1beta/models", {}, "models"),
        ("/v1/models", {"x-goog-api-key": "KEY"}, "models"),
        ("/v1/models?key=KEY", {}, "models"),
    ],
)
def test_the_model_list_has_the_shape_of_its_client(
    relay: Running, path: str, headers: dict[str, str], field: str
) -> None:
    sent = {name: value.replace("KEY", relay.key) for name, value in headers.items()}
    reply = relay.ask(path.replace("KEY", relay.key), headers=sent, method="GET")
    assert reply.status == 200
    assert field in reply.document


def test_the_model_list_asks_for_a_key(relay: Running) -> None:
    for path, name in (("/v1/models", "chat"), ("/v1beta/models", "gemini")):
        with relay.connect() as client:
            client.send(request_bytes(path, method="GET"))
            reply = client.reply()
        assert reply.status == 401
        assert error_of(name, reply.document)  # type: ignore[arg-type]


def test_a_key_in_the_address_counts_only_where_gemini_has_a_path(relay: Running) -> None:
    before = relay.mark()
    for path, status in (
        ("/v1beta/models/demo:generateContent", 200),
        ("/v1/chat/completions", 401),
        ("/v1/audio/speech", 401),
        ("/api/usage/token", 401),
    ):
        body = b'{"model":"demo","messages":[],"contents":[{"parts":[{"text":"a"}]}]}'
        with relay.connect() as client:
            method = "GET" if path.startswith("/api/") else "POST"
            client.send(request_bytes(f"{path}?key={relay.key}", body, method=method))
            assert client.reply().status == status, path
    assert [row.key_id for row in relay.new_rows(before, 3)[:2]] == [None, None]


def test_a_kept_alive_connection_serves_many_requests(relay: Running) -> None:
    with relay.connect() as client:
        for name in (*FORMATS, *FORMATS):
            for stream in (False, True):
                path, body = SPEECHES[name].ask("demo", stream=stream)
                client.send(request_bytes(path, body, relay.auth))
                reply = client.reply()
                assert (reply.status, reply.closes) == (200, False)
                client.send(request_bytes(path, b"broken", relay.auth))
                assert client.reply().status == 400


def test_connection_close_is_obeyed(relay: Running, speech: Speech) -> None:
    for stream in (False, True):
        path, body = speech.ask("demo", stream=stream)
        with relay.connect() as client:
            client.send(request_bytes(path, body, {**relay.auth, "Connection": "close"}))
            assert client.reply().closes
            assert client.ended()


def test_request_ids_are_never_the_same(relay: Running) -> None:
    ids = [relay.ask("/v1/chat/completions", b"broken").headers["x-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20
