"""Playing scripts to transports, all waits on one timer.

Hundreds of streams that each wait 20 ms would be tens of thousands of loop timers a second. The
`Ticker` keeps them in slots of a millisecond instead, and arms one timer for the next slot that is
not empty. A stream keeps its own due time, so its rate does not drift with the slots' coarseness.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, NamedTuple

from relayd.demo.script import FOREVER, Leave, Reset, Send, Step, Wait

SLOTS_PER_SECOND: Final = 1000
# A stream that fell behind by more than this (its client did not read) starts its rhythm anew.
_FORGIVEN: Final = 0.5
_LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Played(NamedTuple):
    """A framed script, ready to be played any number of times."""

    steps: tuple[Step, ...]
    fresh_only: bool


class Ticker:
    """Owns every wait of a provider, by slot; a slot is a millisecond of the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, dict[Playback, None]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0

    @property
    def waiting(self) -> int:
        """How many playbacks wait."""
        return sum(map(len, self._slots.values()))

    def add(self, playback: Playback, due: float) -> int:
        """Call `playback.play` at this moment of the loop's clock; returns the slot."""
        number = math.ceil(due * SLOTS_PER_SECOND)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            heappush(self._order, number)
            if self._timer is None or number < self._armed:
                self._arm(number)
        slot[playback] = None
        return number

    def remove(self, playback: Playback, number: int) -> None:
        """Forget a wait; without any left, no timer stays armed."""
        slot = self._slots.get(number)
        if slot is not None and playback in slot:
            del slot[playback]
            if not slot:
                del self._slots[number]
        if not self._slots:
            self._order.clear()
            self._disarm()

    def _arm(self, number: int) -> None:
        self._disarm()
        self._armed = number
        self._timer = self._loop.call_at(number / SLOTS_PER_SECOND, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        # A loop may call a hair early; the slot that was armed is due in any case.
        now = max(self._armed, int(self._loop.time() * SLOTS_PER_SECOND))
        while self._order and self._order[0] <= now:
            for playback in self._slots.pop(heappop(self._order), ()):
                playback.play()
        if self._order and self._timer is None:
            self._arm(self._order[0])

    def __repr__(self) -> str:
        return f"Ticker({self.waiting} waiting in {len(self._slots)} slots)"


class Playback:
    """Plays the steps of one reply; owns where it stands, and the wait that it is in."""

    __slots__ = (
        "_at",
        "_due",
        "_ended",
        "_leaving",
        "_loop",
        "_paused",
        "_slot",
        "_steps",
        "_ticker",
        "_transport",
        "_turn",
    )

    def __init__(
        self,
        steps: tuple[Step, ...],
        transport: asyncio.Transport,
        ticker: Ticker,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._transport = transport
        self._ticker = ticker
        self._loop = loop
        self._ended: Callable[[], None] | None = ended
        self._at = 0
        self._due = 0.0
        self._slot = -1
        self._turn: asyncio.Handle | None = None
        self._paused = False

    def play(self) -> None:
        """Go on with the steps, until one waits, the transport is full, or they end."""
        steps = self._steps
        self._slot = -1
        self._turn = None
        while self._ended is not None and self._at < len(steps):
            step = steps[self._at]
            self._at += 1
            if type(step) is Send:
                self._transport.write(step.data)
                if self._paused:
                    return
            elif type(step) is Wait:
                return self._wait(step.seconds)
            else:
                return self._finish(step)
        self._finish(None)

    def pause(self) -> None:
        """The transport is full: write nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """The transport has drained."""
        self._paused = False
        if self._slot < 0 and self._turn is None:
            self._turn = self._loop.call_soon(self.play)

    def cancel(self) -> None:
        """Stop for good: no timer of it stays, and it tells nobody."""
        self._ended = None
        if self._slot >= 0:
            self._ticker.remove(self, self._slot)
            self._slot = -1
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _wait(self, seconds: float) -> None:
        if seconds == 0:
            self._turn = self._loop.call_soon(self.play)
        elif seconds != FOREVER:
            now = self._loop.time()
            if self._due < now - _FORGIVEN:
                self._due = now
            self._due += seconds
            self._slot = self._ticker.add(self, self._due)

    def _finish(self, step: Step | None) -> None:
        ended, self._ended = self._ended, None
        if isinstance(step, Reset):
            reset(self._transport)
        elif step is not None and not isinstance(step, Leave):
            self._transport.close()
        if ended is not None:
            ended()

    def __repr__(self) -> str:
        state = "ended" if self._ended is None else "paused" if self._paused else "playing"
        return f"Playback({state}, step {self._at} of {len(self._steps)})"


def reset(transport: asyncio.Transport) -> None:
    """Abort a connection so that the peer sees a TCP RST, not an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
