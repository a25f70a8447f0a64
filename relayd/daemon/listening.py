"""Where a daemon is to be reached: its listening sockets, and the file that tells commands of them;
and who is still being served when they close.

Everything that is opened here goes on the daemon's stack, so it is closed in reverse, also when a
later step fails. The control file is the exception: it goes first, before requests are waited for,
so that no command finds a daemon that is about to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from relayd import control
from relayd.config.values import Address
from relayd.daemon import settings
from relayd.lines import say
from relayd.model import Secret
from relayd.web.connection import Listener
from relayd.web.server import Front

BACKLOG = 1024


class Listening:
    """The open doors of a daemon. Owns its servers.

    Arguments:
        opened: closes them, at the latest.
    """

    def __init__(self, opened: contextlib.AsyncExitStack) -> None:
        self.metrics_address: tuple[str, int] | None = None
        self._opened = opened
        self._servers: list[asyncio.Server] = []
        self._in_control = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"<Listening {self.addresses}>"

    @property
    def addresses(self) -> list[str]:
        """Where clients are served, as URLs."""
        sockets = [sock for server in self._servers for sock in server.sockets]
        return [settings.url(sock.getsockname()) for sock in sockets]

    async def listen(
        self, addresses: Sequence[Address], factory: Callable[[], asyncio.Protocol]
    ) -> None:
        """Serve clients; OSError where an address is taken."""
        loop = asyncio.get_running_loop()
        for address in addresses:
            server = await loop.create_server(
                factory, address.host or None, address.port, backlog=BACKLOG
            )
            self._opened.callback(server.close)
            self._servers.append(server)

    async def listen_for_metrics(self, address: Address, pages: web.Server) -> None:
        """Serve the metrics page on an address of its own; OSError where that is taken."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(pages, address.host or None, address.port)
        self.metrics_address = server.sockets[0].getsockname()[:2]
        self._opened.push_async_callback(pages.shutdown, 1.0)
        self._opened.callback(pages.pre_shutdown)
        self._opened.callback(server.close)

    def take_control(self, database: Path, token: Secret) -> None:
        """Let the commands of this machine find us, by the database that they are told."""
        here = control.control_of(self.addresses, token)
        try:
            control.write(database, here)
        except OSError as exc:
            say(logging.WARNING, f"`relayd upstream` will not find this daemon: {exc}")
        else:
            self._in_control.callback(control.remove, database, here)

    def close(self) -> None:
        """Take no new connections; those that are open stay."""
        self._in_control.close()  # from now on nobody is sent to us
        for server in self._servers:
            server.close()


async def drain(front: Front, listener: Listener, seconds: float) -> None:
    """Wait until all who are served have their replies, at most for so long."""
    if front.active:
        say(logging.INFO, "waiting for requests in flight", requests=front.active)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await front.drained()
            # Answered, but not all taken by the client; socket buffers have no event for that.
            while listener.unsent() and not front.given_up:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    if front.active:
        say(logging.WARNING, "cutting requests in flight", requests=front.active)
