"""Collecting: what was made in the background and is owed is asked for, when nobody else does.

A response that is made in the background is paid for by whoever first sees its end. A client may
never come back; the provider's bill comes all the same. So every minute some of what is owed for
more than `PATIENCE` is asked for, as a request of the account that made it, with a row of its own.
What is not finished, or cannot be had now, is asked for again later; what its upstream does not
know any more is forgotten, and so is what is older than anything is known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from relayd.errors import BadCall
from relayd.lines import say
from relayd.model import Holding
from relayd.policy.keys import Caller
from relayd.relay.call import Call
from relayd.relay.nobody import NoClient
from relayd.relay.relay import Relay
from relayd.relay.sides import RawHeaders
from relayd.spool import Room, Spool
from relayd.wire.multipart import Form
from relayd.wire.paths import Target

EVERY = 60.0  # seconds between two rounds
PATIENCE = 300.0  # seconds in which a client may ask itself
AT_ONCE = 20  # asked for in one round, one after the other


class Silent(NoClient):
    """Asks, and does not listen: what comes is told by the row."""

    bytes_in = bytes_out = 0
    heard_at = 0.0
    gone = sends_form = False

    def __repr__(self) -> str:
        return "<Silent>"

    async def read_body(self) -> bytes:
        return b""

    async def read_form(self, owner: int) -> Form:
        raise BadCall("There is no form.")

    async def read_spool(self, owner: int) -> Spool:
        return Spool(Room(0))

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Nobody listens."""

    def end(self, data: bytes = b"") -> None:
        """Nobody listens."""


class Collecting:
    """Asks for what is owed.

    Arguments:
        relay: asks.
        clock: Unix seconds.
        new_id: an id for a request.
    """

    def __init__(self, relay: Relay, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._relay = relay
        self._clock = clock
        self._new_id = new_id
        self._next = 0  # debts that cannot be collected keep no other from its turn

    def __repr__(self) -> str:
        return f"<Collecting {self._relay.followups!r}>"

    async def run(self) -> None:
        """Ask for what is due, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.collect(self._clock())
            except Exception:
                say(logging.ERROR, "asking for background responses failed", exc=True)

    async def collect(self, moment: float) -> None:
        """Ask for some of what is owed for long enough; `moment` in Unix seconds."""
        debts = self._relay.followups.holdings.debts(moment - PATIENCE)
        for _ in range(min(len(debts), AT_ONCE)):
            debt = debts[self._next % len(debts)]
            self._next += 1
            caller = self._caller(debt)
            if caller is not None:
                await self._relay.serve(self._call(debt, moment), Silent(), caller)

    async def look(self, debt: Holding, caller: Caller) -> None:
        """Ask for what a caller is about to delete."""
        await self._relay.serve(self._call(debt, self._clock()), Silent(), caller)

    def _caller(self, debt: Holding) -> Caller | None:
        """The first key of the account that may use the model."""
        callers = self._relay.directory.callers()
        own = [caller for caller in callers if caller.account.id == debt.account]
        able = [caller for caller in own if caller.allows(debt.name)]
        return min(able, key=lambda caller: caller.id, default=None)

    def _call(self, debt: Holding, moment: float) -> Call:
        target = Target(
            "responses", "follow_up", stream=False, verb="responses", rest=debt.id, method="GET"
        )
        now = asyncio.get_running_loop().time()
        return Call(self._new_id(), "responses", target, "", (), now, moment, "")
