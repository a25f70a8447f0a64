"""Clients that do not read, or hang up at any byte: memory stays bounded, and the daemon goes on.

While a client does not read, the relay holds a bounded number of bytes and stops reading the
upstream; what the kernel buffers on the way is measured at the upstream's end, where sending stops.
"""

from __future__ import annotations

import pytest

from tests.conftest import Daemons
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import ScriptedUpstream, chunk, reply, stream_head
from tests.support.speech import FORMATS, SPEECHES, Speech

CONFIG = """\
demo: "off"
limits: {{write_timeout: {patience}}}
keepalive_interval: 50ms
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: ["*"]}}
"""
MOST = 24 * 1024 * 1024  # the kernel's buffers on loopback included
EVENT = b": " + b"x" * 65_530 + b"\n\n"


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url, patience="60s"))


@pytest.fixture(params=FORMATS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def unread(relay: Running, speech: Speech, *, stream: bool = True) -> RawClient:
    """A client that has sent its request and does not read."""
    client = relay.connect()
    client.small_window()
    path, body = speech.ask("any", stream=stream)
    client.send(request_bytes(path, body, relay.auth))
    return client


def read_bytes(client: RawClient, number: int) -> None:
    """Read so many bytes, whatever they are."""
    while number > 0:
        data = client.read()
        assert data
        number -= len(data)


def buffered(relay: Running) -> int:
    """Bytes that the relay itself holds for its clients."""

    async def look() -> int:
        listener = relay.daemon._listener
        assert listener is not None
        transports = [c.transport for c in listener.connections]
        return sum(t.get_write_buffer_size() for t in transports if t is not None)

    return relay.call(look)


@pytest.mark.parametrize("kind", ["stream", "large reply"])
def test_a_client_that_does_not_read_stops_the_upstream(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, kind: str
) -> None:
    with unread(relay, speech, stream=kind == "stream") as client:
        peer = upstream.accept()
        peer.read_request()
        if kind == "stream":
            peer.send(stream_head() + chunk(speech.opening))
            sent = peer.send_until_blocked(chunk(EVENT), 0.2)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            sent = peer.send_until_blocked(EVENT, 0.2)
        assert sent < MOST
        assert buffered(relay) < 1_000_000
        # The clients are told nothing meanwhile, but it goes on as soon as it reads.
        read_bytes(client, sent * 3 // 4)
        assert peer.send_until_blocked(chunk(EVENT) if kind == "stream" else EVENT, 0.1) > 0
    assert peer.hung_up()


def test_other_clients_are_served_while_one_does_not_read(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    speech = SPEECHES["chat"]
    with unread(relay, speech):
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(speech.opening))
        peer.send_until_blocked(chunk(EVENT), 0.1)
        upstream.answer_with(reply(speech.reply))
        path, body = speech.ask("any")
        assert relay.ask(path, body).body == speech.reply


def test_a_client_that_never_reads_is_cut_off(
    start: Daemons, upstream: ScriptedUpstream, speech: Speech
) -> None:
    lines = CONFIG.format(url=upstream.url, patience="300ms")
    relay = next((d for d in start.running if lines in d.config_path.read_text()), None)
    relay = relay or start(lines)
    before = relay.mark()
    with unread(relay, speech):
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(speech.opening))
        peer.send_until_blocked(chunk(EVENT), 0.1)
        assert peer.hung_up()
        [row] = relay.new_rows(before)
    assert (row.outcome, row.error_code) == ("client_gone", "client_gone")


def test_a_stream_of_any_length_takes_bounded_memory(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    speech = SPEECHES["messages"]
    import resource

    path, body = speech.ask("any", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(speech.opening))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # One event, never ended: what is observed of it has a bound, too.
        for _ in range(300):
            peer.send(chunk(b"x" * 100_000))
            read_bytes(client, 100_000)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert peak - before < 100_000  # kilobytes, for 30 MB sent
        client.close()
        assert peer.hung_up()


# --- hanging up at any byte -------------------------------------------------------------


@pytest.mark.parametrize("way", [RawClient.close, RawClient.reset])
def test_a_client_may_hang_up_at_any_byte_of_its_request(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, way: object
) -> None:
    path, body = speech.ask("any", stream=True)
    whole = request_bytes(path, body, relay.auth)
    for cut_at in {*range(0, len(whole), 17), len(whole) - 1}:
        client = relay.connect()
        client.send(whole[:cut_at])
        way(client)  # type: ignore[operator]
    assert relay.left_over() == []
    assert not upstream.called_again(0.01)
    assert relay.ask("/healthz", method="GET").status == 200


@pytest.mark.parametrize("way", [RawClient.close, RawClient.reset])
def test_a_client_may_hang_up_at_any_byte_of_its_reply(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, way: object
) -> None:
    path, body = speech.ask("any", stream=True)
    stream = chunk(speech.opening) + chunk(speech.ending)
    cuts = sorted({*range(0, len(stream), 61), len(stream)})
    for cut_at in cuts:
        before = relay.mark()
        client = relay.connect()
        client.send(request_bytes(path, body, relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + stream[:cut_at])
        if cut_at > 10:
            client.read()
        way(client)  # type: ignore[operator]
        [row] = relay.new_rows(before)
        if row.outcome == "ok":  # the rest may still come in
            peer.close()
        else:
            assert peer.hung_up()
        # A terminal event may be complete some bytes before the stream is (chat: its
        # finish_reason).
        assert row.outcome in ("client_gone", "ok")
        assert row.outcome == "client_gone" or cut_at > len(chunk(speech.opening))
        assert row.outcome == "ok" or cut_at < len(stream)
