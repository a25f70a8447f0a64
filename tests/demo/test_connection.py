"""Connections keep HTTP's rules, their bounds, and nothing that is no longer needed."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest

from relayd.demo.connection import MOST_BODY, MOST_PIPELINED
from tests.demo.serving import Serving, generate
from tests.support.raw_client import RawClient, chunked, request_bytes

PATH, DOCUMENT, _ = generate("chat", "demo", stream=False)
BODY = orjson.dumps(DOCUMENT)
ASKED = request_bytes(PATH, BODY)


def wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 2
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_a_connection_is_kept_for_many_requests(demo: Serving) -> None:
    with demo.connect() as client:
        for _ in range(3):
            client.send(ASKED)
            assert client.reply().status == 200
        assert demo.provider.connections == 1


def test_a_client_that_asks_for_a_close_gets_it(demo: Serving) -> None:
    for stream in (False, True):
        path, document, _ = generate("chat", "demo", stream=stream)
        with demo.connect() as client:
            client.post(path, document, {"Connection": "close"})
            assert client.reply().whole
            assert client.ended()


def test_pipelined_requests_are_answered_in_order(demo: Serving) -> None:
    asked = []
    for number in range(6):
        _, document, _ = generate("chat", "demo", stream=number % 2 == 1, text=f"number {number}.")
        asked.append(request_bytes(PATH, orjson.dumps(document)))
    with demo.connect() as client:
        client.send(b"".join(asked))
        for number in range(6):
            reply = client.reply()
            assert (b" number" if number % 2 else b"You said: number") in reply.body
            assert f"{number}.".encode() in reply.body


def test_what_waits_behind_a_reply_that_hangs_up_is_not_answered(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo-cut", stream=True)
    before = demo.provider.requests
    with demo.connect() as client:
        client.send(request_bytes(path, orjson.dumps(document)) + ASKED * 3)
        assert not client.reply().whole
    assert demo.quiet()
    assert demo.provider.requests == before + 1


def test_too_many_pipelined_requests_are_refused(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo-stall", stream=True)
    with demo.connect() as client:
        client.post(path, document)
        client.read()
        client.try_send(ASKED * (MOST_PIPELINED + 1))
        client.read_all()


def test_a_request_may_come_in_any_pieces(demo: Serving) -> None:
    with demo.connect() as client:
        for byte in ASKED:
            client.send(bytes([byte]))
        assert client.reply().status == 200
        assert demo.provider.seen[-1].body == BODY


def test_a_chunked_request_is_read_whole(demo: Serving) -> None:
    head = {"Transfer-Encoding": "chunked"}
    with demo.connect() as client:
        client.send(request_bytes(PATH, chunked(BODY[:9], BODY[9:]), head))
        assert client.reply().status == 200
        assert demo.provider.seen[-1].body == BODY


def test_expect_is_answered_before_the_body(demo: Serving) -> None:
    with demo.connect() as client:
        head = {"Expect": "100-continue", "Content-Length": str(len(BODY))}
        client.send(request_bytes(PATH, b"", head))
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(BODY)
        assert client.reply().status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (request_bytes(PATH, b"", {"Content-Length": str(MOST_BODY + 1)}), 413),
        (request_bytes(PATH, b"", {"X-Big": "b" * 70_000}), 431),
        (request_bytes(PATH, BODY, {"Connection": "upgrade", "Upgrade": "h2c"}), 400),
    ],
)
def test_bad_http_is_refused_and_hung_up_on(demo: Serving, sent: bytes, status: int) -> None:
    with demo.connect() as client:
        client.try_send(sent)
        reply = client.reply()
        assert reply.status == status
        assert reply.document["error"]["message"]
        assert client.ended()


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset, RawClient.half_close])
@pytest.mark.parametrize(
    "model", ["demo-stall", "demo-slow-first-byte-60", "demo-chunks-1000-at-5", "demo-stall-60"]
)
def test_a_client_that_leaves_ends_its_timers_at_once(
    demo: Serving, model: str, leave: Callable[[RawClient], None]
) -> None:
    path, document, _ = generate("chat", model, stream=True)
    with demo.connect() as client:
        client.post(path, document)
        assert wait_for(lambda: demo.provider.open_streams == 1)
        assert demo.provider.connections == 1
        leave(client)
        assert wait_for(lambda: demo.provider.open_streams == 0)
        assert demo.provider.waits == 0
        assert wait_for(lambda: demo.provider.connections == 0)


def test_a_client_that_does_not_read_stops_the_stream(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo-size-30000000-chunks-3000", stream=True)
    with demo.connect() as client:
        client.post(path, document)
        assert wait_for(lambda: demo.provider.open_streams == 1)
        time.sleep(0.1)
        assert demo.provider.open_streams == 1
        assert client.reply().body.endswith(b"data: [DONE]\n\n")


def test_many_streams_share_the_ticker_and_keep_their_pace(demo: Serving) -> None:
    path, document, _ = generate("chat", "demo-chunks-10-at-50", stream=True)
    started = time.monotonic()
    clients = [demo.connect() for _ in range(20)]
    for client in clients:
        client.post(path, document)
    for client in clients:
        assert client.reply().whole
        client.close()
    assert 0.17 < time.monotonic() - started < 1
