"""The records of one request on its way, and what the relay asks of its books.

`Work` gathers what becomes known, chapter by chapter, because `settle` must be able to end the
request wherever it stands. The protocols say the little that the relay needs of a ledger and a
meter: the daemon brings the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relayd.attempt import Attempt
from relayd.call import Call, Client
from relayd.errors import RelayError
from relayd.forward import Exchange
from relayd.model import Entry, FormatName
from relayd.policy.admission import Grant
from relayd.policy.attempts import Attempts
from relayd.policy.keys import Caller
from relayd.sides import RawHeaders
from relayd.translation import Translation
from relayd.wire.head import Head
from relayd.wire.pipe import Pipe


class Meter(Protocol):
    """Where counts go."""

    def settle(
        self, entry: Entry, rule: str, overhead: float | None = None, waited: float | None = None
    ) -> None: ...

    def attempt(self, upstream: str, key: str, result: str) -> None: ...

    def retry(self, reason: str) -> None: ...

    def hedge(self, *, won: bool) -> None: ...

    def fallback(self, upstream: str) -> None: ...

    def limited(self, limit: str) -> None: ...

    def translated(
        self, client: FormatName, upstream: FormatName, outcome: str, dropped: Sequence[str]
    ) -> None: ...


@dataclass(slots=True)
class Work:
    """One request on its way: what `settle` needs to know, filled in as it becomes known.

    `attempt` is the one that stands: under way, or the last there was. `failure` is what it came to
    after all, where that is the upstream's fault. `limits` are headers: how the caller's limits
    stand. On the fine clock (the loop's counts milliseconds): `read_at`, when the body was there,
    and `asked_at`, when an upstream was first asked; `waited`, the seconds for a key in between.
    `translation` is None until some upstream speaks another format.
    """

    call: Call
    client: Client
    entry: Entry
    caller: Caller | None = None
    grant: Grant | None = None
    limits: RawHeaders = field(default_factory=list)
    head: Head | None = None
    translation: Translation | None = None
    attempts: Attempts | None = None
    attempt: Attempt | None = None
    failure: RelayError | None = None
    response_id: str = ""
    read_at: float = 0.0
    asked_at: float = 0.0
    waited: float | None = None

    @property
    def exchange(self) -> Exchange | None:
        return self.attempt.exchange if self.attempt is not None else None

    def overhead(self, now: float) -> float | None:
        """Seconds in relayd itself: before an upstream was asked, without the wait for a key, and
        after its last byte. None where no upstream's reply came to its end."""
        ended_at = self.exchange.ended_at if self.exchange is not None else None
        if ended_at is None:
            return None
        return self.asked_at - self.read_at - (self.waited or 0.0) + now - ended_at

    @property
    def observer(self) -> Pipe | None:
        return self.attempt.observer if self.attempt is not None else None


class Last(NamedTuple):
    """The last act of a request: what sends its last bytes, and how many they are."""

    act: Callable[[], None]
    size: int = 0
