"""A `relayd serve` as a process whose every word is kept, for what it says and what it must not."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from benchmarks.processes import free_port
from tests.support.commands import Commands
from tests.support.process import PATIENCE, environment
from tests.support.raw_client import RawClient, Reply, request_bytes

METRICS_TOKEN = "metr1cs-t0ken-of-the-operator"
HEAD = """\
listen: "127.0.0.1:{port}"
keys_poll_interval: 50ms
metrics: {{token: {metrics}}}
"""


class Watched:
    """A daemon in a folder of its own, with a key; it writes its log there, if nowhere else.

    Arguments:
        config: lines of the configuration, beside the address and the metrics' token.
        stderr: a descriptor for its log.
        through: how a shell starts it: `exec "$@" 2>&-`.
    """

    def __init__(
        self, folder: Path, config: str, *, stderr: int | None = None, through: str = ""
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "config.yaml"
        self.write(config)
        made = Commands(folder / "relayd.db").json("key", "create", "k")
        self.key: str = made["secret"]
        self._log = (folder / "log").open("wb")
        words = [sys.executable, "-m", "relayd", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", through, "sh", *words] if through else words,
            stdout=self._log,
            stderr=self._log if stderr is None else stderr,
            env=environment(),
        )
        try:
            self.wait(self.is_up)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def write(self, config: str) -> None:
        """Write the configuration."""
        head = HEAD.format(port=self.port, metrics=METRICS_TOKEN)
        self.config.write_text(head + config)

    def stop(self) -> int:
        """End it, with all that it has to say; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._log.close()
        return code

    def reload(self) -> None:
        """Have it read its configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def wait(self, condition: Callable[[], object]) -> Any:
        """Wait until something is true; returns it."""
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end and self.process.poll() is None, self.text()[-5000:]
            time.sleep(0.01)
        return found

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        return "127.0.0.1", self.port

    @property
    def auth(self) -> dict[str, str]:
        """The headers of a client."""
        return {"Authorization": f"Bearer {self.key}"}

    def connect(self) -> RawClient:
        """A new connection to it."""
        return RawClient(self.address)

    # --- what is asked of it --------------------------------------------------------------------

    def send(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply | None:
        """One request, to whatever end it comes; None where that is no reply."""
        with self.connect() as client:
            client.send(request_bytes(path, body, {**self.auth, **(headers or {})}))
            with contextlib.suppress(OSError, AssertionError, EOFError):
                return client.reply()
        return None

    def ask(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        """One request that has a reply."""
        found = self.send(path, body, headers)
        assert found is not None
        return found

    def is_up(self) -> bool:
        """Whether it listens."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def status(self) -> bytes:
        """What it tells everybody."""
        with self.connect() as client:
            client.send(request_bytes("/api/status", b"", method="GET"))
            return client.reply().body

    def page(self) -> bytes:
        """Its metrics."""
        with self.connect() as client:
            told = {"Authorization": f"Bearer {METRICS_TOKEN}"}
            client.send(request_bytes("/metrics", b"", told, method="GET"))
            return client.reply().body

    def lost(self) -> int:
        """How many lines of its log were lost, by its metrics."""
        [line] = [one for one in self.page().splitlines() if one.startswith(b"relayd_log_lines_l")]
        return int(float(line.split()[-1]))

    # --- what it has said -----------------------------------------------------------------------

    def text(self) -> str:
        """Its log until now."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def said(self, words: str, **fields: object) -> dict[str, Any]:
        """Wait for the first line of its log (JSON) with these words and fields."""

        def found() -> dict[str, Any] | None:
            whole = self.text()
            for line in map(orjson.loads, whole[: whole.rfind("\n") + 1].splitlines()):
                if words in line["message"] and fields.items() <= line.items():
                    return dict(line)
            return None

        line: dict[str, Any] = self.wait(found)
        return line

    def written(self) -> dict[str, bytes]:
        """All files that it has written."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files if path != self.config}
