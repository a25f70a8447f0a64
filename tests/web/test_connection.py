"""Client connections at their limits: bytes that nobody takes, and the end of the daemon."""

from __future__ import annotations

import asyncio
from typing import Any

from relayd.web.client import HttpClient
from relayd.web.connection import Listener

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
BODY = bytes(8_000_000)


class BigDoor:
    """Answers every request with more than the sockets between can hold."""

    async def handle(self, client: HttpClient) -> None:
        client.send(200, [], BODY)

    def bad_http(self, exc: BaseException | None) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"


async def listening(**limits: Any) -> tuple[asyncio.Server, Listener, int]:
    listener = Listener(BigDoor(), **limits)
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)
    return server, listener, server.sockets[0].getsockname()[1]


async def until(met: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_client_that_takes_nothing_of_its_reply_is_dropped() -> None:
    """Before, the connection and what waited for it stayed for good once the handler was done."""

    async def work() -> None:
        server, listener, port = await listening(write_timeout=0.2)
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(REQUEST)
        await until(lambda: listener.unsent() > 0)
        await until(lambda: not listener.connections)
        assert listener.unsent() == 0
        writer.close()
        server.close()
        await listener.shutdown(0.1)

    asyncio.run(work())


def test_what_a_client_has_not_taken_yet_is_seen() -> None:
    async def work() -> None:
        server, listener, port = await listening()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await until(lambda: listener.unsent() > 0)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 8000000" in head
        assert await reader.readexactly(len(BODY)) == BODY
        assert listener.unsent() == 0
        writer.close()
        server.close()
        await listener.shutdown(0.1)

    asyncio.run(work())


def test_more_connections_than_allowed_are_turned_away() -> None:
    async def work() -> None:
        server, listener, port = await listening(max_connections=1)
        _, first = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: len(listener.connections) == 1)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        for writer in (first, second):
            writer.close()
        server.close()
        await listener.shutdown(0.1)

    asyncio.run(work())
