"""Asking an upstream to leave HTTP: over real sockets, in the clear and over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from relayd.ends import End
from relayd.errors import BadReply, NoAnswer, RelayError
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from relayd.upstream.handshake import Answer, upgrade
from tests.support.waiting import until

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
ASK = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
PATIENCE = 30.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Heard:
    """Collects what an end tells."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.Event()

    def on_data(self, end: End, data: bytes) -> None:
        self.data += data

    def on_room(self, end: End) -> None:
        """Nothing waits here."""

    def on_lost(self, end: End) -> None:
        self.lost.set()


def run(
    serve: Serve,
    check: Callable[[UpstreamClient], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    ca: Path | None = None,
) -> None:
    """Let `serve` answer each connection, and `check` talk to it through a pool."""

    async def whole() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        origin = Origin("127.0.0.1", port, tls is not None)
        client = UpstreamClient(origin, PoolLimits(), str(ca) if ca else None)
        try:
            async with asyncio.timeout(PATIENCE):
                await check(client)
                await until(lambda: client.open_connections == 0)
        finally:
            await client.close()
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch, greet in the same packet, then say again what is heard."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCH + b"hello ")
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def converse(client: UpstreamClient) -> None:
    answer = await upgrade(client, ASK, PATIENCE, PATIENCE)
    assert (answer.status, answer.body) == (101, b"")
    end, heard = answer.end, Heard()
    assert end is not None and client.open_connections == 1
    await asyncio.sleep(0.01)  # what comes before anybody listens is kept
    end.join(heard)
    end.write(b"x" * 100_000)
    await until(lambda: len(heard.data) == 100_006)
    end.pause()
    end.write(b"later")
    end.resume()
    await until(lambda: heard.data.endswith(b"later"))
    assert heard.data == b"hello " + b"x" * 100_000 + b"later"
    end.close()
    await heard.lost.wait()


def test_a_connection_leaves_http_and_counts_until_it_is_lost() -> None:
    run(echo, converse)


def test_over_tls_it_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from tests.support.certificates import issue, write

    authority = issue("authority", None)
    pem = write(tmp_path, "server", issue("upstream.test", authority))
    ca = write(tmp_path, "ca", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    run(echo, converse, context, ca)


def answered(*pieces: bytes, within: float = PATIENCE, close: bool = True) -> Answer | RelayError:
    """What comes of an upgrade that is answered with these bytes."""
    found: list[Answer | RelayError] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        if not close:
            await reader.read()
        writer.close()

    async def check(client: UpstreamClient) -> None:
        try:
            found.append(await upgrade(client, ASK, PATIENCE, within))
        except RelayError as exc:
            found.append(exc)

    run(serve, check)
    return found[0]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 403 No\r\ncontent-length: 5\r\nx-a: b\r\n\r\nnever"],
        [
            b"HTTP/1.1 403 No\r\nx-a: b\r\ntransfer-enc",
            b"oding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n",
        ],
        [b"HTTP/1.1 403 No\r\nx-a: b\r\n\r\nnev", b"er"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 403 No\r\nx-a: b\r\n\r\nnever"],
    ],
)
def test_who_declines_says_why(pieces: list[bytes]) -> None:
    answer = answered(*pieces)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.end) == (403, b"never", None)
    assert (b"x-a", b"b") in answer.headers


BROKEN = {
    "nothing": ([], NoAnswer, "without answering"),
    "half a head": ([b"HTTP/1.1 101 Swi"], BadReply, "in the middle"),
    "half a body": ([b"HTTP/1.1 403 No\r\ncontent-length: 50\r\n\r\nnev"], BadReply, "middle"),
    "no HTTP": ([b"SSH-2.0-x\r\n\r\n"], BadReply, "not valid HTTP"),
    "a head without end": ([b"HTTP/1.1 403 No\r\nx: " + b"y" * 70_000], BadReply, "too large"),
    "a huge body": (
        [b"HTTP/1.1 403 No\r\ncontent-length: 9000000\r\n\r\n", b"x" * 1_000_000],
        BadReply,
        "error reply is too large",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_answer_is_the_upstreams_failure(name: str) -> None:
    pieces, kind, words = BROKEN[name]
    problem = answered(*pieces)

    assert isinstance(problem, kind)
    assert words in problem.message


def test_who_does_not_answer_in_time_is_given_up() -> None:
    problem = answered(within=0.05, close=False)

    assert isinstance(problem, NoAnswer)
    assert problem.status == 504


def test_reprs_say_where_things_stand() -> None:
    async def check(client: UpstreamClient) -> None:
        answer = await upgrade(client, ASK, PATIENCE, PATIENCE)
        assert answer.end is not None
        assert repr(answer.end) == "<End open>"
        answer.end.join(heard := Heard())
        answer.end.pause()
        assert repr(answer.end) == "<End open paused>"
        answer.end.abort()
        await heard.lost.wait()
        assert repr(answer.end).startswith("<End lost")
        assert not answer.end.write(b"nobody gets this")

    run(echo, check)
