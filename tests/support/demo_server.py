"""The demo provider as a server of its own, in a thread: for daemons that may only speak one format
with it.
"""

from __future__ import annotations

import asyncio
import threading

from relayd.demo.provider import DemoProvider

PATIENCE = 30.0


class DemoServer:
    """A started provider. Owns its thread; `stop` ends it.

    Arguments:
        key: the credential that it asks for; with None it takes any, and keeps what each made
            apart.
    """

    def __init__(self, key: str | None = "demo-secret") -> None:
        self.key = key
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the demo provider does not start"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        provider = self.provider = DemoProvider(key=self.key)
        await provider.start("127.0.0.1", 0)
        self.url = provider.url
        self._ready.set()
        await self._stop.wait()
        await provider.close()

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the demo provider does not stop"
