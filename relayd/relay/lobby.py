"""The waiting room: requests whose upstream keys are at their limits wait here, bounded and fair.

Every pool has its queue, which serves accounts in turn, so that one with a thousand requests does
not stand before one with a single request. `stir` is called whenever a place may have become free:
when a request ends, and by a timer for limits that time lifts. A waiter is offered a place by
calling its `take`, which either gets one or says that there is still none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from relayd.errors import AllFull, RelayError
from relayd.policy.pool import Pool
from relayd.routing import WaitingRules

TICK = 1.0  # seconds after which those who wait are asked again, whatever else happens
SHORTEST_TICK = 0.005


class Place(Protocol):
    """What is waited for."""

    def leave(self, now: float) -> None:
        """Give it back unused."""


P = TypeVar("P", bound=Place)


class Waiter(Generic[P]):
    """One request that waits for a place."""

    __slots__ = ("full", "future", "take")

    def __init__(self, take: Callable[[float], P], future: asyncio.Future[P]) -> None:
        self.take = take
        self.future = future
        self.full: AllFull | None = None  # what it was told last

    def __repr__(self) -> str:
        return f"<Waiter {'served' if self.future.done() else 'waiting'}>"


class Lobby:
    """All waiting rooms. Owns the timer and the set of pools that somebody waits for.

    Arguments:
        rules: how long one may wait.
    """

    def __init__(self, rules: WaitingRules) -> None:
        self.rules = rules
        self.waiting = 0
        self._loop = asyncio.get_running_loop()
        self._pools: set[Pool] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Lobby waiting={self.waiting} pools={len(self._pools)}>"

    async def wait(self, pool: Pool, account: int, take: Callable[[float], P]) -> P:
        """Wait for a place.

        Arguments:
            pool: whose keys are at their limits.
            account: who waits.
            take: tries to get a place; raises AllFull while there is none.
        Raises:
            AllFull: nothing became free in time, or too many wait already.
            RelayError: what else `take` raises.
        """
        if not self.rules.timeout:
            return take(self._loop.time())  # which says itself why not
        waiter: Waiter[P] = Waiter(take, self._loop.create_future())
        if not pool.queue.put(account, waiter):
            raise self._refused(waiter, pool)
        self.waiting += 1
        self._pools.add(pool)
        self.stir()
        try:
            async with asyncio.timeout(self.rules.timeout):
                return await waiter.future
        except TimeoutError:
            self._give_back(waiter)
            raise self._refused(waiter, pool) from None
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        finally:
            self.waiting -= 1
            pool.queue.remove(account, waiter)

    def stir(self) -> None:
        """Offer what may have become free to those who wait."""
        wait: float | None = None
        for pool in list(self._pools):
            told = self._serve(pool)
            if not len(pool.queue):
                self._pools.discard(pool)
            elif told is not None:
                wait = told if wait is None else min(wait, told)
        if self._pools:
            self._alarm(wait)

    def close(self) -> None:
        """No more ticks."""
        if self._timer is not None:
            self._timer.cancel()

    def _serve(self, pool: Pool) -> float | None:
        """Serve a pool's queue as far as it goes; returns when it may go on, as far as is known."""
        queue, now = pool.queue, self._loop.time()
        wait: float | None = None
        misses = 0
        while misses < queue.accounts and (waiter := queue.peek()) is not None:
            assert isinstance(waiter, Waiter)
            if (
                waiter.future.done()
            ):  # it was served, or has left and its task has yet to hear of it
                queue.take()
                continue
            try:
                place = waiter.take(now)
            except AllFull as exc:
                misses += 1
                waiter.full = exc
                queue.skip()
                if exc.wait is not None:
                    wait = exc.wait if wait is None else min(wait, exc.wait)
            except RelayError as exc:
                waiter.future.set_exception(exc)
            else:
                waiter.future.set_result(place)
        return wait

    @staticmethod
    def _refused(waiter: Waiter[Any], pool: Pool) -> AllFull:
        """What to say to one who may not wait any longer, or not at all."""
        full = waiter.full or AllFull("All upstream keys are at their limits.", wait=None)
        crowd = f" {len(pool.queue)} requests wait." if len(pool.queue) else ""
        return AllFull(full.message + crowd, wait=full.wait, detail=full.detail)

    def _alarm(self, wait: float | None) -> None:
        """Stir by ourselves, when limits will have moved on."""
        when = self._loop.time() + min(max(wait or TICK, SHORTEST_TICK), TICK)
        if self._timer is not None:
            if self._timer.when() <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.stir()

    def _give_back(self, waiter: Waiter[Any]) -> None:
        """It left at the very moment when it was served."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            future.result().leave(self._loop.time())
            self._loop.call_soon(self.stir)
