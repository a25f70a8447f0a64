"""Fixtures of the demo provider's tests: one provider per loop, looked at after every test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from tests.demo.serving import Serving


@pytest.fixture(scope="session", params=[asyncio.new_event_loop, uvloop.new_event_loop])
def served(request: pytest.FixtureRequest) -> Iterator[Serving]:
    serving = Serving(request.param)
    yield serving
    serving.stop()


@pytest.fixture
def demo(served: Serving) -> Iterator[Serving]:
    """A provider, once on asyncio's loop and once on uvloop; nothing is left after the test."""
    yield served
    assert served.quiet(), served.provider
