"""One coarse timer for all exchanges that share a patience: it looks at counters to find silence.

A timer per stream event would be set and cancelled a thousand times a second; this one ticks a few
times within the shortest patience, whatever happens in between, and only while there is anything
to look after.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from relayd.errors import NoAnswer, RelayError
from relayd.lines import say
from relayd.model import Timeouts


class Watched(Protocol):
    """What the watch looks after."""

    @property
    def request(self) -> str:
        """The id of the request that it is about."""

    def check(self, now: float) -> None:
        """Look for silence."""

    def give_up(self, exc: RelayError) -> None:
        """End it with an error."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence may last, in seconds.

    Arguments:
        upstream: first byte, stall and total of the upstream.
        keepalive: silence after which a stream to the client is kept alive; 0 is never.
        client: how long a client may leave its reply unread.
    """

    upstream: Timeouts
    keepalive: float = 10.0
    client: float = 120.0

    def lost(
        self, now: float, asked_at: float, sent_at: float, heard_at: float | None
    ) -> NoAnswer | None:
        """Whether an upstream is to be given up.

        Arguments:
            asked_at: when the first byte of the request went out.
            sent_at: when the last one did, as far as it has.
            heard_at: when a byte of the reply came last; None while none has.
        """
        limits = self.upstream
        if now - asked_at >= limits.total:
            return NoAnswer("The upstream took longer than the total time allowed.")
        if heard_at is None:
            if now - sent_at >= limits.first_byte:
                return NoAnswer("The upstream sent no first byte in time.")
        elif now - heard_at >= limits.stall:
            return NoAnswer("The upstream stopped sending in the middle of its reply.")
        return None


class Watch:
    """One timer for all exchanges that share a patience. It runs only while there are any.

    Silence is noticed at most a quarter of the shortest patience late.
    """

    def __init__(self, patience: Patience, loop: asyncio.AbstractEventLoop) -> None:
        self.patience = patience
        self.loop = loop
        limits = patience.upstream
        waits = (limits.first_byte, limits.stall, limits.total, patience.client)
        self._interval = max(0.01, min(*waits, patience.keepalive or limits.stall) / 4)
        self._live: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Watch live={len(self._live)} every={self._interval:g}s>"

    def join(self, exchange: Watched) -> None:
        """Look after an exchange from now on."""
        self._live.add(exchange)
        if self._timer is None:
            self._timer = self.loop.call_later(self._interval, self._tick)

    def leave(self, exchange: Watched) -> None:
        """It has ended."""
        self._live.discard(exchange)

    def _tick(self) -> None:
        self._timer = None
        if self._live:  # first of all: whatever happens below, time goes on for the others
            self._timer = self.loop.call_later(self._interval, self._tick)
        now = self.loop.time()
        for exchange in list(self._live):
            try:
                exchange.check(now)
            except Exception:
                words = "an exchange failed in relayd"
                say(logging.ERROR, words, exc=True, request=exchange.request)
                exchange.give_up(RelayError("relayd failed to handle this request."))
