"""The records of one request on its way, and what the relay asks of its books.

`Work` gathers what becomes known, chapter by chapter, because `settle` must be able to end the
request wherever it stands. The protocols say the little that the relay needs of a ledger and a
meter: the daemon brings the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relayd.errors import RelayError
from relayd.model import Entry, FormatName
from relayd.policy.admission import Grant
from relayd.policy.attempts import Attempts
from relayd.policy.holdings import Thread
from relayd.policy.keys import Caller
from relayd.relay.attempt import Attempt
from relayd.relay.call import Call, Client
from relayd.relay.forward import Exchange
from relayd.relay.sides import RawHeaders
from relayd.relay.translation import Translation
from relayd.tracing import Trace
from relayd.wire.head import Head
from relayd.wire.pipe import Pipe


class Meter(Protocol):
    """Where counts go."""

    def settle(self, entry: Entry, rule: str, waited: float | None = None) -> None: ...

    def overhead(self, format_name: str, seconds: float) -> None: ...

    def attempt(self, upstream: str, key: str, result: str) -> None: ...

    def retry(self, reason: str) -> None: ...

    def hedge(self, *, won: bool) -> None: ...

    def fallback(self, upstream: str) -> None: ...

    def limited(self, limit: str) -> None: ...

    def session(self, by: str, outcome: str, seconds: float) -> None: ...

    def translated(
        self, client: FormatName, upstream: FormatName, outcome: str, dropped: Sequence[str]
    ) -> None: ...


@dataclass(slots=True)
class Work:
    """One request on its way: what `settle` needs to know, filled in as it becomes known.

    `attempt` is the one that stands: under way, or the last there was. `failure` is what it came to
    after all, where that is the upstream's fault. `limits` are headers: how the caller's limits
    stand. On the fine clock (the loop's counts milliseconds): `read_at`, when its last bytes came,
    and `asked_at`, when an upstream was first asked, where it did not answer; `waited`, the seconds
    for a key in between.
    `thread` is None where no upstream keeps anything of it.
    `translation` is None until some upstream speaks another format, `trace` where nobody traces.
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
    thread: Thread | None = None
    read_at: float = 0.0
    asked_at: float = 0.0
    waited: float | None = None
    trace: Trace | None = None

    @property
    def settles_debt(self) -> bool:
        """Whether it asks for a response that was made in the background, and not paid for yet."""
        after = self.thread.after if self.thread is not None else None
        return after is not None and after.state == "owed" and self.entry.operation == "follow_up"

    @property
    def exchange(self) -> Exchange | None:
        return self.attempt.exchange if self.attempt is not None else None

    def overhead(self, now: float) -> float | None:
        """Seconds in relayd itself: before an upstream was asked, without the wait for a key, and
        after its last byte. None where no upstream's reply came to its end."""
        attempt = self.attempt
        ended_at = attempt.exchange.ended_at if attempt is not None else None
        if attempt is None or ended_at is None:
            return None
        asked_at = self.asked_at or attempt.asked_at
        return asked_at - self.read_at - (self.waited or 0.0) + now - ended_at

    @property
    def observer(self) -> Pipe | None:
        return self.attempt.observer if self.attempt is not None else None


class Last(NamedTuple):
    """The last act of a request: what sends its last bytes, and how many they are."""

    act: Callable[[], None]
    size: int = 0
