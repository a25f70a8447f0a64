"""Waiting for what nobody announces, with an end to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], within: float = 20.0) -> None:
    """Look again and again until a condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)
