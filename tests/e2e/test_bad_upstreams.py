"""Upstreams that misbehave: a clear error in the client's format, one row, nothing left, still
serving.

Each case is what one connection of a scripted upstream does; the daemon behind the client side
is the whole one. Statuses are those of behaviour.md 3.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable

import orjson
import pytest

from tests.conftest import Daemons
from tests.support.raw_client import Reply, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Peer,
    ScriptedUpstream,
    chunk,
    dead_port,
    reply,
    stream_head,
)
from tests.support.speech import SPEECHES, Speech, error_of

CONFIG = """\
demo: "off"
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: ["*"]}}
"""


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url))


def answered(
    relay: Running,
    upstream: ScriptedUpstream,
    speech: Speech,
    *sent: bytes,
    stream: bool = False,
    end: Callable[[Peer], None] = Peer.close,
) -> Reply:
    """What the client gets when the upstream sends these bytes and ends its connection so."""
    path, body = speech.ask("any", stream=stream)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        for piece in sent:
            peer.send(piece)
        end(peer)
        return client.reply()


def stays_open(peer: Peer) -> None:
    """The upstream keeps its connection."""


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BAD = {
    "nothing": b"",
    "garbage": b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a head": HEAD,
    "half a header name": HEAD + b"content-le",
    "length without body": HEAD + b"content-length: 10\r\n\r\n",
    "half a body": HEAD + b"content-length: 100\r\n\r\n" + b'{"half": ',
    "a negative length": HEAD + b"content-length: -5\r\n\r\n{}",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "length and chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a broken chunk": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "half a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n10\r\n{",
    "no last chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"upgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "a NUL in a header": HEAD + b"x-a: b\0c\r\ncontent-length: 2\r\n\r\n{}",
    "an unknown encoding": HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\n{}",
    "damaged gzip": HEAD + b"content-encoding: gzip\r\ncontent-length: 10\r\n\r\n0123456789",
    "big headers": HEAD + b"".join(b"x-%d: %b\r\n" % (i, b"b" * 1000) for i in range(80)) + b"\r\n",
    "one endless header": HEAD + b"x-endless: " + b"b" * 100_000,
    "an empty reply": reply(b""),
    "malformed JSON": reply(b'{"half": '),
    "an HTML 200": reply(b"<html>login</html>"),
    "a redirect": reply(b"{}", "location: https://elsewhere.example/", status="302 Found"),
    "interim only": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
def test_what_is_no_reply_is_a_502(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, sent: bytes, stream: bool
) -> None:
    before = relay.mark()
    got = answered(relay, upstream, speech, sent, stream=stream)

    assert got.status == 502
    kind, message = error_of(speech.format, got.document)
    assert kind in ("server_error", "api_error", "UNAVAILABLE")
    assert len(message) > 10
    [row] = relay.new_rows(before)
    assert row.request_id == got.headers["x-request-id"]
    assert (row.status, row.outcome, row.upstream) == (502, "upstream_error", "up")
    assert (row.usage.total, row.usage_source) == (0, "none")
    assert row.error_code.startswith("upstream")


def test_a_reset_before_the_reply_is_a_502(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    got = answered(relay, upstream, speech, end=Peer.reset)
    assert got.status == 502
    assert error_of(speech.format, got.document)


@pytest.mark.parametrize("cut_at", range(0, 400, 23))
@pytest.mark.parametrize("way", [Peer.close, Peer.reset])
def test_a_stream_cut_at_any_byte_ends_in_an_error(
    relay: Running,
    upstream: ScriptedUpstream,
    speech: Speech,
    cut_at: int,
    way: Callable[[Peer], None],
) -> None:
    whole = stream_head() + chunk(speech.opening) + chunk(speech.ending)
    before = relay.mark()
    got = answered(relay, upstream, speech, whole[:cut_at], stream=True, end=way)

    [row] = relay.new_rows(before)
    if got.status == 200:
        assert b"error" in got.body[-600:]
        assert (row.status, row.outcome) == (200, "broken_stream")
    else:
        assert error_of(speech.format, got.document)
        assert (row.status, row.outcome) == (502, "upstream_error")


@pytest.mark.parametrize("status", ["401 Unauthorized", "402 Payment Required", "403 Forbidden"])
def test_trouble_with_our_credential_is_a_502_that_tells_no_secret(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, status: str
) -> None:
    secret = b'{"error": {"message": "Incorrect API key provided: sk-own***"}}'
    got = answered(relay, upstream, speech, reply(secret, status=status))

    assert got.status == 502
    assert b"sk-own" not in got.body
    assert got.headers["x-should-retry"] == "false"
    assert relay.row(got.headers["x-request-id"]).error_code == "upstream_credential"


def test_googles_own_400_for_a_bad_key_is_a_502(relay: Running, upstream: ScriptedUpstream) -> None:
    said = b'{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}'
    got = answered(relay, upstream, SPEECHES["gemini"], reply(said, status="400 Bad Request"))
    assert got.status == 502


STATUSES = {500: 502, 502: 502, 503: 503, 504: 504, 529: 503, 520: 502, 524: 504}


@pytest.mark.parametrize("status", STATUSES)
def test_a_failure_of_the_upstream_is_reworded(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, status: int
) -> None:
    sent = reply(b"<html>Bad gateway, at 10.0.0.7</html>", "retry-after: 7", status=f"{status} X")
    got = answered(relay, upstream, speech, sent)

    expected = STATUSES[status]
    if speech.name == "messages" and expected == 503:
        expected = 529
    assert got.status == expected
    assert error_of(speech.format, got.document)
    assert b"<html" not in got.body
    assert got.headers["retry-after"] == "7"
    row = relay.row(got.headers["x-request-id"])
    assert (row.status, row.outcome) == (expected, "upstream_error")


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_the_clients_mistake_passes_as_the_upstream_worded_it(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, status: int
) -> None:
    said = b'{ "error": {"message": "as it was",  "odd": 1.0} }'
    headers = ("retry-after: 3600", "x-ratelimit-remaining-requests: 0", "set-cookie: a=b")
    got = answered(relay, upstream, speech, reply(said, *headers, status=f"{status} X"))

    assert (got.status, got.body) == (status, said)
    assert got.headers["retry-after"] == "3600"
    assert "set-cookie" not in got.headers
    row = relay.row(got.headers["x-request-id"])
    assert (row.status, row.outcome) == (
        status,
        "upstream_error" if status == 429 else "bad_request",
    )


def test_an_error_inside_a_200_is_a_502(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    for stream in (False, True):
        said = reply(b'{"error": {"message": "overloaded", "code": 503}}')
        got = answered(relay, upstream, speech, said, stream=stream)
        assert got.status == 502
        assert error_of(speech.format, got.document)


# --- odd, but good ----------------------------------------------------------------------


def odd_replies(body: bytes) -> dict[str, bytes]:
    packed = gzip.compress(body)
    size = len(body)
    return {
        "plain": reply(body),
        "interim replies": b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + reply(body),
        "gzip": HEAD
        + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(packed), packed),
        "gzip in chunks": HEAD
        + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk(packed[:9])
        + chunk(packed[9:])
        + LAST_CHUNK,
        "trailers": HEAD
        + b"transfer-encoding: chunked\r\n\r\n"
        + chunk(body)
        + b"0\r\nx-trailer: a\r\n\r\n",
        "chunk extensions": HEAD
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"%x;name=value\r\n%b\r\n" % (size, body)
        + LAST_CHUNK,
        "until the close": HEAD + b"connection: close\r\n\r\n" + body,
        "http 1.0": HEAD.replace(b"1.1", b"1.0") + b"\r\n" + body,
        "surplus bytes": reply(body) + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}garbage",
        "no content-type": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (size, body),
        "odd case": b"HTTP/1.1 200\r\nContent-LENGTH: %d\r\n\r\n%b" % (size, body),
    }


@pytest.mark.parametrize("case", odd_replies(b""))
def test_odd_but_valid_http_is_understood(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, case: str
) -> None:
    got = answered(relay, upstream, speech, odd_replies(speech.reply)[case])

    assert (got.status, got.body) == (200, speech.reply)
    assert not {"content-encoding", "trailer", "x-trailer"} & set(got.headers)
    row = relay.row(got.headers["x-request-id"])
    assert (row.outcome, row.usage_source) == ("ok", "reported")
    assert (row.usage.in_uncached, row.usage.out_total) == speech.usage


def test_a_reply_sent_byte_by_byte_is_the_same(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    whole = stream_head() + chunk(speech.opening) + chunk(speech.ending) + LAST_CHUNK
    pieces = [whole[i : i + 1] for i in range(len(whole))]
    got = answered(relay, upstream, speech, *pieces, stream=True)

    assert got.body == speech.stream
    row = relay.row(got.headers["x-request-id"])
    assert (row.usage.in_uncached, row.usage.out_total) == speech.usage


def test_a_reply_too_large_to_hold_passes_as_it_comes(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    fields = orjson.loads(speech.reply)
    body = orjson.dumps({"padding": "x" * 3_000_000, **fields})
    got = answered(relay, upstream, speech, reply(body))

    assert (got.status, got.body) == (200, body)
    row = relay.row(got.headers["x-request-id"])
    assert (row.outcome, row.usage_source) == ("ok", "reported")
    assert (row.usage.in_uncached, row.usage.out_total) == speech.usage


def test_a_large_reply_that_breaks_off_is_cut_for_the_client_too(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    before = relay.mark()
    head = HEAD + b"content-length: 3000000\r\n\r\n"
    got = answered(relay, upstream, speech, head + b'{"x":"' + b"x" * 2_000_000)

    assert (got.status, got.whole) == (200, False)
    [row] = relay.new_rows(before)
    assert (row.status, row.outcome) == (200, "broken_stream")


# --- connections ------------------------------------------------------------------------


def test_a_refused_connection_is_a_502(start: Daemons, speech: Speech) -> None:
    kept, port = dead_port()
    lines = CONFIG.format(url=f"http://127.0.0.1:{port}")
    relay = next((d for d in start.running if lines in d.config_path.read_text()), None)
    relay = relay or start(lines)
    path, body = speech.ask("any", stream=True)
    got = relay.ask(path, body)
    kept.close()

    assert got.status == 502
    assert "refused" in error_of(speech.format, got.document)[1]
    row = relay.row(got.headers["x-request-id"])
    assert (row.outcome, row.error_code) == ("upstream_error", "upstream_unreachable")


@pytest.mark.parametrize("way", [Peer.close, Peer.reset])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stale_connection_is_retried_once_on_a_fresh_one(
    relay: Running,
    upstream: ScriptedUpstream,
    speech: Speech,
    stream: bool,
    way: Callable[[Peer], None],
) -> None:
    first = answered_and_kept(relay, upstream)
    before = relay.mark()
    path, body = speech.ask("any", stream=stream)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        asked = first.read_request()
        way(first)
        second = upstream.accept()
        assert second.read_request() == asked
        second.send(
            stream_head() + chunk(speech.stream) + LAST_CHUNK if stream else reply(speech.reply)
        )
        assert client.reply().status == 200
    [row] = relay.new_rows(before)
    assert row.outcome == "ok"


def answered_and_kept(relay: Running, upstream: ScriptedUpstream) -> Peer:
    """A connection that has served one request and waits for the next."""
    speech = SPEECHES["chat"]
    path, body = speech.ask("any")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(reply(speech.reply))
        assert client.reply().status == 200
    return peer


def test_the_second_connection_is_not_retried_again(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    first = answered_and_kept(relay, upstream)
    before = relay.mark()
    path, body = speech.ask("any")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        first.read_request()
        first.close()
        second = upstream.accept()
        second.read_request()
        second.close()
        assert client.reply().status == 502
    assert not upstream.called_again(0.02)
    relay.new_rows(before, 1)


def test_a_reply_that_has_begun_is_never_asked_again(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    first = answered_and_kept(relay, upstream)
    path, body = speech.ask("any")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        first.read_request()
        first.send(b"HTTP/1.1 2")
        first.close()
        assert client.reply().status == 502
    assert not upstream.called_again(0.02)


def test_a_connection_with_surplus_bytes_is_not_used_again(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    surplus = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    answered(relay, upstream, speech, reply(speech.reply) + surplus, end=stays_open)
    got = answered(relay, upstream, speech, reply(speech.reply))  # accepts another connection
    assert got.body == speech.reply
