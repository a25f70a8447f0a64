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

    def settle(self, entry: Entry, rule: str) -> None: ...

    def attempt(self, upstream: str, key: str, result: str) -> None: ...

    def translated(
        self, client: FormatName, upstream: FormatName, outcome: str, dropped: Sequence[str]
    ) -> None: ...


@dataclass(slots=True)
class Work:
    """One request on its way: what `settle` needs to know, filled in as it becomes known.

    `attempt` is the one that stands: under way, or the last there was. `failure` is what it came to
    after all, where that is the upstream's fault. `limits` are headers: how the caller's limits
    stand. `translation` is None until some upstream speaks another format.
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

    @property
    def exchange(self) -> Exchange | None:
        return self.attempt.exchange if self.attempt is not None else None

    @property
    def observer(self) -> Pipe | None:
        return self.attempt.observer if self.attempt is not None else None


class Last(NamedTuple):
    """The last act of a request: what sends its last bytes, and how many they are."""

    act: Callable[[], None]
    size: int = 0
