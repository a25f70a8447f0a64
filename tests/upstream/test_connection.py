"""One upstream connection, fed by hand: whatever way the bytes are split, the sink hears the same.

No sockets: the transport is a fake that notes what is done to it.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.errors import BadReply, NoAnswer
from relayd.upstream.connection import Connection, StaleConnection
from relayd.upstream.framing import MAX_HEAD
from tests.support.sinks import Collected


class NotingTransport(asyncio.Transport):
    """Sends nothing; notes what was written and whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.unsent = 0
        self.state = "open"

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def writelines(self, pieces: Any) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed" if self.state == "open" else self.state

    def abort(self) -> None:
        self.state = "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Bench:
    """A connection with a noting transport, and the sink of its first request."""

    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.gone: list[Connection] = []
        self.transport = NotingTransport()
        self.connection = Connection(self.idle.append, self.gone.append)
        self.connection.connection_made(self.transport)
        self.sink = self.ask()

    def ask(self) -> Collected:
        sink = Collected()
        self.connection.send([b"GET / HTTP/1.1\r\n\r\n"], sink)
        return sink

    def feed(self, *pieces: bytes) -> Bench:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def close(self, exc: Exception | None = None) -> Bench:
        self.connection.connection_lost(exc)
        return self


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def whole(body: bytes = b"hello", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", *headers, b"content-length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: no\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: no\r\n\r\n"
PACKED = gzip.compress(b"hello world")
GZIP = whole(PACKED, b"content-encoding: gzip", b"x-kept: yes")
REPLIES = {
    "length": (whole(b"hello world", b"x-kept: yes"), b"hello world"),
    "chunked": (CHUNKED, b"hello world"),
    "interim": (INTERIM + CHUNKED, b"hello world"),
    "gzip": (GZIP, b"hello world"),
    "empty": (whole(b"", b"x-kept: yes"), b""),
    "no content": (b"HTTP/1.1 204 No Content\r\nx-kept: yes\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", REPLIES)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_reply_split_anywhere_is_the_same(name: str, cuts: Sequence[int]) -> None:
    data, body = REPLIES[name]

    async def check() -> None:
        bench = Bench()
        places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
        bench.feed(*(data[a:b] for a, b in pairwise(places)))
        assert (bench.sink.ends, bench.sink.problem, bench.sink.body) == (1, None, body)
        assert (b"x-kept", b"yes") in bench.sink.headers
        assert not {b"x-trailer", b"link", b"content-encoding"} & {n for n, _ in bench.sink.headers}
        assert (bench.idle, bench.transport.state) == ([bench.connection], "open")

    run(check())


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_cut_at_any_byte_is_an_error(name: str) -> None:
    data, _ = REPLIES[name]

    async def check() -> None:
        for end in range(1, len(data)):
            bench = Bench().feed(data[:end]).close()
            assert isinstance(bench.sink.problem, BadReply), data[:end]
            assert bench.gone == [bench.connection]
            assert bench.idle == []

    run(check())


def test_a_close_before_any_byte_depends_on_what_the_connection_had_served() -> None:
    async def check() -> None:
        fresh = Bench().close()
        assert isinstance(fresh.sink.problem, NoAnswer)
        assert not isinstance(fresh.sink.problem, StaleConnection)
        assert fresh.sink.problem.status == 502

        used = Bench().feed(whole())
        again = used.ask()
        used.close(ConnectionResetError())
        assert isinstance(again.problem, StaleConnection)

    run(check())


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def check() -> None:
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
        good = Bench().feed(head + b"abc", b"def").close()
        assert (good.sink.problem, good.sink.body) == (None, b"abcdef")
        reset = Bench().feed(head + b"abc").close(ConnectionResetError())
        assert isinstance(reset.sink.problem, BadReply)
        chunked = (
            Bench()
            .feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .close()
        )
        assert isinstance(chunked.sink.problem, BadReply)

    run(check())


BROKEN = {
    "garbage": b"SSH-2.0-OpenSSH\r\n",
    "bad version": b"HTTP/9.9 200 OK\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "unknown encoding": whole(b"x", b"content-encoding: br"),
    "damaged gzip": whole(b"0123456789", b"content-encoding: gzip"),
    "big head": b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"y" * 1000) * 70,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_understood_closes_the_connection(data: bytes) -> None:
    async def check() -> None:
        bench = Bench().feed(data)
        assert isinstance(bench.sink.problem, BadReply)
        assert bench.transport.state == "aborted"
        bench.close()
        assert (bench.idle, bench.sink.ends) == ([], 1)

    run(check())


def test_a_truncated_gzip_body_is_an_error() -> None:
    async def check() -> None:
        bench = Bench().feed(whole(PACKED[:-12], b"content-encoding: gzip"))
        assert isinstance(bench.sink.problem, BadReply)

    run(check())


def test_large_headers_within_the_bound_pass() -> None:
    async def check() -> None:
        many = [b"x-%d: %b" % (i, b"y" * 900) for i in range(MAX_HEAD // 1000)]
        bench = Bench().feed(whole(b"z" * 200_000, *many))
        assert (bench.sink.problem, len(bench.sink.body)) == (None, 200_000)

    run(check())


def test_a_gzip_bomb_comes_in_steps() -> None:
    async def check() -> None:
        packer = zlib.compressobj(wbits=31)
        bomb = packer.compress(b"\0" * 50_000_000) + packer.flush()
        bench = Bench().feed(whole(bomb, b"content-encoding: gzip"))
        turns = 0
        while not bench.sink.ends:
            assert len(bench.sink.body) <= (turns + 1) * 4 * 1024 * 1024
            assert not bench.transport.reading
            turns += 1
            await asyncio.sleep(0)
        assert sum(map(len, bench.sink.pieces)) == 50_000_000
        assert max(map(len, bench.sink.pieces)) <= 256 * 1024
        assert (turns >= 10, bench.transport.reading, len(bench.idle)) == (True, True, 1)

    run(check())


def test_what_waits_for_its_turn_waits_for_the_sink_as_well() -> None:
    async def check() -> None:
        bench = Bench().feed(whole(gzip.compress(bytes(10_000_000)), b"content-encoding: gzip"))
        bench.connection.pause()
        first = len(bench.sink.body)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(bench.sink.body) == first < 10_000_000
        bench.connection.resume()
        assert len(bench.sink.body) > first
        assert not bench.transport.reading
        await bench.sink.done()
        assert (len(bench.sink.body), bench.transport.reading) == (10_000_000, True)

    run(check())


def test_a_body_of_many_members_takes_its_turns() -> None:
    async def check() -> None:
        bench = Bench().feed(whole(gzip.compress(b"x") * 100, b"content-encoding: gzip"))
        assert len(bench.sink.body) < 100
        bench.connection.abort()
        await asyncio.sleep(0)
        assert (bench.sink.ends, bench.transport.state) == (0, "aborted")

    run(check())


def test_nobody_decodes_what_nobody_hears() -> None:
    async def check() -> None:
        bench = Bench().feed(whole(PACKED, b"content-encoding: gzip")[:-12])
        bench.connection.detach(asyncio.get_running_loop(), 60)
        assert bench.transport.state == "aborted"

    run(check())


@pytest.mark.parametrize(
    "surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"garbage", b"\0"]
)
def test_bytes_behind_a_reply_end_the_connection_not_the_reply(surplus: bytes) -> None:
    async def check() -> None:
        together = Bench().feed(whole() + surplus)
        assert (together.sink.problem, together.sink.body) == (None, b"hello")
        assert together.idle == []
        assert together.transport.state != "open"

        later = Bench().feed(whole(), surplus)
        assert later.sink.problem is None
        assert later.transport.state != "open"

    run(check())


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"],
)
def test_a_reply_that_ends_the_connection_is_not_kept(head: bytes) -> None:
    async def check() -> None:
        bench = Bench().feed(head + b"content-length: 2\r\n\r\n{}")
        assert (bench.sink.problem, bench.idle) == (None, [])
        assert bench.transport.state == "closed"

    run(check())


def test_one_read_is_one_piece_and_the_very_object() -> None:
    async def check() -> None:
        bench = Bench().feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        bench.feed(b"3\r\nabc\r\n3\r\ndef\r\n")
        assert bench.sink.pieces == [b"abcdef"]

    run(check())


def test_aborting_tells_the_sink_nothing() -> None:
    async def check() -> None:
        bench = Bench().feed(CHUNKED[:90])
        bench.connection.abort()
        assert bench.transport.state == "aborted"
        bench.close()
        assert (bench.sink.ends, bench.gone) == (0, [bench.connection])

    run(check())


def test_pausing_stops_reading_and_a_closed_connection_does_not_mind() -> None:
    async def check() -> None:
        bench = Bench()
        bench.connection.pause()
        assert not bench.transport.reading
        bench.connection.resume()
        assert bench.transport.reading
        bench.connection.abort()
        bench.connection.pause()
        bench.close()
        bench.connection.resume()
        bench.connection.pause()

    run(check())


def test_a_detached_reply_ends_unheard_and_the_connection_is_kept() -> None:
    async def check() -> None:
        bench = Bench().feed(CHUNKED[:-5])
        bench.connection.pause()
        bench.connection.detach(asyncio.get_running_loop(), 60.0)
        assert bench.transport.reading
        bench.feed(CHUNKED[-5:])
        assert (bench.idle, bench.sink.ends) == ([bench.connection], 0)

    run(check())


def test_a_connection_that_was_paused_at_the_end_reads_again_when_idle() -> None:
    """Before, the next request on it heard nothing until its first-byte timeout."""

    async def check() -> None:
        bench = Bench()
        bench.sink.on_body = lambda data: bench.connection.pause()  # type: ignore[method-assign]
        bench.feed(whole())
        assert bench.idle == [bench.connection]
        assert bench.transport.reading

    run(check())


def test_a_reply_that_overtakes_its_request_ends_the_connection() -> None:
    async def check() -> None:
        bench = Bench()
        bench.transport.unsent = 1000
        bench.feed(whole())
        assert (bench.idle, bench.transport.state, bench.sink.ends) == ([], "aborted", 1)

    run(check())


def test_a_gzip_body_is_decoded_no_further_than_the_sink_takes_it() -> None:
    async def check() -> None:
        bench = Bench()
        taken: list[int] = []

        def take(data: bytes) -> None:
            taken.append(len(data))
            bench.connection.pause()

        bench.sink.on_body = take  # type: ignore[method-assign]
        bench.feed(whole(gzip.compress(bytes(10_000_000)), b"content-encoding: gzip"))
        assert len(taken) == 1
        while not bench.sink.ends:
            bench.connection.resume()
        assert sum(taken) == 10_000_000
        assert max(taken) <= 256 * 1024

    run(check())


def test_a_gzip_body_may_have_several_members() -> None:
    async def check() -> None:
        packed = gzip.compress(b"hello ") + gzip.compress(b"world")
        bench = Bench().feed(whole(packed, b"content-encoding: gzip"))
        assert (bytes(bench.sink.body), bench.sink.ends) == (b"hello world", 1)

    run(check())


def test_a_connection_tells_truthfully_what_it_does() -> None:
    async def check() -> None:
        bench = Bench()
        assert repr(bench.connection) == "<Connection busy served=0>"
        bench.feed(whole())
        assert repr(bench.connection) == "<Connection idle served=1>"
        bench.close()
        assert repr(bench.connection) == "<Connection closed served=1>"

    run(check())
