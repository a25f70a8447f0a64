"""Fixtures of the whole suite: daemons that are looked at after every test.

A daemon lives as long as its module, because starting one costs more than most tests; so after
each test the daemon must be as it was before it: no task, socket, lease or request of that test
is left.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.speech import FORMATS, SPEECHES, Speech

if TYPE_CHECKING:
    from tests.support.running import Running


# A machine that is busy with something else makes no test wrong. Each run looks at other examples.
settings.register_profile(
    "usual",
    max_examples=int(os.environ.get("RELAYD_EXAMPLES") or 50),
    deadline=None,
    # To explain a failure line by line takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("usual")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Thousands of tests stay until the end: while they come about the garbage collector has
    nothing to do, and afterwards it need not look at them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every client of a library reads the certificates of all the world's authorities, which takes
    longer than the test. No test goes out into the world: the first of them will do."""
    mark = "-----END CERTIFICATE-----"
    first, found, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(mark)
    file = tmp_path_factory.mktemp("authority") / "one.pem"
    file.write_text(f"{first}{found}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


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
