"""Asking an upstream to leave HTTP: one request on a connection of its own, and what comes of it.

An upgrade is no request like others: its connection comes from no pool and goes back to none, and
where all goes well the reply has no body but whatever the other side says from then on. An upstream
that declines answers as it answers any request, with a status and a small document.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import httptools

from relayd.ends import End
from relayd.errors import BadReply, NoAnswer, RelayError
from relayd.upstream.client import UpstreamClient

MAX_HEAD = 64 * 1024
MAX_BODY = 256 * 1024  # of a refusal

RawHeaders = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What an upstream answered: the connection, or why it declines."""

    status: int
    headers: RawHeaders
    body: bytes
    end: End | None


class Handshake:
    """One request for an upgrade. Owned by who awaits `done`; it closes what comes to nothing.

    Arguments:
        done: resolved with the answer.
    """

    def __init__(self, done: asyncio.Future[Answer]) -> None:
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._headers: RawHeaders = []
        self._body: list[bytes] = []
        self._size = 0
        self._whole = False
        self._status = 0

    def __repr__(self) -> str:
        return f"<Handshake status={self._status} bytes={self._size}>"

    # --- Receiver ---------------------------------------------------------------------------------

    def on_data(self, end: End, data: bytes) -> None:
        if self._done.done():
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(end, data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._fail(BadReply("The upstream sent something that is not valid HTTP."))
        else:
            self._go_on()

    def on_room(self, end: End) -> None:
        """A request for an upgrade is small: there was always room."""

    def on_lost(self, end: End) -> None:
        if self._done.done():
            return
        if self._status and not self._framed():  # the close is the end of the body
            self._decline()
        elif self._size:
            self._fail(BadReply("The upstream closed the connection in the middle of its reply."))
        else:
            text = "The upstream closed the connection without answering."
            self._fail(NoAnswer(text, status=502))

    # --- llhttp -----------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if 100 <= self._status < 200 and self._status != 101:  # the real answer follows
            self._headers, self._status = [], 0
        else:
            self._whole = True

    # --- the answer -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._whole:
            self._decline()
        elif not self._status and self._size > MAX_HEAD:
            self._fail(BadReply("The upstream's response headers are too large."))
        elif self._size > MAX_HEAD + MAX_BODY:
            self._fail(BadReply("The upstream's error reply is too large."))

    def _switch(self, end: End, rest: bytes) -> None:
        if self._status != 101:
            self._fail(BadReply("The upstream changes the protocol without being asked to."))
            return
        # It goes on as the end of a tunnel; until that begins, what comes is kept.
        end.leave(rest)
        self._done.set_result(Answer(101, self._headers, b"", end))

    def _decline(self) -> None:
        self._done.set_result(Answer(self._status, self._headers, b"".join(self._body), None))

    def _fail(self, problem: RelayError) -> None:
        self._done.set_exception(problem)

    def _framed(self) -> bool:
        return any(n in (b"content-length", b"transfer-encoding") for n, _ in self._headers)


async def upgrade(client: UpstreamClient, request: bytes, connect: float, within: float) -> Answer:
    """Ask for an upgrade.

    Arguments:
        request: its head.
        connect: seconds to connect.
        within: seconds for the whole answer, after that.
    Raises: UpstreamError where there is no proper answer, NoUpstream at the bound of connections.
    """
    connection = await client.lend(connect)
    assert connection.transport is not None
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    end = End(connection.transport, connection)
    answer: Answer | None = None
    try:
        end.join(Handshake(done))
        end.write(request)
        async with asyncio.timeout(within):
            answer = await done
    except TimeoutError:
        raise NoAnswer("The upstream did not answer the handshake in time.") from None
    finally:
        if answer is None or answer.end is None:
            end.abort()
    return answer
