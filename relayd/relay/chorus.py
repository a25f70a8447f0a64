"""One request, asked several times at one upstream: for models that draw one picture each time.

An attempt asks once by itself, and a chorus the other times, beside it. Its replies are held, never
passed on: the attempt makes one reply of all. The first that fails, fails for all, and what still
runs is broken off; so it is when the attempt ends before them. Bounded: how many are asked at one
time, also by what the upstream's key allows, and the bytes of all replies together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from relayd.errors import BadReply
from relayd.model import KeyLimits
from relayd.relay.forward import Exchange
from relayd.relay.nobody import NO_CLIENT, NoOwner
from relayd.relay.sides import UpstreamSide
from relayd.relay.watch import Watch
from relayd.tasks import child

AT_ONCE = 4  # the attempt's own among them

Ask = Callable[[Exchange], Awaitable[UpstreamSide]]


class Chorus:
    """The other times. Owns their exchanges and the tasks that wait for them.

    Arguments:
        size: how often to ask.
        ask: sends the request on a new connection: of an idle one nobody knows whether it still is
            one, and drawing takes a thousand times as long as connecting.
        watch: the timer for the upstream's timeouts.
        largest: bytes of all replies together.
    """

    __slots__ = ("_ask", "_exchanges", "_largest", "_size", "_tasks", "_watch")

    def __init__(self, size: int, ask: Ask, watch: Watch, largest: int) -> None:
        self._size = size
        self._ask = ask
        self._watch = watch
        self._largest = largest
        self._exchanges: list[Exchange] = []
        self._tasks: list[asyncio.Task[Exchange]] = []

    def __repr__(self) -> str:
        ended = sum(task.done() for task in self._tasks)
        return f"<Chorus {ended} of {self._size}>"

    def start(self, limits: KeyLimits) -> None:
        """Begin beside the attempt; later, where the upstream's key is allowed one at a time."""
        others = min(limits.concurrency or AT_ONCE, AT_ONCE) - 1
        if others:
            self._begin(others)

    async def replies(self) -> list[Exchange]:
        """All of them, whole. Raises what went wrong with the first that failed."""
        if not self._tasks:
            self._begin(1)
        found = await asyncio.gather(*self._tasks)
        if sum(each.seen for each in found) > self._largest:
            raise BadReply("The upstream's replies are too large to be translated.")
        return found

    def abort(self) -> None:
        """Break off what still runs; nothing happens to what has ended."""
        for task in self._tasks:
            task.cancel()
        for exchange in self._exchanges:
            exchange.leave(served=False)

    def _begin(self, at_once: int) -> None:
        turns = asyncio.Semaphore(at_once)
        self._tasks = [child(self._voice(turns)) for _ in range(self._size)]
        for task in self._tasks:
            task.add_done_callback(_heard)

    async def _voice(self, turns: asyncio.Semaphore) -> Exchange:
        async with turns:
            owner = _Alone()
            exchange = Exchange(NO_CLIENT, None, owner, self._watch, largest=self._largest)
            self._exchanges.append(exchange)
            exchange.attach(await self._ask(exchange))
            problem = await exchange.done
            if problem is not None:
                raise problem
            return exchange


def _heard(task: asyncio.Task[Exchange]) -> None:
    """The first failure is told; that of another, or behind the attempt's own, is nobody's."""
    if not task.cancelled():
        task.exception()


class _Alone(NoOwner):
    """Owns an exchange that nobody races with, and that never streams; the attempt's own exchange
    tells the lease."""

    def claim(self, status: int) -> bool:
        return True
