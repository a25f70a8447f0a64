"""A body within its bounds: of bytes, of time in all, and of time between two pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from relayd.errors import BadCall
from relayd.web import bodies

AT_ONCE = (0.05, 1024)


class Counting:
    """Whoever reads."""

    bytes_in = 0


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def stream_of(*pieces: bytes, ended: bool = True) -> StreamReader:
    protocol = BaseProtocol(asyncio.get_running_loop())
    protocol.transport = asyncio.Transport()
    stream = StreamReader(protocol, 2**16)
    for piece in pieces:
        stream.feed_data(piece)
    if ended:
        stream.feed_eof()
    return stream


async def taken(
    stream: StreamReader, most: int = 100, pace: tuple[float, int] = AT_ONCE
) -> tuple[bytes, int]:
    """What was handed over, and how many bytes were counted."""
    pieces: list[bytes] = []
    client = Counting()
    await bodies.take_in(client, stream, pieces.append, most, pace)
    return b"".join(pieces), client.bytes_in


def refusal(stream: StreamReader, **more: Any) -> Coroutine[Any, Any, BadCall]:
    async def refused() -> BadCall:
        with pytest.raises(BadCall) as caught:
            await taken(stream, **more)
        return caught.value

    return refused()


def test_a_body_is_handed_over_as_it_comes() -> None:
    async def work() -> None:
        assert await taken(stream_of(b"abc", b"def")) == (b"abcdef", 6)
        assert await taken(stream_of()) == (b"", 0)

    run(work)


def test_who_takes_a_piece_may_let_the_next_one_wait() -> None:
    async def work() -> None:
        happened: list[str] = []
        stream = stream_of(b"a", ended=False)

        async def write(piece: bytes) -> None:
            happened.append(f"writes {piece!r}")
            if piece == b"a":
                stream.feed_data(b"b")
                stream.feed_eof()
            await asyncio.sleep(0)
            happened.append("wrote")

        await bodies.take_in(Counting(), stream, write, 10, (5.0, 1024))
        assert happened == ["writes b'a'", "wrote", "writes b'b'", "wrote"]

    run(work)


def test_a_body_over_the_bound_is_refused_before_it_is_handed_over() -> None:
    async def work() -> None:
        pieces: list[bytes] = []
        with pytest.raises(BadCall) as caught:
            await bodies.take_in(Counting(), stream_of(b"12345"), pieces.append, 4, AT_ONCE)
        assert (caught.value.status, caught.value.code, pieces) == (413, "request_too_large", [])

    run(work)


@pytest.mark.parametrize("earned", [0, 10**9])
def test_a_body_that_stalls_is_given_up_whatever_it_has_earned(earned: int) -> None:
    async def work() -> None:
        stream = stream_of(bytes(earned and 50), ended=False)
        error = await refusal(stream, pace=(0.05, 1))
        assert (error.status, error.code) == (408, "body_timeout")

    run(work)


def test_a_body_that_trickles_is_given_up_in_all() -> None:
    async def work() -> None:
        stream = stream_of(b"x", ended=False)
        loop = asyncio.get_running_loop()

        def trickle() -> None:
            if not stream.exception():
                stream.feed_data(b"x")
                timers.append(loop.call_later(0.01, trickle))

        timers = [loop.call_later(0.01, trickle)]
        error = await refusal(stream, most=10**6, pace=(0.2, 10**9))
        timers[-1].cancel()
        assert error.code == "body_timeout"

    run(work)


def test_what_was_earned_by_a_fast_start_cannot_be_trickled_away() -> None:
    async def work() -> None:
        stream = stream_of(bytes(10**5), ended=False)  # these earn 200 seconds
        loop = asyncio.get_running_loop()
        left = iter(range(1000))

        def trickle() -> None:
            if next(left, None) is None:
                stream.feed_eof()
            elif not stream.exception():
                stream.feed_data(b"x")
                timers.append(loop.call_later(0.01, trickle))

        timers = [loop.call_later(0.01, trickle)]
        error = await refusal(stream, most=10**9, pace=(0.2, 500))
        timers[-1].cancel()
        assert (error.code, len(timers) < 1000) == ("body_timeout", True)

    run(work)


def test_a_broken_body_is_the_clients_mistake() -> None:
    async def work() -> None:
        stream = stream_of(ended=False)
        stream.set_exception(web.RequestPayloadError("chunk"))
        assert (await refusal(stream)).status == 400

    run(work)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"Content-Length": "10", "Content-Encoding": "GZip"}, None),
        ({"Content-Length": "11"}, 413),
        ({"Content-Length": "9" * 30}, 413),
        ({"Content-Encoding": "zstd"}, 415),
    ],
)
def test_a_head_may_say_that_it_is_too_much(headers: dict[str, str], status: int | None) -> None:
    if status is None:
        bodies.check(headers, 10)
        return
    with pytest.raises(BadCall) as caught:
        bodies.check(headers, 10)
    assert caught.value.status == status


def test_what_says_nothing_of_its_type_is_taken_for_json() -> None:
    bodies.check_json({})
    bodies.check_json({"Content-Type": "application/vnd.api+JSON"})
    with pytest.raises(BadCall) as caught:
        bodies.check_json({"Content-Type": "multipart/form-data; boundary=x"})
    assert caught.value.status == 415


def test_an_unread_piece_is_nobodys() -> None:
    bodies.unread(b"whatever")
