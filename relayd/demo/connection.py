"""One connection of the demo provider: HTTP/1.1 over asyncio.Protocol, parsed by httptools.

A small reply is one write; anything longer is played by a Playback. Requests that come while one is
in play wait their turn. Bodies, headers and waiting requests are bounded; what goes beyond is
refused, and the connection closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Final, Protocol, cast

import httptools
import orjson

from relayd.demo.handshake import is_session
from relayd.demo.playback import Playback, Played, Ticker
from relayd.demo.realtime import Session
from relayd.demo.refusal import Refusal, openai_error
from relayd.demo.routes import Request
from relayd.demo.script import Close, Leave, Send, Step, document, frame

MOST_BODY: Final = 64 * 1024 * 1024
MOST_HEADERS: Final = 64 * 1024
MOST_PIPELINED: Final = 32


class Answering(Protocol):
    """What a connection belongs to."""

    def answer(self, request: Request) -> Played:
        """What to play for a request."""

    def admit(self, request: Request) -> str:
        """The model of a realtime session; raises Refusal."""

    def joined(self, connection: Connection) -> None:
        """A connection opened."""

    def left(self, connection: Connection) -> None:
        """A connection is gone."""


class Connection(asyncio.Protocol):
    """One client connection; owns its parser, the unanswered requests, and the reply in play."""

    def __init__(
        self, provider: Answering, loop: asyncio.AbstractEventLoop, ticker: Ticker
    ) -> None:
        self._provider = provider
        self._loop = loop
        self._ticker = ticker
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._playback: Playback | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._served = 0
        self._full = False
        self._last = False
        self._session: Session | None = None
        self._path = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def playing(self) -> bool:
        """Whether a reply is being played."""
        speaking = self._session is not None and self._session.speaking
        return self._playback is not None or speaking

    # the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's: a cast, because a check would fail.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._provider.joined(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._session is not None:
            self._session.feed(data)
            return
        if self._last:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            reason = error.__context__ if isinstance(error.__context__, Refusal) else None
            self._refuse(reason or Refusal(400, "This is not an HTTP request."))

    def eof_received(self) -> bool:
        # Nobody reads on: what is in play is dropped, rather than written into the void.
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        """Let go of everything; may be called twice."""
        self._stay()
        if self._playback is not None:
            self._playback.cancel()
            self._playback = None
        if self._session is not None:
            self._session.end()
            self._session = None
        self._waiting.clear()
        self._provider.left(self)
        self._parser = None
        self._transport = None

    def pause_writing(self) -> None:
        self._full = True
        if self._session is not None:
            self._session.pause()
        if self._playback is not None:
            self._playback.pause()

    def resume_writing(self) -> None:
        self._full = False
        if self._session is not None:
            self._session.resume()
        elif self._playback is not None:
            self._playback.resume()
        else:
            self._next()

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()
            self._end()

    # the parser's calls

    def on_message_begin(self) -> None:
        if self._leaving is not None:
            self._stay()
        self._path = b""
        self._headers = {}
        self._header_bytes = 0
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._path += url
        self._header_bytes += len(url)
        if self._header_bytes > MOST_HEADERS:
            raise Refusal(431, "The request's path is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MOST_HEADERS:
            raise Refusal(431, "The request's headers are too large.")
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        if len(length) > 7 and length.isdecimal() and int(length) > MOST_BODY:
            raise Refusal(413, "The request's body is too large.")
        if self._parser.should_upgrade() and not is_session(self._request(b"")):
            raise Refusal(400, "This server upgrades connections for realtime sessions only.")
        if "expect" in self._headers and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MOST_BODY:
            raise Refusal(413, "The request's body is too large.")
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # `data_received` hears of it next
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = self._request(body)
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._body = []
        if len(self._waiting) > MOST_PIPELINED:
            raise Refusal(400, "Too many pipelined requests.")
        if self._playback is None and not self._full:
            self._next()

    def _request(self, body: bytes) -> Request:
        method = self._parser.get_method().decode()
        return Request(method, self._path.decode("latin-1"), self._headers, body)

    # answering

    def _switch(self, rest: bytes) -> None:
        """Begin a realtime session, if it is to be had."""
        request, transport = self._request(b""), self._transport
        if transport is None:
            return
        try:
            model = self._provider.admit(request)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._session = Session(request, model, transport, self._loop)
        self._session.open()
        self._session.feed(rest)

    def _next(self) -> None:
        """Answer what waits, in order, as far as replies are played in one go."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while self._waiting and self._playback is None:
            request, keep_alive = self._waiting.popleft()
            played = self._provider.answer(request)
            self._served += 1
            if played.fresh_only and self._served > 1:
                self._play((Close(),), transport)
                return
            steps = played.steps if keep_alive else (*played.steps, Close())
            if len(steps) == 1 and isinstance(steps[0], Send):
                transport.write(steps[0].data)
            else:
                self._play(steps, transport)

    def _play(self, steps: tuple[Step, ...], transport: asyncio.Transport) -> None:
        def ended() -> None:
            self._playback = None
            if isinstance(steps[-1], Leave):
                self._leaving = self._loop.call_later(steps[-1].seconds, self._leave)
            if self._waiting:
                self._loop.call_soon(self._next)

        self._playback = Playback(steps, transport, self._ticker, self._loop, ended)
        self._playback.play()

    def _leave(self) -> None:
        self._leaving = None
        if self._transport is not None and self._playback is None:
            self._transport.close()

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _refuse(self, refusal: Refusal) -> None:
        """Say what is wrong with the HTTP of a request, and hang up."""
        self._last = True
        self._waiting.clear()
        if self._transport is not None and self._playback is None:
            body = orjson.dumps(openai_error(refusal))
            (step,) = frame(document(refusal.status, body, [("connection", "close")]))
            if isinstance(step, Send):
                self._transport.write(step.data)
        if self._transport is not None:
            self._transport.close()

    def __repr__(self) -> str:
        return f"Connection({self._served} served, {self._playback or 'idle'})"
