"""A store of its own for each test, of each backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.store.base import Store
from tests.store.backends import BACKENDS, Opener, Run


@pytest.fixture(params=BACKENDS)
def opener(request: pytest.FixtureRequest) -> Opener:
    """What opens a store at a path."""
    return BACKENDS[request.param]


@pytest.fixture
def run(opener: Opener, tmp_path: Path) -> Run:
    """Run a test's steps on a store of its own, which is closed whatever happens."""

    def run(steps: Callable[[Store], Awaitable[Any]]) -> Any:
        async def opened() -> Any:
            store = await opener(tmp_path / "relayd.db")
            try:
                return await steps(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    return run
