"""Clients that leave: before, during and right after their reply.

Before the terminal event the upstream is cancelled within a second and the row says
`client_gone`; after it the client was served, whatever it did with its socket (Codex and two
Python SDKs always hang up there).
"""

from __future__ import annotations

import pytest

from tests.conftest import Daemons
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import LAST_CHUNK, Peer, ScriptedUpstream, chunk, stream_head
from tests.support.speech import SPEECHES, STREAMS, Speech

CONFIG = """\
demo: "off"
keepalive_interval: {keepalive}
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: ["*"]}}
"""


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url, keepalive="60s"))


@pytest.fixture(params=STREAMS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def begin(relay: Running, upstream: ScriptedUpstream, speech: Speech) -> tuple[RawClient, Peer]:
    """A stream request that has reached the upstream."""
    path, body = speech.ask("any", stream=True)
    client = relay.connect()
    client.send(request_bytes(path, body, relay.auth))
    peer = upstream.accept()
    peer.read_request()
    return client, peer


LEAVE = {"closes": RawClient.close, "resets": RawClient.reset}


@pytest.mark.parametrize("way", LEAVE)
def test_a_client_that_leaves_in_mid_stream_cancels_the_upstream(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, way: str
) -> None:
    before = relay.mark()
    client, peer = begin(relay, upstream, speech)
    peer.send(stream_head() + chunk(speech.opening))
    client.read_until(speech.opening)
    LEAVE[way](client)

    assert peer.hung_up()
    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.error_code) == ("client_gone", 499, "client_gone")
    assert row.usage_source == ("partial" if speech.name == "messages" else "estimated")
    assert row.usage.out_total
    if speech.name == "messages":
        assert row.usage.in_uncached == 5


@pytest.mark.parametrize("sent", ["nothing", "head"])
def test_a_client_that_leaves_before_the_first_byte_cancels_the_upstream(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, sent: str
) -> None:
    before = relay.mark()
    client, peer = begin(relay, upstream, speech)
    if sent == "head":
        peer.send(stream_head())
    client.close()

    assert peer.hung_up()
    [row] = relay.new_rows(before)
    assert (row.outcome, row.status) == ("client_gone", 499)
    assert not row.usage.out_total


def test_a_client_that_leaves_a_whole_reply_cancels_the_upstream(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    before = relay.mark()
    path, body = speech.ask("any")
    client = relay.connect()
    client.send(request_bytes(path, body, relay.auth))
    peer = upstream.accept()
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    client.close()

    assert peer.hung_up()
    [row] = relay.new_rows(before)
    assert row.outcome == "client_gone"


def test_a_client_that_leaves_while_it_uploads_never_reaches_an_upstream(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    before = relay.mark()
    path, body = speech.ask("any", stream=True)
    whole = request_bytes(path, body, relay.auth)
    client = relay.connect()
    client.send(whole[: len(whole) - len(body) // 2])
    relay.wait_for(lambda: relay.daemon.front.active == 1)
    client.close()

    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.upstream) == ("client_gone", 499, "")
    assert not upstream.called_again(0.05)


@pytest.mark.parametrize("way", LEAVE)
@pytest.mark.parametrize("last_chunk", [False, True])
def test_a_client_that_hangs_up_right_after_the_terminal_event_was_served(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, way: str, last_chunk: bool
) -> None:
    before = relay.mark()
    client, peer = begin(relay, upstream, speech)
    peer.send(stream_head() + chunk(speech.opening))
    client.read_until(speech.opening)
    peer.send(chunk(speech.ending))
    client.read_until(speech.ending)
    LEAVE[way](client)
    if last_chunk:
        peer.send(LAST_CHUNK)

    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.usage_source) == ("ok", 200, "reported")
    assert (row.usage.in_uncached, row.usage.out_total) == speech.usage


def test_a_served_clients_connection_to_the_upstream_is_used_again(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    speech = SPEECHES["chat"]
    client, peer = begin(relay, upstream, speech)
    peer.send(stream_head() + chunk(speech.stream))
    client.read_until(speech.terminal)
    client.close()
    relay.wait_until_quiet()
    peer.send(LAST_CHUNK)
    provider = relay.daemon.relay.providers["up"]
    relay.wait_for(lambda: provider.clients[0].idle_connections == 1)

    path, body = speech.ask("any", stream=True)
    with relay.connect() as again:
        again.send(request_bytes(path, body, relay.auth))
        peer.read_request()
        peer.send(stream_head() + chunk(speech.stream) + LAST_CHUNK)
        assert again.reply().body == speech.stream
    assert not upstream.called_again(0.02)


def test_a_served_clients_upstream_that_never_ends_is_dropped_after_a_grace(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    speech = SPEECHES["messages"]
    client, peer = begin(relay, upstream, speech)
    peer.send(stream_head() + chunk(speech.stream))
    client.read_until(speech.terminal)
    client.close()

    assert peer.hung_up()


def test_a_client_that_only_says_it_sends_no_more_still_gets_its_reply_or_is_gone(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    speech = SPEECHES["chat"]
    before = relay.mark()
    client, peer = begin(relay, upstream, speech)
    client.half_close()
    with client:
        if not peer.hung_up(within=0.2):
            peer.send(stream_head() + chunk(speech.stream) + LAST_CHUNK)
            assert client.reply().body == speech.stream
    [row] = relay.new_rows(before)
    assert row.outcome in ("ok", "client_gone")


def test_each_client_gone_leaves_the_next_one_served(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    for _ in range(3):
        client, peer = begin(relay, upstream, speech)
        peer.send(stream_head() + chunk(speech.opening))
        client.read_until(speech.opening)
        client.reset()
        assert peer.hung_up()
    client, peer = begin(relay, upstream, speech)
    with client:
        peer.send(stream_head() + chunk(speech.stream) + LAST_CHUNK)
        assert client.reply().body == speech.stream
