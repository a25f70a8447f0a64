"""The pool of connections to one upstream, on real sockets: reuse, expiry, bounds, addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from relayd.errors import ConnectFailed, NoUpstream
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from relayd.upstream.connection import Connection, StaleConnection
from tests.support.scripted_upstream import Peer, ScriptedUpstream, dead_port, reply
from tests.support.sinks import Collected
from tests.support.waiting import until

ASK = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
OK = reply(b"{}")


@pytest.fixture
def server() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def client_of(port: int, host: str = "127.0.0.1", **limits: Any) -> UpstreamClient:
    return UpstreamClient(Origin(host, port, False), PoolLimits(**limits))


async def aside(work: Callable[[], Any]) -> Any:
    """Run something that blocks, such as the scripted upstream's side, beside the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def exchange(client: UpstreamClient, peer: Peer | ScriptedUpstream, data: bytes = OK) -> Peer:
    """One request, answered; on the peer's connection, or the next that is accepted."""
    sink, _ = await open_any(client)
    asked: Peer = await aside(peer.accept) if isinstance(peer, ScriptedUpstream) else peer
    await aside(asked.read_request)
    await aside(lambda: asked.send(data))
    assert (await sink.done()).problem is None
    return asked


async def open_any(client: UpstreamClient) -> tuple[Collected, Connection]:
    """As the relay does: an idle connection when there is one, else a new one."""
    sink = Collected()
    reused = client.reuse([ASK], sink)
    return sink, reused or await client.open([ASK], sink)


def test_a_connection_is_used_again(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port)
        peer = await exchange(client, server)
        for _ in range(3):
            await exchange(client, peer)
        assert (client.open_connections, client.idle_connections) == (1, 1)
        await client.close()
        assert client.open_connections == 0

    run(check)


def test_requests_at_the_same_time_have_connections_of_their_own(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port)
        first, _ = await open_any(client)
        second, _ = await open_any(client)
        peers = [await aside(server.accept) for _ in range(2)]
        for peer in peers:
            await aside(peer.read_request)
            peer.send(OK)
        await first.done()
        await second.done()
        assert (client.open_connections, client.idle_connections) == (2, 2)
        await client.close()

    run(check)


def test_an_idle_connection_expires(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port, idle_timeout=0.05)
        peer = await exchange(client, server)
        assert await aside(peer.hung_up)
        assert client.open_connections == 0
        await client.close()

    run(check)


def test_a_connection_that_the_server_closed_is_not_used_again(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port)
        peer = await exchange(client, server)
        peer.close()
        await until(lambda: client.open_connections == 0)
        assert client.reuse([ASK], Collected()) is None
        await client.close()

    run(check)


def test_a_server_that_closes_while_asked_is_stale(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port)
        peer = await exchange(client, server)
        sink, _ = await open_any(client)
        await aside(peer.read_request)
        peer.close()
        assert isinstance((await sink.done()).problem, StaleConnection)
        await client.close()

    run(check)


def test_the_bound_of_connections_is_kept(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port, max_connections=2)
        await open_any(client)
        _, second = await open_any(client)
        with pytest.raises(NoUpstream) as caught:
            await open_any(client)
        assert caught.value.retry_after
        second.abort()
        await until(lambda: client.open_connections == 1)
        await open_any(client)
        await client.close()

    run(check)


def test_a_refused_connection_says_so() -> None:
    kept, port = dead_port()

    async def check() -> None:
        client = client_of(port)
        with pytest.raises(ConnectFailed, match="refused") as caught:
            await open_any(client)
        assert caught.value.status == 502
        assert (
            repr(client) == f"<UpstreamClient http://127.0.0.1:{port} open=0 idle=0 connecting=0>"
        )
        await client.close()

    run(check)
    kept.close()


@pytest.mark.parametrize(("pool", "call"), [(0.1, None), (60.0, 0.1)])
def test_connecting_takes_no_longer_than_allowed(
    full: int, pool: float, call: float | None
) -> None:
    async def check() -> None:
        client = client_of(full, connect_timeout=pool)
        with pytest.raises(ConnectFailed) as caught:
            await client.open([ASK], Collected(), call)
        assert caught.value.status == 504
        assert client.open_connections == 0
        await client.close()

    run(check)


def test_a_call_may_take_longer_to_connect_than_the_pool_allows(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port, connect_timeout=0.0)
        with pytest.raises(ConnectFailed):
            await client.open([ASK], Collected())
        await client.open([ASK], Collected(), connect_timeout=2.0)
        assert client.open_connections == 1
        await client.close()

    run(check)


class Resolver:
    """Answers look-ups from a list of answers, one after the other; notes how often it was
    asked.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answers: list[list[str] | OSError]) -> None:
        self.asked = 0
        self._answers = answers
        loop.getaddrinfo = self.getaddrinfo  # type: ignore[method-assign,assignment]

    async def getaddrinfo(self, host: str, port: int, **more: Any) -> list[Any]:
        if host != "up.test":  # the loop itself looks up addresses, too
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answer]


def test_addresses_are_remembered_and_tried_in_turn(server: ScriptedUpstream) -> None:
    async def check() -> None:
        # Nothing listens on 127.0.0.2 at that port.
        resolver = Resolver(asyncio.get_running_loop(), [["127.0.0.2", "127.0.0.1"]])
        client = client_of(server.port, host="up.test")
        for _ in range(3):
            await open_any(client)
        assert resolver.asked == 1
        assert client.open_connections == 3
        await client.close()

    run(check)


def test_addresses_are_looked_up_again_when_none_answers(server: ScriptedUpstream) -> None:
    async def check() -> None:
        answers: list[list[str] | OSError] = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]
        resolver = Resolver(asyncio.get_running_loop(), answers)
        client = client_of(server.port, host="up.test")
        await open_any(client)
        client._addresses = ["127.0.0.3"]  # yesterday's
        with pytest.raises(ConnectFailed):
            await open_any(client)
        await open_any(client)
        assert resolver.asked == 3
        await client.close()

    run(check)


def test_a_name_that_does_not_resolve_says_so() -> None:
    async def check() -> None:
        Resolver(asyncio.get_running_loop(), [socket.gaierror(-2, "Name or service not known")])
        client = client_of(80, host="up.test")
        with pytest.raises(ConnectFailed, match="cannot be resolved"):
            await open_any(client)
        await client.close()

    run(check)


def test_a_retired_pool_lets_replies_end_and_keeps_nothing(server: ScriptedUpstream) -> None:
    async def check() -> None:
        client = client_of(server.port)
        sink, _ = await open_any(client)
        peer = await aside(server.accept)
        await aside(peer.read_request)
        client.retire()
        peer.send(OK)
        assert (await sink.done()).body == b"{}"
        assert await aside(peer.hung_up)
        assert client.open_connections == 0
        await client.close()

    run(check)


def test_a_caller_that_gives_up_while_connecting_leaves_nothing() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        forever: asyncio.Future[Any] = loop.create_future()

        async def never(host: str, port: int, **more: Any) -> Any:
            return await forever

        loop.getaddrinfo = never  # type: ignore[method-assign,assignment]
        client = client_of(80, host="up.test")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await open_any(client)
        assert "connecting=0" in repr(client)
        await client.close()

    run(check)
