"""The records of one request on its way, and what the relay asks of its surroundings.

A `Call` is what the client asked for; `Work` gathers what becomes known, chapter by chapter,
because `settle` must be able to end the request wherever it stands. The protocols say the little
that the relay needs of a client, a ledger and a meter: the web side and the daemon bring the real
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relayd.forward import ClientSide, Exchange, RawHeaders, Watch
from relayd.model import Entry, FormatName
from relayd.policy.pools import Lease
from relayd.upstream.provider import Provider
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.paths import Target


class Client(ClientSide, Protocol):
    """The client's side of a request: its body, and where the reply goes."""

    bytes_in: int
    bytes_out: int

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""

    async def read_body(self) -> bytes:
        """The whole body, within the limits; raises BadCall."""

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send a whole response."""

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes of a started response and end it."""


class Ledger(Protocol):
    """Where rows go."""

    @property
    def full(self) -> bool: ...

    def add(self, entry: Entry) -> None: ...


class Meter(Protocol):
    """Where counts go."""

    def settle(self, entry: Entry, rule: str) -> None: ...


class Call(NamedTuple):
    """What a client asked for, before its body is read."""

    request_id: str
    format: FormatName
    target: Target | None
    credential: str
    headers: Iterable[tuple[bytes, bytes]]
    started: float
    started_at: float
    path: str


@dataclass(slots=True)
class Work:
    """One request on its way: what `settle` needs to know, filled in as it becomes known."""

    call: Call
    client: Client
    entry: Entry
    rule: str = ""
    lease: Lease | None = None
    head: Head | None = None
    exchange: Exchange | None = None
    observer: Passthrough | None = None
    provider: Provider | None = None
    watch: Watch | None = None


class Last(NamedTuple):
    """The last act of a request: what sends its last bytes, and how many they are."""

    act: Callable[[], None]
    size: int = 0
