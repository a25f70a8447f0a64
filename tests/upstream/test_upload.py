"""A body in pieces: at the pace of the upstream, to its end, or to where the reply ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relayd.errors import NoAnswer
from relayd.upstream.upload import PIECE, Upload
from relayd.wire.multipart import Held
from tests.support.waiting import until
from tests.upstream.test_connection import Bench

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BODY = bytes(range(256)) * (PIECE // 100)


class Broken(Held):
    """A source whose disk fails."""

    async def load(self, start: int, end: int) -> bytes:
        raise OSError("the disk is gone")


class UploadBench(Bench):
    """A connection whose request is a head and an upload."""

    def __init__(self, source: Held | None = None) -> None:
        super().__init__()
        self.feed(OK)
        self.transport.written = b""
        self.moves = 0
        source = source or Held(BODY)
        self.upload = Upload([b"<", (0, source.size), b">"], source, self.move)
        self.sink = self.ask_with(self.upload)

    def move(self) -> None:
        self.moves += 1

    def ask_with(self, upload: Upload) -> Any:
        sink = type(self.sink)()
        self.connection.send([b"HEAD:"], sink, upload)
        return sink


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_all_of_it_is_sent_in_pieces() -> None:
    async def work() -> None:
        bench = UploadBench()
        await until(lambda: bench.transport.written.endswith(b">"))
        assert bench.transport.written == b"HEAD:<" + BODY + b">"
        assert bench.moves == 2 + -(-len(BODY) // PIECE)
        await until(lambda: bench.connection._pump is None)
        bench.feed(OK)
        assert bench.sink.body == b"ok"
        assert bench.idle[-1] is bench.connection
        assert bench.transport.state == "open"

    run(work)


def test_nothing_is_sent_while_the_upstream_takes_nothing() -> None:
    async def work() -> None:
        bench = UploadBench()
        bench.connection.pause_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.transport.written == b"HEAD:"
        bench.connection.resume_writing()
        await until(lambda: bench.transport.written.endswith(b">"))

    run(work)


def test_a_reply_that_comes_first_ends_the_upload_and_the_connection() -> None:
    async def work() -> None:
        bench = UploadBench()
        bench.connection.pause_writing()
        bench.feed(OK)
        assert bench.sink.body == b"ok"
        assert bench.sink.problem is None
        assert bench.transport.state == "aborted"
        assert len(bench.idle) == 1  # from the request before
        bench.connection.resume_writing()
        await asyncio.sleep(0)
        assert bench.transport.written == b"HEAD:"

    run(work)


@pytest.mark.parametrize("end", ["abort", "detach", "lost"])
def test_who_ends_the_exchange_ends_the_upload(end: str) -> None:
    async def work() -> None:
        bench = UploadBench()
        bench.connection.pause_writing()
        if end == "abort":
            bench.connection.abort()
        elif end == "detach":
            bench.connection.detach(asyncio.get_running_loop(), 1.0)
        else:
            bench.connection.connection_lost(None)
        bench.connection.resume_writing()
        await asyncio.sleep(0)
        assert bench.connection._pump is None
        assert bench.transport.written == b"HEAD:"

    run(work)


def test_a_transport_that_closes_gets_nothing_more() -> None:
    async def work() -> None:
        bench = UploadBench()
        bench.transport.state = "closed"
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.transport.written == b"HEAD:"

    run(work)


def test_a_body_that_cannot_be_read_ends_the_request() -> None:
    async def work() -> None:
        bench = UploadBench(Broken(BODY))
        await until(lambda: bench.sink.ends == 1)
        assert isinstance(bench.sink.problem, NoAnswer)
        assert bench.transport.state == "aborted"

    run(work)


def test_they_say_what_they_are() -> None:
    async def work() -> None:
        bench = UploadBench()
        assert repr(bench.upload) == "<Upload of 3 parts>"
        assert repr(bench.connection._pump) == "<Pump of <Upload of 3 parts>>"
        bench.connection.abort()

    run(work)
