"""Fixtures of the whole suite: daemons that are looked at after every test.

A daemon lives as long as its module, because starting one costs more than most tests; so after
each test the daemon must be as it was before it: no task, socket, lease or request of that test
is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.speech import FORMATS, SPEECHES, Speech

if TYPE_CHECKING:
    from tests.support.running import Running


class Daemons:
    """Starts daemons, remembers them, stops them."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self.running: list[Running] = []

    def __call__(self, config: str = 'demo: "on"\n', **more: str) -> Running:
        from tests.support.running import Running  # the pure tests do without a daemon

        running = Running(self._folder(), config, **more)  # type: ignore[arg-type]
        self.running.append(running)
        return running

    def stop(self) -> None:
        """Stop all."""
        for running in self.running:
            running.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """Starts a daemon from lines of configuration; it is stopped after the module's last test."""
    daemons = Daemons(lambda: tmp_path_factory.mktemp("relayd"))
    yield daemons
    daemons.stop()


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no daemon has anything left of it."""
    daemons = request.getfixturevalue("start") if "start" in request.fixturenames else None
    yield
    if daemons is not None:
        for running in daemons.running:
            assert running.left_over() == []


@pytest.fixture(scope="module")
def upstream_of_module() -> Iterator[ScriptedUpstream]:
    """A scripted upstream for a daemon that lives as long as the module."""
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(upstream_of_module: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    """The module's scripted upstream; connections do not outlive the test."""
    yield upstream_of_module
    upstream_of_module.hang_up()


@pytest.fixture(params=FORMATS)
def speech(request: pytest.FixtureRequest) -> Speech:
    """How clients of each wire format speak."""
    return SPEECHES[request.param]
