"""relayd as a process of its own, for what only a process can show: signals, exit codes, its
output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from tests.support.raw_client import RawClient

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
# With one authority instead of the world's a process starts the sooner (`one_authority`).
KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE")


def environment(**more: str) -> dict[str, str]:
    """The variables of a process that must not know the developer's own."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def command(
    *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `relayd words…` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**(environ or {})),
        check=False,
    )


class Process:
    """A running `relayd words…`. Ends with the `with` block, killed if it must be."""

    def __init__(self, *words: str, environ: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relayd", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**(environ or {})),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def line(self) -> str:
        """The next line of its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def logged(self, text: str) -> str:
        """Read its log up to the line that holds `text`, and return that line."""
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"never logged: {text!r}, only {''.join(seen)}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def exit_code(self, within: float = PATIENCE) -> int:
        """Wait for its end."""
        return self._process.wait(within)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None


class Demo(Process):
    """`relayd demo --json`: an address, a key, a fake provider."""

    def __init__(self) -> None:
        super().__init__("demo", "--listen", "127.0.0.1:0", "--json")
        announced = orjson.loads(self.line())
        self.base_url: str = announced["base_url"]
        self.key: str = announced["key"]
        self.admin_token: str = announced["admin_token"]

    def connect(self) -> RawClient:
        """A new connection to it."""
        host, _, port = self.base_url.removeprefix("http://").rpartition(":")
        return RawClient((host, int(port)))

    @property
    def auth(self) -> dict[str, str]:
        """The headers of a client."""
        return {"Authorization": f"Bearer {self.key}"}


def refuses(address: tuple[str, int], within: float = 3.0) -> bool:
    """Whether a listener goes away in time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            RawClient(address).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.01)
    return False
