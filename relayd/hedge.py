"""Hedging: a second upstream is asked when the first has sent nothing after its usual time.

Two attempts then run beside each other for one request. The first with bytes of a proper reply
claims the client (`Race`), the other is cancelled at its upstream, and only the winner's usage is
entered. An attempt that fails while the other still runs is told to its own key and forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relayd.attempt import Attempt, Lost, Race
from relayd.errors import ClientGone, RelayError
from relayd.tasks import child

Runs = dict["asyncio.Task[RelayError | None]", Attempt]
Ended = Callable[[Attempt, RelayError], None]


async def hedged(
    first: Attempt,
    race: Race,
    delay: float,
    second: Callable[[], Attempt | None],
    ended: Ended,
) -> tuple[Attempt, RelayError | None]:
    """Run an attempt, and another one beside it where the first is slow.

    Arguments:
        race: that of the first attempt.
        delay: seconds to wait for the first byte.
        second: makes the other attempt, or None when there is nobody to ask.
        ended: told of an attempt that failed, or lost, beside the one that is returned.
    Returns: the attempt that stands, and what went wrong with it, if anything did.
    """
    runs: Runs = {child(first.run()): first}
    try:
        await asyncio.wait(runs, timeout=delay)
        if first.exchange.first_byte_at is None and not first.exchange.done.done():
            other = second()
            if other is not None:
                runs[child(other.run())] = other
        while True:
            done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                attempt, problem = runs.pop(task), task.result()
                if attempt is race.winner or not runs:
                    return attempt, problem
                assert problem is not None
                ended(attempt, problem)
    finally:
        await _end(runs, race, ended)


async def _end(runs: Runs, race: Race, ended: Ended) -> None:
    """End what still runs. The winner's exchange is left to whoever cancelled us."""
    for task, attempt in runs.items():
        if attempt is not race.winner:
            attempt.exchange.leave(served=False)
            problem = task.result() if task.done() else None
            ended(attempt, problem or _why(race))
        task.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    race.runners.clear()


def _why(race: Race) -> RelayError:
    """Why an attempt is ended: it has lost, or the client has left both."""
    if race.winner is None:
        return ClientGone("The client left.")
    return Lost("Another attempt was faster.")
