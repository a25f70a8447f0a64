"""What a request asks of whoever traces it: a span for itself, one for each attempt.

Protocols and the operator's terms only, so that nothing of a tracing library is imported, or run,
where nobody traces: `spans` brings the real ones. A relay without a tracer has None in its place,
and a request costs one comparison more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relayd.errors import RelayError
from relayd.model import Entry, Secret, UpstreamSpec

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class TracingTerms:
    """Where spans go, and which.

    Arguments:
        endpoint: the whole URL of an OTLP receiver for traces over HTTP; "" traces nothing.
        headers: names and values that it wants, such as a token.
        sample: the share of the requests that are traced; those that come with a trace of their
            client's go by what that says.
        service: the name of this service.
    """

    endpoint: str = field(default="", repr=False)  # its query may hold a secret
    headers: tuple[tuple[str, Secret], ...] = ()
    sample: float = 1.0
    service: str = "relayd"


class Place(NamedTuple):
    """Whom an attempt asks: an upstream, the name of its key, which of its base URLs; for `model`,
    by the upstream's own name; in which format."""

    spec: UpstreamSpec
    key: str
    site: int
    model: str
    format: str = ""


class AttemptSpan(Protocol):
    """The span of one upstream asked once."""

    @property
    def headers(self) -> RawHeaders:
        """What tells the upstream which trace its work belongs to."""

    def end(self, status: int, problem: RelayError | None) -> None:
        """It is over. Arguments: the reply's status, 0 where there was none; what went wrong. A
        second call changes nothing."""


class Trace(Protocol):
    """The span of one request, or of one response of a session."""

    def attempt(self, place: Place, operation: str) -> AttemptSpan:
        """An upstream is about to be asked."""

    def part(self, place: Place) -> Trace:
        """A response of a session begins."""

    def end(self, entry: Entry, key: str) -> None:
        """It is over; `key` is the name of the caller's. The entry does not change any more."""


class Tracer(Protocol):
    """Begins traces. `sent` and `dropped` are spans since the start."""

    @property
    def sent(self) -> int: ...

    @property
    def dropped(self) -> int: ...

    def begin(self, headers: Iterable[tuple[bytes, bytes]], verb: str, method: str) -> Trace:
        """A request came. Arguments: its headers; what it asks for, as its format calls that, ""
        where relayd has no such route."""

    def close(self) -> None:
        """Send what waits, as far as the receiver lets us; blocks, at most for some seconds."""
