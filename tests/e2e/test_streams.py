"""Streams through the whole daemon: what passes, what keeps them alive, how they end.

The provider is asked directly beside the relay, so that "untouched" is a comparison of bytes.
"""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import Entry
from tests.conftest import Daemons
from tests.support.raw_client import RawClient, Reply, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import LAST_CHUNK, ScriptedUpstream, chunk, stream_head
from tests.support.speech import SPEECHES, STREAMS, Speech, error_of, events_of
from tests.support.translated import said

CONFIG = """\
demo: "on"
keepalive_interval: 80ms
"""
FAITHFUL = (
    "demo",
    "demo-split",
    "demo-burst",
    "demo-crlf",
    "demo-no-space",
    "demo-comments",
    "demo-crlf-split-comments",
    "demo-close-delimited",
    "demo-trailers",
    "demo-100-continue",
    "demo-no-usage",
    "demo-reasoning",
    "demo-chunks-500",
    "demo-huge-event-1",
    "demo-huge-event-1-split",
    "demo-keepalive-close",
    "demo-gzip",
)


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture(params=STREAMS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def provider_of(relay: Running) -> Any:
    demo: Any = relay.daemon._demo
    return demo.provider


def ask_provider(relay: Running, speech: Speech, model: str) -> Reply:
    """The same stream from the provider itself."""
    from relayd.daemon.embedded import DEMO_KEY

    path, body = speech.ask(model, stream=True)
    keys = {"Authorization": f"Bearer {DEMO_KEY}", "x-goog-api-key": DEMO_KEY}
    with RawClient(("127.0.0.1", provider_of(relay).port)) as client:
        client.send(request_bytes(path, body, {**keys, "anthropic-version": "2023-06-01"}))
        return client.reply()


def ask(relay: Running, speech: Speech, model: str, **more: object) -> tuple[Reply, Entry]:
    """A stream through the relay, and its row."""
    path, body = speech.ask(model, stream=True, **more)
    reply = relay.ask(path, body)
    return reply, relay.row(reply.headers["x-request-id"])


def without_keepalives(body: bytes, speech: Speech) -> bytes:
    return body.replace(speech.keepalive, b"") if speech.name != "gemini" else body


# --- what passes ------------------------------------------------------------------------


@pytest.mark.parametrize("model", FAITHFUL)
def test_every_byte_of_a_stream_passes(relay: Running, speech: Speech, model: str) -> None:
    direct = ask_provider(relay, speech, model)
    body = gunzipped(direct)

    reply, row = ask(relay, speech, model)

    assert (reply.status, reply.whole) == (200, True)
    if speech.keepalive in reply.body and speech.keepalive not in body:
        reply.body = without_keepalives(reply.body, speech)  # a slow machine
    assert reply.body == body
    assert "content-encoding" not in reply.headers
    assert (row.outcome, row.status, row.stream) == ("ok", 200, True)
    assert row.usage_source == ("estimated" if "no-usage" in model else "reported")
    assert row.usage.out_total
    assert row.bytes_out >= len(body)
    assert row.first_byte is not None
    assert 0 <= row.first_byte <= row.duration


def gunzipped(reply: Reply) -> bytes:
    import zlib

    if reply.headers.get("content-encoding") != "gzip":
        return reply.body
    return zlib.decompressobj(47).decompress(reply.body)


def test_a_stream_has_the_headers_that_keep_proxies_from_buffering(
    relay: Running, speech: Speech
) -> None:
    headers = ask(relay, speech, "demo")[0].headers

    expected = "application/json" if speech.name == "gemini-array" else "text/event-stream"
    assert headers["content-type"].startswith(expected)
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers
    assert headers["x-request-id"] == headers["request-id"]
    if speech.name != "gemini-array":
        assert headers["cache-control"] == "no-cache"
        assert headers["x-accel-buffering"] == "no"


def test_a_header_is_never_sent_twice(relay: Running, speech: Speech) -> None:
    path, body = speech.ask("demo", stream=True)
    for model_path in (path, speech.path("demo", False)):
        names = [name for name, _ in relay.ask(model_path, body).pairs]
        assert len(names) == len(set(names)), names


def test_usage_nobody_asked_for_is_asked_for_and_hidden(relay: Running) -> None:
    speech = SPEECHES["chat"]
    plain, _ = ask(relay, speech, "demo-split", stream_options={"include_usage": False})
    reply, row = ask(relay, speech, "demo-split", stream_options=None)

    with_usage, _ = ask(relay, speech, "demo-split")
    assert b'"usage":{' in with_usage.body
    for body in (plain.body, reply.body):
        assert b'"prompt_tokens"' not in body
        assert body.endswith(b"data: [DONE]\n\n")
        assert b"You said: Hi." in b"".join(
            event["choices"][0]["delta"].get("content", "").encode() for event in events_of(body)
        )
    assert row.usage_source == "reported"
    assert b'"include_usage":true' in provider_of(relay).seen[-2].body


def test_a_json_reply_to_a_stream_request_becomes_the_stream(
    relay: Running, speech: Speech
) -> None:
    """wire-formats, trap 10"""
    if speech.name == "gemini-array":
        pytest.skip("its stream is JSON anyway")
    direct = ask_provider(relay, speech, "demo-json-on-stream")
    reply, row = ask(relay, speech, "demo-json-on-stream")

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert said(speech.format, reply.body, stream=True) == said(
        speech.format, direct.body, stream=False
    )
    assert "x-relayd-translated" not in reply.headers
    assert (row.outcome, row.usage_source, row.format_out) == ("ok", "reported", speech.format)


# --- silence ----------------------------------------------------------------------------


def test_a_silent_stream_is_kept_alive_in_its_formats_own_way(
    relay: Running, speech: Speech
) -> None:
    path, body = speech.ask("demo-stall", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        for _ in range(3):
            client.read_until(b"\r\n" + chunk(speech.keepalive))


def test_keepalives_stand_between_events(relay: Running, speech: Speech) -> None:
    reply, row = ask(relay, speech, "demo-stall-0.3")

    direct = ask_provider(relay, speech, "demo-stall-0.3")
    assert len(reply.body) > len(direct.body)
    assert events_without_pings(reply.body) == events_without_pings(direct.body)
    assert row.outcome == "ok"


def events_without_pings(body: bytes) -> list[Any]:
    return [event for event in events_of(body) if event.get("type") != "ping"]


def test_an_upstream_that_has_only_sent_its_head_is_kept_alive_too(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = scripted(start, upstream.url)
    for name in ("chat", "responses", "messages", "gemini"):
        speech = SPEECHES[name]
        path, body = speech.ask("any", stream=True)
        with relay.connect() as client:
            client.send(request_bytes(path, body, relay.auth))
            peer = upstream.accept()
            peer.read_request()
            peer.send(stream_head())
            client.read_until(speech.keepalive)
            peer.send(chunk(speech.stream) + LAST_CHUNK)
            client.read_until(speech.ending)
            client.read_until(b"0\r\n\r\n")
            peer.close()
        assert relay.rows()[0].outcome == "ok"


SCRIPTED = """\
demo: "off"
keepalive_interval: 100ms
upstreams:
  up:
    dialect: relay
    base_url: {url}
    models: ["*"]
    timeouts: {{first_byte: {first_byte}, stall: {stall}, total: {total}}}
"""


def scripted(
    start: Daemons, url: str, first_byte: str = "5s", stall: str = "5s", total: str = "60s"
) -> Running:
    """A daemon in front of one scripted upstream; one per kind of patience."""
    text = SCRIPTED.format(url=url, first_byte=first_byte, stall=stall, total=total)
    for running in start.running:
        if running.config_path.read_text().endswith(text):
            return running
    return start(text)


@pytest.mark.parametrize("stream", [False, True])
def test_no_first_byte_in_time_is_a_504(
    start: Daemons, upstream: ScriptedUpstream, speech: Speech, stream: bool
) -> None:
    relay = scripted(start, upstream.url, first_byte="150ms")
    before = relay.mark()
    path, body = speech.ask("any", stream=stream)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        reply = client.reply()
        assert peer.hung_up()

    assert reply.status == 504
    assert error_of(speech.format, reply.document)
    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.usage.total) == ("upstream_error", 504, 0)


def test_a_stalled_stream_ends_with_an_error_event(
    start: Daemons, upstream: ScriptedUpstream, speech: Speech
) -> None:
    relay = scripted(start, upstream.url, stall="250ms")
    path, body = speech.ask("any", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(speech.opening))
        reply = client.reply()
        assert peer.hung_up()

    assert reply.body.startswith(speech.opening)
    assert_ends_in_error(speech, reply.body)
    row = relay.row(reply.headers["x-request-id"])
    assert (row.outcome, row.status) == ("broken_stream", 200)


def test_a_stalled_whole_reply_is_a_504(
    start: Daemons, upstream: ScriptedUpstream, speech: Speech
) -> None:
    relay = scripted(start, upstream.url, stall="250ms")
    path, body = speech.ask("any")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        reply = client.reply()

    assert reply.status == 504
    assert relay.row(reply.headers["x-request-id"]).outcome == "upstream_error"


def test_the_total_time_ends_a_stream_that_never_does(
    start: Daemons, upstream: ScriptedUpstream, speech: Speech
) -> None:
    relay = scripted(start, upstream.url, total="300ms")
    path, body = speech.ask("any", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(speech.opening))
        reply = client.reply()
        assert peer.hung_up()

    assert_ends_in_error(speech, reply.body)


# --- bad ends ---------------------------------------------------------------------------

BROKEN = ("demo-cut", "demo-reset", "demo-no-done", "demo-cut-split", "demo-cut-close-delimited")


@pytest.mark.parametrize("model", BROKEN)
def test_a_cut_stream_ends_with_an_error_event(relay: Running, speech: Speech, model: str) -> None:
    if (speech.name, model) == ("chat", "demo-no-done"):
        pytest.skip("a chat stream with a finish_reason is whole (wire-formats 9.2)")
    reply, row = ask(relay, speech, model)

    assert (reply.status, reply.whole) == (200, True)
    assert_ends_in_error(speech, reply.body)
    assert (row.outcome, row.status) == ("broken_stream", 200)
    assert row.usage_source in ("partial", "estimated")
    assert row.usage.out_total
    assert row.error_code


def assert_ends_in_error(speech: Speech, body: bytes) -> None:
    last = events_of(body)[-1]
    if speech.name == "responses":  # the form that clients raise (wire-formats 1.5)
        assert last["type"] == "response.failed"
        assert last["response"]["status"] == "failed"
        assert last["response"]["error"]["message"]
    else:
        assert error_of(speech.format, last)[1]
    assert b"[DONE]" not in body[-30:]


@pytest.mark.parametrize("model", ["demo-error-in-stream", "demo-error-first"])
def test_an_error_of_the_upstream_in_a_stream_passes_and_is_logged(
    relay: Running, speech: Speech, model: str
) -> None:
    direct = ask_provider(relay, speech, model)
    path, body = speech.ask(model, stream=True)
    reply = relay.ask(path, body)
    row = relay.row(reply.headers["x-request-id"])

    if reply.status == 200:
        assert reply.body.startswith(direct.body)
    else:  # an error before any content may still become a status
        assert model == "demo-error-first"
        assert error_of(speech.format, reply.document)
    assert row.outcome in ("upstream_error", "broken_stream")
    assert row.error_code


def test_one_malformed_event_passes_like_any_other(relay: Running, speech: Speech) -> None:
    if speech.name == "gemini-array":
        pytest.skip("there a malformed element breaks the array")
    direct = ask_provider(relay, speech, "demo-malformed")
    reply, row = ask(relay, speech, "demo-malformed")

    assert reply.body == direct.body
    assert row.outcome == "ok"


def test_a_failure_before_the_first_byte_is_a_status(relay: Running, speech: Speech) -> None:
    for model, status in (("demo-garbage", 502), ("demo-refused", 502), ("demo-429", 429)):
        reply, row = ask(relay, speech, model)
        assert reply.status == status
        assert error_of(speech.format, reply.document)
        assert row.outcome == "upstream_error"
        assert row.usage.total == 0
