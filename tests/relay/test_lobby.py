"""The waiting room: bounded, fair, and nobody in it holds what he does not use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relayd.errors import AllFull, NoUpstream
from relayd.model import ModelRule, Secret, UpstreamKey, UpstreamSpec
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.relay.lobby import Lobby
from relayd.routing import Routing, WaitingRules

FULL = AllFull("all are at their limits", wait=None)


class Places:
    """A pool with a queue, and places that the test hands out."""

    def __init__(self, timeout: float = 5.0, places: int = 10) -> None:
        rules = WaitingRules(timeout, places)
        spec = UpstreamSpec(
            "up",
            "relay",
            ("http://up",),
            (UpstreamKey("1", Secret("k")),),
            (ModelRule("m"),),
            ("chat",),
        )
        self.pools = Pools([spec], Routing(waiting=rules))
        self.route = self.pools.route("m", "chat")
        self.pool = self.route.pool
        self.lobby = Lobby(rules)
        self.free = 0
        self.served: list[int] = []
        self.says: Exception = FULL

    def take_for(self, account: int) -> Callable[[float], Lease]:
        def take(now: float) -> Lease:
            if not self.free:
                raise self.says
            self.free -= 1
            self.served.append(account)
            return self.lease()

        return take

    def lease(self) -> Lease:
        """A real one, so that giving it back shows."""
        return self.pools.choose(self.route, Wanted(), 0.0)

    def come(self, account: int) -> asyncio.Task[Lease]:
        """Somebody comes to wait."""
        waits = self.lobby.wait(self.pool, account, self.take_for(account))
        return asyncio.get_running_loop().create_task(waits)

    def hand_out(self, places: int) -> None:
        self.free += places
        self.lobby.stir()

    @property
    def held(self) -> int:
        return self.pools.in_flight("up")


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_accounts_are_served_in_turn_and_each_in_its_order() -> None:
    async def work() -> None:
        places = Places()
        tasks = [places.come(account) for account in (1, 1, 1, 2, 3)]
        await asyncio.sleep(0)
        assert places.lobby.waiting == len(places.pool.queue) == 5
        for _ in range(5):
            places.hand_out(1)
        await asyncio.gather(*tasks)
        assert places.served == [1, 2, 3, 1, 1]
        assert (places.lobby.waiting, places.held) == (0, 5)

    run(work)


def test_only_as_many_are_served_as_there_are_places() -> None:
    async def work() -> None:
        places = Places()
        tasks = [places.come(account) for account in (1, 2, 3)]
        await asyncio.sleep(0)
        places.hand_out(2)
        await asyncio.gather(*tasks[:2])
        assert not tasks[2].done()
        assert places.lobby.waiting == 1
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        assert places.lobby.waiting == len(places.pool.queue) == 0

    run(work)


def test_the_room_has_so_many_places() -> None:
    async def work() -> None:
        places = Places(places=1)
        first = places.come(1)
        await asyncio.sleep(0)
        with pytest.raises(AllFull, match="1 requests wait"):
            await places.come(2)
        places.hand_out(1)
        await first

    run(work)


def test_who_waits_in_vain_hears_why() -> None:
    async def work() -> None:
        places = Places(timeout=0.01)
        with pytest.raises(AllFull, match="at their limits"):
            await places.come(1)
        assert places.lobby.waiting == len(places.pool.queue) == 0

    run(work)


def test_without_patience_nobody_waits() -> None:
    async def work() -> None:
        places = Places(timeout=0.0)
        with pytest.raises(AllFull, match="at their limits"):
            await places.come(1)
        assert places.lobby.waiting == 0
        places.free = 1
        await places.come(1)
        assert places.held == 1

    run(work)


def test_limits_that_time_lifts_are_looked_at_again_by_themselves() -> None:
    async def work() -> None:
        places = Places()
        places.says = AllFull("for a moment", wait=0.01)
        task = places.come(1)
        await asyncio.sleep(0)
        places.free = 1  # and nobody stirs
        async with asyncio.timeout(1):
            await task

    run(work)


def test_who_leaves_at_the_moment_of_being_served_gives_the_place_back() -> None:
    async def work() -> None:
        places = Places()
        leaver, stayer = places.come(1), places.come(2)
        await asyncio.sleep(0)
        places.hand_out(1)
        assert places.held == 1
        leaver.cancel()  # its future is resolved, it has not run yet
        await asyncio.gather(leaver, return_exceptions=True)
        assert places.held == 0
        places.hand_out(1)
        await stayer
        assert places.held == 1

    run(work)


def test_who_is_served_in_the_moment_when_his_time_is_up_gives_the_place_back() -> None:
    async def work() -> None:
        places = Places(timeout=0.02)
        task = places.come(1)
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, places.hand_out, 1)
        loop.call_soon(time.sleep, 0.03)  # both moments pass before the loop looks again
        with pytest.raises(AllFull):
            await task
        assert places.served == [1]
        assert (places.held, places.lobby.waiting) == (0, 0)

    run(work)


def test_who_has_just_left_is_passed_over() -> None:
    async def work() -> None:
        places = Places()
        leaver, stayer = places.come(1), places.come(2)
        await asyncio.sleep(0)
        leaver.cancel()  # its task has yet to hear of it
        places.hand_out(1)
        assert places.served == [2]
        await asyncio.gather(leaver, return_exceptions=True)
        await stayer
        assert (places.held, places.lobby.waiting, len(places.pool.queue)) == (1, 0, 0)

    run(work)


def test_whom_nobody_can_serve_stands_before_nobody() -> None:
    async def work() -> None:
        places = Places()
        first, second = places.come(1), places.come(1)
        await asyncio.sleep(0)
        places.says = NoUpstream("gone")
        places.lobby.stir()
        assert len(places.pool.queue) == 0
        for task in (first, second):
            with pytest.raises(NoUpstream):
                await task
        assert places.lobby.waiting == 0

    run(work)


def test_what_ends_the_waiting_otherwise_reaches_who_waits() -> None:
    async def work() -> None:
        places = Places()
        task = places.come(1)
        await asyncio.sleep(0)
        places.says = NoUpstream("gone")
        places.lobby.stir()
        with pytest.raises(NoUpstream, match="gone"):
            await task
        places.lobby.close()

    run(work)
