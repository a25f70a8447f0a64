"""Two attempts of one request, side by side (hedging): the first with a proper reply wins.

Whichever answers first claims the client, and the other is given up, wherever it stands.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

from relayd.errors import RelayError
from relayd.relay.forward import Exchange
from relayd.relay.judge import OUR_CREDENTIAL, TRY_ELSEWHERE
from relayd.tasks import child


class Runner(Protocol):
    """An attempt, as far as a race knows it."""

    exchange: Exchange

    async def run(self) -> RelayError | None:
        """Ask, and wait until the reply has ended."""


R = TypeVar("R", bound=Runner)


class Lost(RelayError):
    """Another attempt was faster. Nobody is to blame, and nobody reads this."""

    default_code = "lost_race"


class Race(Generic[R]):
    """Two attempts of one request; the first with a proper reply wins. Owns their tasks."""

    __slots__ = ("runs", "winner")

    def __init__(self) -> None:
        self.runs: dict[asyncio.Task[RelayError | None], R] = {}
        self.winner: R | None = None

    def __repr__(self) -> str:
        return f"<Race of {len(self.runs)}, won by {self.winner!r}>"

    def start(self, attempt: R) -> None:
        """Let it run, beside the other if there is one."""
        self.runs[child(attempt.run())] = attempt

    def claim(self, attempt: R, status: int) -> bool:
        """A reply came. A failure claims nothing: the other may still do better."""
        if self.winner is None and not _is_failure(status):
            self.winner = attempt
            for task, other in self.runs.items():
                if other is not attempt:
                    other.exchange.give_up(Lost("Another attempt was faster."))
                    if not other.exchange.sent:  # nor will it be: it has yet to connect
                        task.cancel()
        return self.winner is None or self.winner is attempt


def _is_failure(status: int) -> bool:
    return status >= 500 or status in OUR_CREDENTIAL or status in TRY_ELSEWHERE
