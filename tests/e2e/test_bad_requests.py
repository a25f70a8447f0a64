"""Requests that are wrong: a clear error in the client's format, one row, nothing reaches an
upstream.

Everything here is answered by the relay itself; the demo provider behind it must not hear of it.
"""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

import orjson
import pytest

from tests.conftest import Daemons
from tests.support.raw_client import chunked, request_bytes
from tests.support.running import Running
from tests.support.speech import FORMATS, SPEECHES, Speech, error_of

CONFIG = """\
demo: "on"
limits: {max_body: 64kB, body_timeout: 300ms, header_timeout: 300ms, idle_timeout: 60s}
"""
LIMIT = 64_000


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def provider_of(relay: Running) -> Any:
    demo: Any = relay.daemon._demo
    return demo.provider


def refused(relay: Running, speech: Speech, body: bytes, **headers: str) -> tuple[int, str]:
    """Send a body that must be refused, check all that goes with it; status and error type."""
    asked, before = provider_of(relay).requests, relay.mark()
    path = speech.path("demo", False)
    reply = relay.ask(path, body, {n.replace("_", "-"): v for n, v in headers.items()})
    kind, message = error_of(speech.format, reply.document)
    assert reply.headers["content-type"] == "application/json"
    assert len(message) > 10
    assert provider_of(relay).requests == asked
    [row] = relay.new_rows(before)
    assert row.request_id == reply.headers["x-request-id"] == reply.headers["request-id"]
    assert (row.status, row.outcome) == (reply.status, "bad_request")
    assert (row.format_in, row.upstream, row.usage_source) == (speech.format, "", "none")
    assert row.key_id is not None
    return reply.status, kind


MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "half": b'{"model": "demo", "messages": [',
    "text": b"model=demo",
    "list": b'[{"model": "demo"}]',
    "string": b'"demo"',
    "null": b"null",
    "number": b"1",
    "not utf-8": b'{"model": "\xff\xfe"}',
    "two documents": b'{"model":"demo"}{"model":"demo"}',
    "nan": b'{"model": "demo", "temperature": NaN}',
    "deep": b'{"model": "demo", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "lone surrogate": b'{"model": "\\ud800"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_no_json_object_is_a_400(
    relay: Running, speech: Speech, body: bytes
) -> None:
    status, kind = refused(relay, speech, body)
    assert status == 400
    assert kind in ("invalid_request_error", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "fields",
    [{}, {"model": None}, {"model": 5}, {"model": ["demo"]}, {"model": ""}, {"model": "a\x00b"}],
    ids=str,
)
def test_a_missing_or_ill_typed_model_is_a_400_that_names_it(
    relay: Running, speech: Speech, fields: dict[str, object]
) -> None:
    if speech.format == "gemini":
        pytest.skip("its model is in the path")
    body = {k: v for k, v in speech.body("demo", False).items() if k != "model"}
    reply = relay.ask(speech.path("", False), orjson.dumps({**body, **fields}))
    assert reply.status == 400
    assert "model" in error_of(speech.format, reply.document)[1]
    if speech.format != "messages":
        assert reply.document["error"]["param"] == "model"


def test_a_stream_flag_that_is_no_bool_is_a_400(relay: Running, speech: Speech) -> None:
    if speech.format == "gemini":
        pytest.skip("its path says whether to stream")
    body = orjson.dumps({**speech.body("demo", False), "stream": "yes"})
    assert refused(relay, speech, body)[0] == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_a_wrong_content_type_is_a_415(relay: Running, speech: Speech, kind: str) -> None:
    body = speech.ask("demo")[1]
    assert refused(relay, speech, body, Content_Type=kind)[0] == 415


def test_json_with_a_charset_or_no_content_type_is_taken(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", "APPLICATION/JSON"):
        assert relay.ask(path, body, {"Content-Type": kind}).status == 200
    whole = request_bytes(path, body, relay.auth).replace(
        b"Content-Type: application/json\r\n", b""
    )
    with relay.connect() as client:
        client.send(whole)
        assert client.reply().status == 200


# --- size -------------------------------------------------------------------------------


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(
    relay: Running, speech: Speech
) -> None:
    before = relay.mark()
    headers = {**relay.auth, "Content-Length": str(10 * LIMIT)}
    with relay.connect() as client:
        client.send(request_bytes(speech.path("demo", False), b"{", headers))
        reply = client.reply()

    assert reply.status == 413
    assert error_of(speech.format, reply.document)
    assert reply.closes
    [row] = relay.new_rows(before)
    assert (row.status, row.outcome, row.error_code) == (413, "bad_request", "request_too_large")


def test_a_chunked_body_over_the_limit_is_refused_before_it_ends(
    relay: Running, speech: Speech
) -> None:
    before = relay.mark()
    headers = {**relay.auth, "Transfer-Encoding": "chunked"}
    piece = b"%x\r\n%b\r\n" % (10_000, b"x" * 10_000)
    with relay.connect() as client:
        client.send(request_bytes(speech.path("demo", False), b"", headers))
        for _ in range(7):
            client.send(piece)
        reply = client.reply()

    assert (reply.status, reply.closes) == (413, True)
    [row] = relay.new_rows(before)
    assert row.bytes_in < 2 * LIMIT


def test_a_client_that_sends_all_of_a_refused_body_still_sees_the_answer(
    relay: Running, speech: Speech
) -> None:
    body = b'{"x": "' + b"x" * (4 * LIMIT) + b'"}'
    with relay.connect() as client:
        client.send(request_bytes(speech.path("demo", False), body, relay.auth))
        assert client.reply().status == 413


def test_a_body_right_at_the_limit_is_taken(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    padded = body[:-1] + b" " * (LIMIT - len(body)) + body[-1:]
    assert len(padded) == LIMIT
    assert relay.ask(path, padded).status == 200
    assert relay.ask(path, b" " + padded).status == 413


def test_a_gzip_body_is_taken_and_forwarded_plain(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    reply = relay.ask(path, gzip.compress(body), {"Content-Encoding": "gzip"})

    assert reply.status == 200
    seen = provider_of(relay).seen[-1]
    assert seen.body == body
    assert "content-encoding" not in seen.headers


@cache
def bomb() -> bytes:
    """Fifty megabytes that come as few."""
    return gzip.compress(b'{"x": "' + b"0" * 50_000_000 + b'"}')


def test_a_gzip_bomb_is_a_413(relay: Running, speech: Speech) -> None:
    assert len(bomb()) < LIMIT
    assert refused(relay, speech, bomb(), Content_Encoding="gzip")[0] == 413


def test_a_damaged_gzip_body_is_a_400(relay: Running, speech: Speech) -> None:
    body = gzip.compress(speech.ask("demo")[1])
    for damaged in (b"not gzip at all", body[: len(body) // 2], body[:-8] + b"\0" * 8):
        reply = relay.ask(speech.path("demo", False), damaged, {"Content-Encoding": "gzip"})
        assert reply.status == 400
        assert error_of(speech.format, reply.document)


def test_an_unknown_content_encoding_is_a_415(relay: Running, speech: Speech) -> None:
    assert refused(relay, speech, b"{}", Content_Encoding="lzma")[0] == 415


# --- slowness ---------------------------------------------------------------------------


def test_a_body_that_comes_one_byte_a_time_is_a_408(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    before = relay.mark()
    with relay.connect() as client:
        client.send(request_bytes(path, b"", {**relay.auth, "Content-Length": str(len(body))}))
        client.send(body[:1])
        client.send(body[1:2])
        reply = client.reply()

    assert (reply.status, reply.closes) == (408, True)
    assert error_of(speech.format, reply.document)
    [row] = relay.new_rows(before)
    assert (row.outcome, row.error_code, row.upstream) == ("bad_request", "body_timeout", "")


def test_a_head_that_never_ends_is_cut_off(relay: Running) -> None:
    with relay.connect() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: relay\r\n")
        client.read_all()  # ends long before the idle timeout, with or without words
    assert relay.ask("/healthz", method="GET").status == 200


# --- routes -----------------------------------------------------------------------------

UNKNOWN = {
    "/v1/nothing": "chat",
    "/nothing": "chat",
    "/v1/chats": "chat",
    "/v1/responses/x/y/z": "responses",
    "/v1/messages/nothing": "messages",
    "/v1beta/nothing": "gemini",
    "/v1beta/models/demo:nothing": "gemini",
    "/v1beta/models/demo": "gemini",
    "/..%2f..%2fetc/passwd": "chat",
    "/v1/%00": "chat",
    "/v1/chat/completions/more": "chat",
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_route_is_a_404_in_the_format_of_its_path(relay: Running, path: str) -> None:
    before = relay.mark()
    reply = relay.ask(path, b"{}")

    assert reply.status == 404
    kind, _ = error_of(UNKNOWN[path], reply.document)  # type: ignore[arg-type]
    assert kind in ("invalid_request_error", "not_found_error", "NOT_FOUND")
    [row] = relay.new_rows(before)
    assert (row.status, row.outcome, row.format_in) == (404, "refused", UNKNOWN[path])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_an_error_in_the_format_of_its_path(
    relay: Running, speech: Speech, method: str
) -> None:
    path = speech.path("demo", method == "GET")  # a GET of a Gemini verb is no model either
    reply = relay.ask(path.partition("?")[0], b"", method=method)
    assert reply.status in (404, 405)
    assert error_of(speech.format, reply.document)


def test_an_unknown_model_is_a_404(start: Daemons, speech: Speech) -> None:
    up = '  up: {dialect: relay, base_url: "http://127.0.0.1:9", models: [m]}\n'
    lines = 'demo: "on"\nupstreams:\n' + up
    known = (d for d in start.running if lines in d.config_path.read_text())
    relay = next(known, None) or start(lines)
    path, body = speech.ask("nobody-has-this")
    reply = relay.ask(path, body)

    assert reply.status == 404
    assert "nobody-has-this" in error_of(speech.format, reply.document)[1]
    row = relay.row(reply.headers["x-request-id"])
    assert (row.outcome, row.error_code) == ("refused", "model_not_found")


# --- HTTP -------------------------------------------------------------------------------


def test_a_chunked_request_body_is_taken(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    with relay.connect() as client:
        client.send(request_bytes(path, b"", {**relay.auth, "Transfer-Encoding": "chunked"}))
        client.send(chunked(body[:7], body[7:]))
        assert client.reply().status == 200
    assert provider_of(relay).seen[-1].body == body


def test_expect_100_continue_is_answered_before_the_body(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo")
    headers = {**relay.auth, "Expect": "100-continue", "Content-Length": str(len(body))}
    with relay.connect() as client:
        client.send(request_bytes(path, b"", headers))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.send(body)
        assert client.reply().status == 200


def test_a_refused_expectation_gets_its_answer_instead_of_100(relay: Running) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "10", "Authorization": "Bearer nobody"}
    with relay.connect() as client:
        client.send(request_bytes("/v1/chat/completions", b"", headers))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 401 ")


def test_pipelined_requests_are_answered_in_order(relay: Running) -> None:
    asks = [
        SPEECHES[name].ask("demo", stream=stream) for name in FORMATS for stream in (False, True)
    ]
    before = relay.mark()
    with relay.connect() as client:
        client.send(b"".join(request_bytes(path, body, relay.auth) for path, body in asks))
        replies = [client.reply() for _ in asks]

    assert [reply.status for reply in replies] == [200] * len(asks)
    assert [("event-stream" in r.headers["content-type"]) for r in replies] == [False, True] * 4
    relay.new_rows(before, len(asks))


@pytest.mark.parametrize("stream", [False, True])
def test_an_http_1_0_client_gets_a_close_delimited_reply(
    relay: Running, speech: Speech, stream: bool
) -> None:
    path, body = speech.ask("demo", stream=stream)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth, version="1.0"))
        head = client.read_until(b"\r\n\r\n").lower()
        rest = client.read_all()

    assert b" 200 " in head
    assert b"transfer-encoding" not in head
    assert rest == relay.ask(path, body).body


ABSURD = {
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "nul in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    "long path": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "endless digits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", ABSURD.values(), ids=ABSURD)
def test_absurd_http_is_a_400_in_json_and_a_row(relay: Running, data: bytes) -> None:
    before = relay.mark()
    with relay.connect() as client:
        client.try_send(data)
        reply = client.reply()

    assert reply.status in (400, 431)
    assert error_of("chat", reply.document)
    [row] = relay.new_rows(before)
    assert (row.outcome, row.error_code) == ("bad_request", "bad_http")
    assert relay.ask("/healthz", method="GET").status == 200


@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabcdeXX"])
def test_a_broken_chunk_is_a_400(relay: Running, bad: bytes) -> None:
    before = relay.mark()
    headers = {**relay.auth, "Transfer-Encoding": "chunked"}
    with relay.connect() as client:
        client.send(request_bytes("/v1/chat/completions", b"", headers))
        relay.wait_for(lambda: relay.daemon.front.active == 1)
        client.send(bad)
        reply = client.reply()
    assert (reply.status, reply.closes) == (400, True)
    [row] = relay.new_rows(before)
    assert row.outcome == "bad_request"
