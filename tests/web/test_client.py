"""The bytes of a response as the client gets them: framing, keep-alive, one head."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Daemons
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.speech import SPEECHES

CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Iterator[Running]:
    yield start('demo: "on"\n')


def test_a_head_and_the_first_event_leave_in_one_packet(relay: Running) -> None:
    path, body = CHAT.ask("demo-stall", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        first = client.read()
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" in first
    assert b"data: " in first


def test_every_chunk_is_framed_and_none_is_empty_but_the_last(relay: Running) -> None:
    path, body = CHAT.ask("demo-split", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        client.read_until(b"\r\n\r\n")
        raw = client.read_until(b"0\r\n\r\n")
    sizes = []
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        sizes.append(int(size, 16))
        assert rest[sizes[-1] : sizes[-1] + 2] == b"\r\n"
        raw = rest[sizes[-1] + 2 :]
    assert sizes.count(0) == 1
    assert sizes[-1] == 0


def test_a_whole_reply_has_its_length(relay: Running) -> None:
    path, body = CHAT.ask("demo")
    reply = relay.ask(path, body)
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert "transfer-encoding" not in reply.headers
