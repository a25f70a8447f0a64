"""An upstream that answers every request by a function, for tests that look at who was asked what.

Each connection has a thread. The function may be exchanged at any time, so a test makes the
upstream fail and recover by one assignment; `asked` keeps the requests in the order they came.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable

from tests.support.scripted_upstream import PATIENCE, Asked, Peer

Answer = Callable[[Asked], bytes]


class AnsweringUpstream:
    """Listens, answers, remembers. Owns its threads and sockets; `close` ends them all.

    Arguments:
        answer: a whole response, as bytes, for each request.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def keys(self) -> list[str]:
        """The credentials of the requests so far, which are forgotten."""
        asked, self.asked = self.asked, []
        return [credential(one) for one in asked]

    def shares(self) -> Counter[str]:
        """How often each credential came, of the requests so far, which are forgotten."""
        return Counter(self.keys())

    def close(self) -> None:
        """Hang up on everybody."""
        for one in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the upstream still answers"
        for one in (self._listener, *self._connections):
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
            self._connections.append(connection)
            self._spawn(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        peer = Peer(connection)
        connection.settimeout(None)
        while True:
            asked = peer.read_request()
            self.asked.append(asked)
            peer.send(self.answer(asked))


def credential(asked: Asked) -> str:
    """The key that a request carries, wherever its format carries it."""
    headers = asked.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return bearer or headers.get("x-api-key") or headers.get("x-goog-api-key", "")
