"""The parts around a relay, each reduced to what it was told: client, upstream, ledger, meter.

They share one list of what happened, in order, so that a test can assert what came before what.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relayd.accounts import DEFAULT_GROUP, Account, Group, Key
from relayd.errors import BadCall, RelayError
from relayd.ledger.journal import JournalFull
from relayd.ledger.lines import Opening
from relayd.model import (
    Entry,
    FormatName,
    ModelRule,
    Secret,
    UpstreamKey,
    UpstreamSpec,
)
from relayd.policy.admission import Admission
from relayd.policy.balances import Balances
from relayd.policy.calendar import Calendar
from relayd.policy.estimate import Estimates
from relayd.policy.keys import Directory
from relayd.policy.pools import Pools
from relayd.policy.prices import Price, PriceBook
from relayd.relay.call import Call
from relayd.relay.relay import Relay
from relayd.relay.till import Till
from relayd.relay.translation import Translator
from relayd.routing import BreakerRules, RetryRules, Routing
from relayd.upstream.provider import Provider
from relayd.wire.multipart import Form, Held, form_of
from relayd.wire.paths import Target, locate
from tests.support.forms import CONTENT_TYPE

SECRET = "sk-relayd-test"
RawHeaders = list[tuple[bytes, bytes]]


class NotingClient:
    """A client that notes what it is sent. Its body is given; it may fail or wait instead."""

    def __init__(self, happened: list[str], body: bytes) -> None:
        self.happened = happened
        self.body: bytes | RelayError | asyncio.Future[bytes] = body
        self.bytes_in = 0
        self.heard_at = 0.0
        self.bytes_out = 0
        self.status = 0
        self.headers: RawHeaders = []
        self.received = b""
        self.paused = False
        self.gone = False
        self.resume: Callable[[], None] | None = None

    async def read_body(self) -> bytes:
        if isinstance(self.body, RelayError):
            raise self.body
        body = self.body if isinstance(self.body, bytes) else await self.body
        self.bytes_in = len(body)
        return body

    @property
    def sends_form(self) -> bool:
        return isinstance(self.body, bytes) and self.body.startswith(b"--")

    async def read_form(self, owner: int) -> Form:
        return form_of(CONTENT_TYPE, await self.read_body())

    async def read_spool(self, owner: int) -> Held:
        return Held(await self.read_body())

    def on_drain(self, resume: Callable[[], None]) -> None:
        self.resume = resume

    def start(self, status: int, headers: RawHeaders, length: int | None) -> None:
        self.status, self.headers = status, headers
        self.happened.append("client: head")

    def write(self, data: bytes) -> bool:
        self.received += data
        self.bytes_out += len(data)
        self.happened.append("client: bytes")
        return self.paused

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self.status, self.headers, self.received = status, headers, body
        self.happened.append("client: whole reply")

    def end(self, data: bytes = b"") -> None:
        self.received += data
        self.happened.append("client: end")

    def abort(self) -> None:
        self.happened.append("client: aborted")


class NotingConnection:
    """An upstream connection that notes what is done to it."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened

    def pause(self) -> None:
        self.happened.append("upstream: paused")

    def resume(self) -> None:
        self.happened.append("upstream: resumed")

    def abort(self) -> None:
        self.happened.append("upstream: aborted")

    def detach(self, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        self.happened.append("upstream: detached")


class NotingPool:
    """An upstream's connections: each opening hands its sink to the test, or fails as told."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened
        self.sinks: list[Any] = []
        self.requests: list[bytes] = []
        self.fails: list[Exception] = []
        self.idle = 0
        self.connects: asyncio.Event | None = None  # no connection comes about before it is set
        self.asked = asyncio.Event()

    def reuse(self, pieces: Sequence[bytes | memoryview], sink: Any, upload: Any = None) -> Any:
        if not self.idle:
            return None
        self.idle -= 1
        return self._lend(pieces, sink, "upstream: asked on an idle connection")

    async def open(
        self,
        pieces: Sequence[bytes | memoryview],
        sink: Any,
        connect_timeout: float | None = None,
        upload: Any = None,
    ) -> Any:
        if self.fails:
            raise self.fails.pop(0)
        if self.connects is not None:
            self.happened.append("upstream: connecting")
            await self.connects.wait()
        return self._lend(pieces, sink, "upstream: asked on a new connection")

    def _lend(self, pieces: Sequence[bytes | memoryview], sink: Any, what: str) -> NotingConnection:
        self.happened.append(what)
        self.requests.append(b"".join(bytes(piece) for piece in pieces))
        self.sinks.append(sink)
        self.asked.set()
        return NotingConnection(self.happened)

    async def next_sink(self) -> Any:
        """The sink of the next request."""
        await self.asked.wait()
        self.asked.clear()
        return self.sinks[-1]


class NotingLedger:
    """A usage log in memory."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened
        self.rows: list[Entry] = []
        self.full = self.crowded = False
        self.openings: list[Opening] = []

    def open(self, opening: Opening) -> None:
        if self.full:
            raise JournalFull("no room")
        self.openings.append(opening)

    def add(self, entry: Entry) -> None:
        self.rows.append(entry)
        self.happened.append("row")


class NotingMeter:
    """Counts settlements by rule."""

    def __init__(self) -> None:
        self.rules: list[str] = []
        self.overheads: list[float] = []
        self.attempts: list[tuple[str, str, str]] = []
        self.happened: list[tuple[str, str]] = []
        self.translations: list[tuple[str, str, str, tuple[str, ...]]] = []

    def settle(self, entry: Entry, rule: str, waited: float | None = None) -> None:
        self.rules.append(rule)

    def overhead(self, format_name: str, seconds: float) -> None:
        self.overheads.append(seconds)

    def retry(self, reason: str) -> None:
        self.happened.append(("retry", reason))

    def hedge(self, *, won: bool) -> None:
        self.happened.append(("hedge", "second" if won else "first"))

    def fallback(self, upstream: str) -> None:
        self.happened.append(("fallback", upstream))

    def limited(self, limit: str) -> None:
        self.happened.append(("limited", limit))

    def session(self, by: str, outcome: str, seconds: float) -> None:
        self.happened.append((by, outcome))

    def attempt(self, upstream: str, key: str, result: str) -> None:
        self.attempts.append((upstream, key, result))

    def translated(self, client: str, upstream: str, outcome: str, dropped: Sequence[str]) -> None:
        self.translations.append((client, upstream, outcome, tuple(dropped)))


ONE_ATTEMPT = Routing(retries=RetryRules(attempts=1), breaker=BreakerRules(enabled=False))


class Stage:
    """A relay with all its parts. Each upstream knows `public` as `private`; the first is `up`.

    Arguments:
        names: of the upstreams, in the order in which they are asked.
        fallback: a model that the last of them offers alone.
        group: of the account.
        prices: of models.
        formats: what upstreams speak, by name; the others speak all.
        translator: for those that do not speak a client's format.
    """

    def __init__(
        self,
        keepalive: float = 10.0,
        routing: Routing = ONE_ATTEMPT,
        names: Sequence[str] = ("up",),
        fallback: str = "",
        *,
        group: Group = DEFAULT_GROUP,
        prices: Sequence[tuple[str, Price]] = (),
        formats: Mapping[str, tuple[FormatName, ...]] | None = None,
        translator: Translator | None = None,
    ) -> None:
        self.happened: list[str] = []
        self.ledger = NotingLedger(self.happened)
        self.meter = NotingMeter()
        specs = [_spec(name, tier) for tier, name in enumerate(names, 1)]
        specs = [replace(s, formats=(formats or {}).get(s.name, s.formats)) for s in specs]
        if fallback:
            specs[-1] = replace(specs[-1], models=(ModelRule(fallback),))
        self.connections = {spec.name: NotingPool(self.happened) for spec in specs}
        self.pool = self.connections[names[0]]
        providers: dict[str, Any] = {spec.name: Provider(spec) for spec in specs}
        for name, provider in providers.items():
            provider.outlet("1", 0).client = self.connections[name]
        digest = hashlib.sha256(SECRET.encode()).digest()
        key = Key(7, "k", Account(3, "a"), digest, SECRET[:12], 0.0)
        self.pools = Pools(specs, routing, random.Random(1))
        calendar = Calendar()
        self.balances = Balances()
        admission = Admission(self.balances, calendar)
        self.till = Till(admission, Estimates(), self.ledger, PriceBook(prices), calendar)
        self.relay = Relay(
            Directory([key], [group]),
            self.pools,
            providers,
            self.till,
            self.meter,
            translator=translator,
            keepalive=keepalive,
        )

    def client(self, body: bytes) -> NotingClient:
        """A client with a body."""
        return NotingClient(self.happened, body)

    def serve(
        self, client: NotingClient, path: str = "/v1/chat/completions", credential: str = SECRET
    ) -> asyncio.Task[None]:
        """Serve a request in a task."""
        loop = asyncio.get_running_loop()
        bare, _, query = path.partition("?")
        target = locate("POST", bare, query)
        assert target is None or isinstance(target, Target)
        name: FormatName = target.format if target else "chat"
        call = Call("req_1", name, target, credential, [], loop.time(), 1.0, path)
        return loop.create_task(self.relay.serve(call, client))

    @property
    def row(self) -> Entry:
        """The one row."""
        assert len(self.ledger.rows) == 1, self.ledger.rows
        return self.ledger.rows[0]

    @property
    def in_flight(self) -> int:
        """Leases held."""
        return sum(door.in_flight for door in self.pools.doors.values())


def _spec(name: str, tier: int) -> UpstreamSpec:
    return UpstreamSpec(
        name,
        "relay",
        (f"http://{name}.test",),
        (UpstreamKey("1", Secret("own")),),
        (ModelRule("public", "private"), ModelRule("same"), ModelRule("wild-*")),
        ("chat", "responses", "messages", "gemini"),
        tier=tier,
    )


async def settled(task: asyncio.Task[None]) -> None:
    """Wait for a request to end, however it ends."""
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)


TOO_LARGE = BadCall("too large", status=413)
