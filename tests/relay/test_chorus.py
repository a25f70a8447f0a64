"""One request, asked several times at one upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relayd.errors import BadReply, ConnectFailed, NoAnswer
from relayd.model import KeyLimits, Timeouts
from relayd.relay.chorus import AT_ONCE, Chorus
from relayd.relay.forward import Exchange
from relayd.relay.watch import Patience, Watch
from relayd.tasks import child
from tests.support.relay_parts import NotingConnection
from tests.support.waiting import until

FREE = KeyLimits()


class Upstream:
    """Notes the exchanges that ask, until a test answers them."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.asked: list[Exchange] = []
        self.problem: Exception | None = None

    async def ask(self, exchange: Exchange) -> Any:
        if self.problem is not None:
            raise self.problem
        self.asked.append(exchange)
        return NotingConnection(self.happened)

    def answer(self, *bodies: bytes) -> None:
        for exchange, body in zip(self.asked, bodies, strict=True):
            exchange.on_head(200, [])
            exchange.on_body(body)
            exchange.on_end()
        self.asked.clear()


def chorus(upstream: Upstream, size: int, largest: int = 100) -> Chorus:
    patience = Patience(Timeouts(), 0, 0)
    return Chorus(size, upstream.ask, Watch(patience, asyncio.get_running_loop()), largest)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(10):
            await work()

    asyncio.run(within())


def test_all_are_asked_at_once_up_to_a_bound() -> None:
    async def work() -> None:
        upstream = Upstream()
        voices = chorus(upstream, AT_ONCE + 1)
        voices.start(FREE)
        await until(lambda: len(upstream.asked) == AT_ONCE - 1)
        replies = child(voices.replies())
        upstream.answer(*[b"a"] * (AT_ONCE - 1))
        await until(lambda: len(upstream.asked) == 2)
        upstream.answer(b"b", b"c")
        held = [each.kept.body for each in await replies]
        assert held == [*[b"a"] * (AT_ONCE - 1), b"b", b"c"]
        voices.abort()
        assert upstream.happened == []
        assert repr(voices) == f"<Chorus {AT_ONCE + 1} of {AT_ONCE + 1}>"

    run(work)


def test_a_key_that_takes_one_at_a_time_is_asked_one_by_one_behind_the_attempt() -> None:
    async def work() -> None:
        upstream = Upstream()
        voices = chorus(upstream, 2)
        voices.start(KeyLimits(concurrency=1))
        await asyncio.sleep(0)
        assert upstream.asked == []
        replies = child(voices.replies())
        for body in (b"a", b"b"):
            await until(lambda: bool(upstream.asked))
            upstream.answer(body)
        assert len(await replies) == 2

    run(work)


def test_the_first_failure_is_told_and_the_rest_is_broken_off() -> None:
    async def work() -> None:
        upstream = Upstream()
        voices = chorus(upstream, 3)
        voices.start(FREE)
        await until(lambda: len(upstream.asked) == 3)
        upstream.asked[1].on_error(NoAnswer("It is dead."))
        with pytest.raises(NoAnswer):
            await voices.replies()
        voices.abort()
        assert upstream.happened == ["upstream: aborted"] * 2

    run(work)


def test_where_nobody_can_be_asked_that_is_told() -> None:
    async def work() -> None:
        upstream = Upstream()
        upstream.problem = ConnectFailed("There is nobody.")
        voices = chorus(upstream, 2)
        voices.start(FREE)
        with pytest.raises(ConnectFailed):
            await voices.replies()
        voices.abort()

    run(work)


def test_replies_that_are_too_large_together_are_none() -> None:
    async def work() -> None:
        upstream = Upstream()
        voices = chorus(upstream, 2)
        voices.start(FREE)
        await until(lambda: len(upstream.asked) == 2)
        upstream.answer(b"a" * 51, b"b" * 50)
        with pytest.raises(BadReply):
            await voices.replies()

    run(work)
