"""A listener on loopback with a thread for each connection, for fakes that serve in threads.

`Listening` is what fakes of servers share: they listen, they are connected to, and in the end
everybody is hung up on and every thread must have ended. What is served is the subclass's.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Self

from tests.support.scripted_upstream import PATIENCE


class Listening(ABC):
    """Listens at once. Owns its threads and sockets; `close` ends them all."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._spawn(self._accept)

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Serve one connection, in its own thread. OSError and EOFError end it quietly."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everybody, and wait for the threads."""
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{self!r} still serves"
        for one in (self._listener, *self._sockets):
            one.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        def quietly() -> None:
            with contextlib.suppress(OSError, EOFError):
                work()

        thread = threading.Thread(target=quietly, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            self._spawn(partial(self.serve, connection))
