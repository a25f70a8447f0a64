"""The demo provider's server: listens, answers, counts, remembers. On any asyncio loop.

Made to be cheap, because the benchmarks run it beside their load generator: a small reply is one
write, and equal requests within one second share the bytes of their answer, which is honest because
an answer derives from nothing but the request and the second. What is remembered and what is
cached is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import orjson

from relayd.demo import handshake
from relayd.demo.connection import Connection
from relayd.demo.playback import Played, Ticker
from relayd.demo.refusal import Refusal, openai_error
from relayd.demo.reply import reply_to
from relayd.demo.routes import Call, Request, demand_key
from relayd.demo.script import Send, document, frame
from relayd.demo.shelf import Shelf

MOST_SEEN: Final = 1000
MOST_SEEN_BYTES: Final = 32 * 1024 * 1024
MOST_CACHED: Final = 128
LARGEST_CACHED: Final = 512 * 1024
# Answers without a clock are as deterministic as the rest: this is when they say they were made.
FIXED_MOMENT: Final = 1_767_225_600.0
# The request headers that an answer may depend on.
_HEEDED: Final = (
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "anthropic-version",
    "content-type",
)


class Seen:
    """The last requests, bounded in number and bytes; indexed and iterated like a list."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()
        self._bytes = 0

    def add(self, request: Request) -> None:
        """Remember one, forget the oldest beyond the bounds."""
        requests = self._requests
        requests.append(request)
        self._bytes += len(request[3])
        while len(requests) > MOST_SEEN or (self._bytes > MOST_SEEN_BYTES and len(requests) > 1):
            self._bytes -= len(requests.popleft().body)

    def clear(self) -> None:
        """Forget them all."""
        self._requests.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> Request:
        return self._requests[index]

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def __repr__(self) -> str:
        return f"Seen({len(self)} requests, {self._bytes} body bytes)"


class DemoProvider:
    """A fake provider of all four formats; owns its connections, their timers, and what it saw.

    Arguments:
        key: the credential that every request must carry, or None when none is needed.
        clock: Unix seconds, for the `created` fields; by default a fixed moment.
    """

    def __init__(
        self, key: str | None = None, *, clock: Callable[[], float] = lambda: FIXED_MOMENT
    ) -> None:
        self.requests = 0
        self.seen = Seen()
        self.shelf = Shelf()
        self._key = key
        self._clock = clock
        self._connections: set[Connection] = set()
        self._cache: dict[tuple[object, ...], Played] = {}
        self._second = 0
        self._server: asyncio.Server | None = None
        self._ticker: Ticker | None = None
        self._address = ("", 0)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, which `url` then names."""
        loop = asyncio.get_running_loop()
        ticker = self._ticker = Ticker(loop)
        self._server = await loop.create_server(
            lambda: Connection(self, loop, ticker), host, port, backlog=4096
        )
        self._address = self._server.sockets[0].getsockname()[:2]

    @property
    def url(self) -> str:
        """The root under which all formats live."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    @property
    def open_streams(self) -> int:
        """Replies that have begun, or wait to, and have not ended."""
        return sum(connection.playing for connection in self._connections)

    @property
    def cached(self) -> int:
        """Answers that equal requests of this second would share."""
        return len(self._cache)

    @property
    def waits(self) -> int:
        """Timers that replies wait for; a reply whose client left has none."""
        return self._ticker.waiting if self._ticker else 0

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None

    def answer(self, request: Request) -> Played:
        """What to play for a request; counts and remembers it."""
        self.requests += 1
        self.seen.add(request)
        moment = self._clock()
        if int(moment) != self._second:
            self._cache.clear()
            self._second = int(moment)
        if len(request[3]) > LARGEST_CACHED:
            return self._played(request, moment)[0]
        heeded = request.headers.get
        # What is kept answers too: what was forgotten since makes an earlier answer untrue.
        key = (request[0], request[1], request[3], self.shelf.changes, *map(heeded, _HEEDED))
        played = self._cache.get(key)
        if played is None:
            played, shared = self._played(request, moment)
            if shared:
                self._remember(key, played)
        return played

    def _played(self, request: Request, moment: float) -> tuple[Played, bool]:
        """What to play, and whether equal requests may share it."""
        try:
            script = reply_to(request, self._key, moment, self.shelf)
        except Exception as error:  # a fault of ours is answered as a provider would answer it
            refusal = Refusal(500, f"The demo provider has a bug: {type(error).__name__}")
            script = document(500, orjson.dumps(openai_error(refusal)), [])
        steps = frame(script, bodiless=request.method == "HEAD")
        return Played(steps, script.fresh_only), script.shared

    def _remember(self, key: tuple[object, ...], played: Played) -> None:
        # Steps may be shared within a script: each is counted once, and 8 bytes for every mention.
        distinct = {id(step): len(step.data) for step in played.steps if isinstance(step, Send)}
        size = sum(distinct.values()) + 8 * len(played.steps)
        if size <= LARGEST_CACHED and len(self._cache) < MOST_CACHED:
            self._cache[key] = played

    def admit(self, request: Request) -> str:
        """The model of a realtime session; raises Refusal. Counts and remembers the request."""
        self.requests += 1
        self.seen.add(request)
        if self._key is not None:
            demand_key(Call("chat", "unknown"), request, self._key)
        return handshake.check(request)

    def joined(self, connection: Connection) -> None:
        """A connection opened."""
        self._connections.add(connection)

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def __repr__(self) -> str:
        return (
            f"DemoProvider({self.url}, {self.connections} connections, "
            f"{self.open_streams} open streams, {self.requests} requests)"
        )
