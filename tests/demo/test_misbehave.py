"""Every misbehaviour does what its line in the table says: over real sockets, in every format."""

from __future__ import annotations

import re
import socket
import time
import zlib

import orjson
import pytest

from relayd.demo.misbehave import ACTS, INNER
from relayd.demo.names import MISBEHAVIOURS
from relayd.demo.reply import reply_to
from relayd.demo.script import Send, Wait, frame
from tests.demo.serving import (
    EVERY,
    PATIENCE,
    SAID,
    STREAMING,
    STREAMS,
    Serving,
    ask,
    data_of,
    each_stream,
    ended_well,
    generate,
    request_of,
    send,
    text_in,
    wire,
)
from tests.support.raw_client import request_bytes

EVENTS = ("chat", "responses", "messages", "gemini")


def test_every_listed_misbehaviour_is_acted_and_no_other() -> None:
    listed = {name.removeprefix("demo-") for name in MISBEHAVIOURS}
    assert listed == set(ACTS) | INNER


@each_stream
def test_a_well_behaved_stream_ends_with_its_terminal_event(demo: Serving, format: str) -> None:
    reply = ask(demo, format, "demo", stream=True)
    assert reply.whole
    assert ended_well(format, reply.body)
    assert text_in(format, data_of(reply.body)).startswith(f"You said: {SAID}.")


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_slow_first_byte_waits_before_anything(demo: Serving, format: str, stream: bool) -> None:
    started = time.monotonic()
    with send(demo, format, "demo-slow-first-byte-0.1", stream=stream) as client:
        assert client.read()
    assert 0.09 < time.monotonic() - started < PATIENCE


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_stall_falls_silent_in_mid_reply(demo: Serving, format: str, stream: bool) -> None:
    with send(demo, format, "demo-stall", stream=stream, patience=PATIENCE) as client:
        got = client.read_until(b"You" if stream else b"You said")
        client.be_impatient(0.1)
        with pytest.raises(TimeoutError):
            while data := client.read():
                got += data
        assert not ended_well(format, got)
        assert demo.provider.open_streams == 1


@each_stream
def test_a_stall_with_seconds_goes_on(demo: Serving, format: str) -> None:
    started = time.monotonic()
    reply = ask(demo, format, "demo-stall-0.1", stream=True)
    assert reply.whole
    assert ended_well(format, reply.body)
    assert time.monotonic() - started > 0.09


@pytest.mark.parametrize("part", ["cut", "reset", "cut-length"])
@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_a_broken_off_reply_is_not_whole(
    demo: Serving, format: str, stream: bool, part: str
) -> None:
    with send(demo, format, f"demo-{part}", stream=stream) as client:
        reply = client.reply()
    assert reply.status == 200
    assert not reply.whole
    assert b"You" in reply.body
    assert ended_well(format, reply.body) == (stream and part == "cut-length")


def test_a_reset_is_a_tcp_reset(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo-reset", stream=True)
    with socket.create_connection(("127.0.0.1", demo.provider.port), timeout=5) as client:
        client.sendall(request_bytes(path, orjson.dumps(document)))
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_half_head_and_garbage_are_no_replies(demo: Serving, format: str, stream: bool) -> None:
    half = wire(demo, format, "demo-half-head", stream=stream)
    assert half.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in half
    assert not wire(demo, format, "demo-garbage", stream=stream).startswith(b"HTTP")


def test_refused_resets_when_it_is_asked_all_the_same(demo: Serving) -> None:
    assert wire(demo, "chat", "demo-refused", stream=True) == b""


@each_stream
def test_no_done_ends_cleanly_without_terminal_event(demo: Serving, format: str) -> None:
    reply = ask(demo, format, "demo-no-done", stream=True)
    assert reply.whole
    assert not ended_well(format, reply.body)
    assert b"[DONE]" not in reply.body
    assert b'"finish_reason":"stop"' not in reply.body
    body = reply.body + b"]" if format == "array" else reply.body
    plain = ask(demo, format, "demo", stream=True).body
    assert text_in(format, data_of(body)) == text_in(format, data_of(plain))


@pytest.mark.parametrize("format", EVENTS)
def test_line_ends_spaces_and_comments_change_nothing_else(demo: Serving, format: str) -> None:
    def stream(model: str) -> bytes:
        return ask(demo, format, model, stream=True).body.replace(model.encode(), b"demo")

    crlf = stream("demo-crlf")
    assert b"\n" not in crlf.replace(b"\r\n", b"")
    tight = stream("demo-no-space")
    assert not re.search(rb"^(data|event): ", tight, re.MULTILINE)
    chatty = stream("demo-comments")
    assert re.search(rb"\n\n:|\r\n\r\n:", chatty)
    plain = text_in(format, data_of(stream("demo")))
    assert [text_in(format, data_of(body)) for body in (crlf, tight, chatty)] == [plain] * 3


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_split_spreads_the_same_bytes_over_many_packets(
    demo: Serving, format: str, stream: bool
) -> None:
    # What is written apart is counted, not what is read: a busy machine reads several at once.
    path, document, headers = generate(format, "demo-split", stream=stream)
    steps = frame(reply_to(request_of(path, document, headers), None, 5.0))
    rests = [step for step in steps if isinstance(step, Wait) and step.seconds > 0]
    assert len(rests) > 10
    assert len([step for step in steps if isinstance(step, Send)]) > 10
    body = ask(demo, format, "demo-split-close-delimited", stream=stream).body
    if stream:
        assert ended_well(format, body)
        assert text_in(format, data_of(body)).startswith(f"You said: {SAID}.")
    else:
        assert orjson.loads(body)


def test_split_cuts_inside_characters_and_line_ends(demo: Serving) -> None:
    with send(demo, "gemini", "demo-split", stream=True) as client:
        client.read_until(b"\r\n\r\n")
        raw = client.read_until(b"\r\n0\r\n\r\n")
    chunks = [raw[m.end() : m.end() + int(m[1], 16)] for m in re.finditer(rb"([0-9a-f]+)\r\n", raw)]
    ends = {chunk[-1:] for chunk in chunks if chunk}
    assert b"\r" in ends
    assert "é".encode()[:1] in ends


@each_stream
def test_burst_comes_in_one_packet(demo: Serving, format: str) -> None:
    path, document, headers = generate(format, "demo-burst", stream=True)
    (only,) = frame(reply_to(request_of(path, document, headers), None, 5.0))
    assert isinstance(only, Send)
    assert ended_well(format, ask(demo, format, "demo-burst", stream=True).body)


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_a_huge_event_is_one_event_of_megabytes(demo: Serving, format: str, stream: bool) -> None:
    reply = ask(demo, format, "demo-huge-event-1", stream=stream)
    assert len(reply.body) > 1024 * 1024
    if stream:
        assert max(map(len, reply.body.split(b"\n"))) > 1024 * 1024


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_framings_carry_the_whole_body(demo: Serving, format: str, stream: bool) -> None:
    closed = ask(demo, format, "demo-close-delimited", stream=stream)
    assert not closed.headers.keys() & {"content-length", "transfer-encoding"}
    packed = ask(demo, format, "demo-gzip", stream=stream)
    assert packed.headers["content-encoding"] == "gzip"
    trailed = ask(demo, format, "demo-trailers", stream=stream)
    assert trailed.headers["transfer-encoding"] == "chunked"
    for body in (closed.body, zlib.decompress(packed.body, 31), trailed.body):
        if stream:
            assert ended_well(format, body)
            assert text_in(format, data_of(body)).startswith(f"You said: {SAID}.")
        else:
            assert _longest(orjson.loads(body)).startswith(f"You said: {SAID}.")


@STREAMING
def test_trailers_follow_the_last_chunk(demo: Serving, stream: bool) -> None:
    with send(demo, "chat", "demo-trailers", stream=stream) as client:
        assert b"\r\ntrailer: x-demo-trailer, " in client.read_until(b"\r\n\r\n")
        assert client.read_until(b"0\r\nx-demo-trailer: the end\r\n")
        assert client.read_until(b"\r\n\r\n")


@STREAMING
def test_100_continue_precedes_the_reply(demo: Serving, stream: bool) -> None:
    with send(demo, "chat", "demo-100-continue", stream=stream) as client:
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.reply().status == 200


@STREAMING
def test_big_headers_are_over_64_kilobytes(demo: Serving, stream: bool) -> None:
    with send(demo, "chat", "demo-big-headers", stream=stream) as client:
        assert len(client.read_until(b"\r\n\r\n")) > 64 * 1024


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_no_usage_is_never_reported(demo: Serving, format: str, stream: bool) -> None:
    assert re.search(b'"usage(Metadata)?":{', ask(demo, format, "demo", stream=stream).body)
    silent = ask(demo, format, "demo-no-usage", stream=stream).body
    assert not re.search(b'"usage(Metadata)?":{', silent)


@each_stream
def test_json_on_stream_is_one_document(demo: Serving, format: str) -> None:
    reply = ask(demo, format, "demo-json-on-stream", stream=True)
    assert reply.headers["content-type"] == "application/json"
    assert isinstance(reply.document, dict)


@STREAMING
def test_keepalive_close_closes_an_idle_connection_soon(demo: Serving, stream: bool) -> None:
    with send(demo, "chat", "demo-keepalive-close", stream=stream) as client:
        assert "connection" not in client.reply().headers
        started = time.monotonic()
        assert client.ended()
        assert time.monotonic() - started < PATIENCE


def test_keepalive_close_does_not_cut_a_request_that_has_begun(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo", stream=False)
    asked = request_bytes(path, orjson.dumps(document))
    with send(demo, "chat", "demo-keepalive-close", stream=False) as client:
        client.reply()
        client.send(asked[:20])
        time.sleep(0.1)
        client.send(asked[20:])
        assert client.reply().status == 200


@STREAMING
def test_stale_answers_only_the_first_request_of_a_connection(demo: Serving, stream: bool) -> None:
    path, document, _ = generate("chat", "demo-stale", stream=stream)
    with send(demo, "chat", "demo-stale", stream=stream) as client:
        assert client.reply().status == 200
        client.post(path, document)
        assert client.ended()
    assert ask(demo, "chat", "demo-stale", stream=stream).status == 200


def test_misbehaviours_reach_embeddings_and_counts_too(demo: Serving) -> None:
    assert demo.ask("/v1/embeddings", {"model": "demo-500", "input": "Hi"}).status == 500
    path = "/v1beta/models/demo-429:countTokens"
    assert demo.ask(path, {"contents": [{"parts": [{"text": "Hi"}]}]}).status == 429


def test_parts_combine(demo: Serving) -> None:
    with send(demo, "chat", "demo-cut-crlf-slow-first-byte-0.05", stream=True) as client:
        reply = client.reply()
    assert not reply.whole
    assert b"\r\n\r\n" in reply.body


# knobs


@pytest.mark.parametrize("format", STREAMS)
def test_chunks_are_counted_and_paced(demo: Serving, format: str) -> None:
    started = time.monotonic()
    reply = ask(demo, format, "demo-chunks-11-at-100", stream=True)
    took = time.monotonic() - started
    said = [d for d in data_of(reply.body) if text_in(format, [d])]
    assert len(said) == 11
    assert 0.09 < took < PATIENCE
    assert ended_well(format, reply.body)


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_size_is_exact(demo: Serving, format: str, stream: bool) -> None:
    body = ask(demo, format, "demo-size-3001", stream=stream).body
    text = text_in(format, data_of(body)) if stream else _longest(orjson.loads(body))
    assert len(text) == 3001
    chunks = ask(demo, format, "demo-size-3001-chunks-10", stream=True).body
    assert len([d for d in data_of(chunks) if text_in(format, [d])]) == 10
    assert len(text_in(format, data_of(chunks))) == 3001


def _longest(document: object) -> str:
    """The longest string of a document."""
    if isinstance(document, str):
        return document
    if isinstance(document, dict):
        document = list(document.values())
    return max(map(_longest, document), key=len, default="") if isinstance(document, list) else ""
