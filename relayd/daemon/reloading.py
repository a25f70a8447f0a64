"""Reading the configuration again: one reload at a time, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from relayd.config.config import Config, ConfigProblems, load
from relayd.daemon.systemd import notify
from relayd.lines import say
from relayd.metrics.states import Reloads


class Reloading:
    """Reads the configuration again when it is asked to.

    Arguments:
        path: where the configuration is; None makes a reload a no-op.
        environ: environment variables, for the configuration and systemd.
        apply: makes a daemon go by a new configuration.
        clock: Unix seconds.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        apply: Callable[[Config], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.reloads = Reloads(clock())
        self._clock = clock
        self._path = path
        self._environ = environ
        self._apply = apply
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Reloading {self._path} {self.reloads!r}>"

    async def reload(self) -> None:
        """Read the configuration again; a bad one is reported and the old one stays."""
        if self._path is None:
            return
        notify(self._environ, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        ok = False
        async with self._one_at_a_time:
            try:
                # In a thread: thousands of prices take longer than streams may wait.
                await self._apply(await asyncio.to_thread(load, self._path, self._environ))
                ok = True
            except (ConfigProblems, OSError) as exc:
                words = "reload refused, the old configuration stays"
                say(logging.ERROR, words, problems=str(exc).splitlines())
            except Exception:
                say(logging.ERROR, "reload failed, the old configuration stays", exc=True)
            finally:
                self.reloads.note(self._clock(), ok=ok)
                notify(self._environ, "READY=1")
