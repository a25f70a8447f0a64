"""The one place that starts background tasks: each has a name and an owner that keeps a reference.

A task that dies of an exception is logged when it happens; nothing fails in silence until shutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from relayd.lines import say

T = TypeVar("T")


class Tasks:
    """Background tasks of one owner. State: the set of those still running."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Tasks {sorted(t.get_name() for t in self._running)}>"

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or `cancel` is called."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel what still runs, and wait for it."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            words = f"task {task.get_name()} died"
            say(logging.ERROR, words, exc=task.exception())


def hear(loop: asyncio.AbstractEventLoop) -> None:
    """Tell of what fails in callbacks, and in tasks that nobody keeps.

    Not as asyncio does: it writes down what the callback was called with, and that may be a piece
    of a request.
    """

    def tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        what = str(context.get("message", "an error")).partition("(")[0]
        words = f"asyncio: {what.strip()}"
        say(logging.ERROR, words, exc=context.get("exception"))

    loop.set_exception_handler(tell)


def child(work: Coroutine[None, None, T]) -> asyncio.Task[T]:
    """A task whose caller keeps it, and awaits or cancels it before returning itself."""
    return asyncio.get_running_loop().create_task(work)
