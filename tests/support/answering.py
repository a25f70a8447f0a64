"""An upstream that answers every request by a function, for tests that look at who was asked what.

Each connection has a thread. The function may be exchanged at any time, so a test makes the
upstream fail and recover by one assignment; `asked` keeps the requests in the order they came.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from tests.support.listening import Listening
from tests.support.scripted_upstream import Asked, Peer

Answer = Callable[[Asked], bytes]


class AnsweringUpstream(Listening):
    """Listens, answers, remembers.

    Arguments:
        answer: a whole response, as bytes, for each request.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        super().__init__()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> list[str]:
        """The credentials of the requests so far, which are forgotten."""
        asked, self.asked = self.asked, []
        return [credential(one) for one in asked]

    def shares(self) -> Counter[str]:
        """How often each credential came, of the requests so far, which are forgotten."""
        return Counter(self.keys())

    def serve(self, connection: socket.socket) -> None:
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
