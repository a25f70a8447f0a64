"""Hedging: a second upstream is asked when the first has sent nothing after its usual time.

Two attempts then run beside each other for one request. The first that answers claims the client
(`Race`), the other is cancelled at its upstream, and only the winner's usage is entered. An attempt
that fails while the other still runs is told to its own key and forgotten. What a key learns of a
race that it lost is `lesson`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relayd.errors import ClientGone, NoAnswer, RelayError
from relayd.relay.attempt import Attempt
from relayd.relay.race import Lost, Race

USUAL = 0.95  # the share of first bytes that come within the time after which one is hedged

Run = asyncio.Task[RelayError | None]
Ended = Callable[[Attempt, RelayError], None]


async def hedged(
    first: Attempt,
    race: Race[Attempt],
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
    runs = race.runs
    race.start(first)
    try:
        done, _ = await asyncio.wait(runs, timeout=delay)
        if not done and first.exchange.first_byte_at is None:
            other = second()
            if other is not None:
                race.start(other)
        while True:
            done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                problem = _problem(task)  # raises what is a bug of ours; then all of them are ended
                attempt = runs.pop(task)
                if problem is None or attempt is race.winner or not runs:
                    return attempt, problem
                ended(attempt, problem)
    finally:
        await _end(race, ended)


def lesson(attempt: Attempt, problem: RelayError, now: float) -> RelayError:
    """What an attempt's end teaches its key.

    One that lost is to blame only where it was silent for longer than is usual for it. Were that
    nothing, a silent upstream would never be found out; were it less, a backup would be blamed for
    having been asked late; and while its client's pictures are fetched, it has not been asked. And
    its time until then counts among the others, or else what is usual would be taken of the
    winners, and become ever shorter.
    """
    if not isinstance(problem, Lost) or attempt.is_preparing:
        return problem
    quantiles, exchange = attempt.lease.door.quantiles, attempt.exchange
    usual, waited = quantiles.quantile(USUAL), now - exchange.sent_at
    if exchange.first_byte_at is not None or usual is None or waited < usual:
        return problem
    quantiles.observe(waited)
    return NoAnswer("It was slower than another attempt.")


def _problem(task: Run) -> RelayError | None:
    """What went wrong with an attempt; whoever was cancelled, before it had sent anything, lost."""
    return Lost("Another attempt was faster.") if task.cancelled() else task.result()


async def _end(race: Race[Attempt], ended: Ended) -> None:
    """End what still runs. The winner's exchange is left to whoever cancelled us."""
    for task, attempt in race.runs.items():
        if attempt is not race.winner:
            attempt.exchange.leave(served=False)
            ended(attempt, _told(task) or _why(race))
        task.cancel()
    await asyncio.gather(*race.runs, return_exceptions=True)
    race.runs.clear()


def _told(task: Run) -> RelayError | None:
    """What went wrong with an attempt, as far as it came to saying so."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def _why(race: Race[Attempt]) -> RelayError:
    """Why an attempt is ended: it has lost, or the client has left both."""
    if race.winner is None:
        return ClientGone("The client left.")
    return Lost("Another attempt was faster.")
