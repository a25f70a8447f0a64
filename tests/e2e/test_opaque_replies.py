"""Sound and files on their way back: at once, byte for byte, and no failure looks whole."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.conftest import Daemons
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import LAST_CHUNK, Peer, ScriptedUpstream, chunk, reply

PATH = "/v1/audio/speech"
ASK = b'{"model":"voice","input":"hello","voice":"alloy"}'
SOUND = random.Random(3).randbytes(3 * 2**20)
CONFIG = """\
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: ["*"]}}
"""


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Iterator[Running]:
    yield start(CONFIG.format(url=upstream_of_module.url))


def head(*lines: str, kind: str = "audio/mpeg") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {kind}", *lines, "", ""]).encode()


def asked(client: RawClient, relay: Running, upstream: ScriptedUpstream) -> Peer:
    """The upstream's end, once it has been asked for sound."""
    client.send(request_bytes(PATH, ASK, relay.auth))
    peer = upstream.accept()
    peer.read_request()
    return peer


def test_the_first_bytes_of_sound_do_not_wait_for_the_others(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        more = "content-disposition: attachment; filename=speech.mp3"
        peer.send(head("transfer-encoding: chunked", more) + chunk(b"ID3 first"))
        assert b"ID3 first" in client.read_until(b"ID3 first\r\n")
        peer.send(chunk(b"last") + LAST_CHUNK)
        client.read_until(b"4\r\nlast\r\n0\r\n\r\n")
    row = relay.rows()[0]
    assert (row.outcome, row.status, row.operation) == ("ok", 200, "speech")


def test_sound_arrives_byte_for_byte_with_its_type_and_length(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        peer.send(head(f"content-length: {len(SOUND)}") + SOUND)
        answer = client.reply()
    assert answer.body == SOUND
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-length"] == str(len(SOUND))


@pytest.mark.parametrize("framing", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_sound_that_is_cut_short_does_not_look_whole(
    relay: Running, upstream: ScriptedUpstream, framing: str
) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        data = chunk(b"half") if "chunked" in framing else b"half"
        peer.send(head(framing) + data)
        client.read_until(b"half")
        peer.close()
        assert not client.read_all().endswith(LAST_CHUNK)
    assert relay.rows()[0].outcome == "broken_stream"


def test_an_error_in_json_is_judged(relay: Running, upstream: ScriptedUpstream) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        peer.send(reply(b'{"error":{"message":"no such voice"}}', status="400 Bad Request"))
        answer = client.reply()
    assert (answer.status, answer.document["error"]["message"]) == (400, "no such voice")


def test_an_error_of_status_200_is_a_failure(relay: Running, upstream: ScriptedUpstream) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        peer.send(reply(b'{"error":{"message":"out of order"}}'))
        assert client.reply().status == 502


def test_a_failure_that_calls_itself_sound_is_reworded(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        peer.send(head("content-length: 3").replace(b"200 OK", b"500 Oops") + b"bad")
        answer = client.reply()
    assert (answer.status, answer.headers["content-type"]) == (502, "application/json")


def test_sound_without_a_byte_is_a_failure(relay: Running, upstream: ScriptedUpstream) -> None:
    with relay.connect() as client:
        peer = asked(client, relay, upstream)
        peer.send(head("content-length: 0"))
        assert client.reply().status == 502
