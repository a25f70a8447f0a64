"""Scripts: what a connection is going to do, as data.

Answers are built without I/O: a format writes a Script (status, headers, body as a list of steps),
the misbehaviours rewrite it, and `frame` turns it into the steps that the wire sees. In the body of
a stream one Send is one event; after framing a Send is whatever goes out in one write, so Sends
that no Wait parts are joined. A Script knows how many of its last steps are the terminal event
(`closing`), which is all that a misbehaviour needs to know about a format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

Headers = list[tuple[str, str]]
Kind = Literal["json", "sse", "array", "bytes"]
Framing = Literal["length", "chunked", "close", "raw"]

FOREVER: Final = float("inf")
# A write larger than this gains nothing, and would defeat the transport's back-pressure.
LARGEST_WRITE: Final = 64 * 1024
# The standard library has no name for Anthropic's status.
PHRASES: Final = {529: "Overloaded"} | {status.value: status.phrase for status in HTTPStatus}


class Send(NamedTuple):
    """Write these bytes."""

    data: bytes


class Wait(NamedTuple):
    """Do nothing for so many seconds: 0 is one turn of the loop, FOREVER is for ever."""

    seconds: float


class Close(NamedTuple):
    """Close the connection once everything written has gone out."""


class Reset(NamedTuple):
    """Abort the connection with a TCP RST."""


class Leave(NamedTuple):
    """End the reply, and close the connection if nothing is asked on it for so many seconds."""

    seconds: float


Step = Send | Wait | Close | Reset | Leave
TURN: Final = Wait(0)


@dataclass(slots=True)
class Script:
    """One reply, before it is framed.

    Arguments:
        body: its steps; every Send of a stream is one whole event.
        framing: how the body's end is told; `raw` means that the body is the whole wire.
        kind: one JSON document, server-sent events, Gemini's JSON array, or bytes of their own
        content type in several writes.
        closing: how many of the last steps make up the terminal event.
        before: steps that come before the head.
        after: steps that come after the reply's end.
        trailers: header lines after the last chunk (chunked framing only).
        announced: bytes that content-length promises beyond the true length.
        fresh_only: answer only the first request of a connection, meet any later one with a close.
        shared: whether an equal request may be answered with the same bytes.
    """

    status: int
    headers: Headers
    body: list[Step]
    framing: Framing = "length"
    kind: Kind = "json"
    closing: int = 0
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    trailers: Headers = field(default_factory=list)
    announced: int = 0
    fresh_only: bool = False
    shared: bool = True

    @property
    def streams(self) -> bool:
        return self.kind != "json"

    @property
    def middle(self) -> int:
        """The index in the body at which about half of it has been said, at least one step in."""
        return max(1, (len(self.body) - self.closing) // 2)

    @property
    def whole(self) -> bytes:
        """The body's bytes, waits aside."""
        return b"".join(step.data for step in self.body if isinstance(step, Send))


def document(status: int, body: bytes, headers: Headers) -> Script:
    """A reply that is one JSON document."""
    return Script(status, [("content-type", "application/json"), *headers], [Send(body)])


def frame(script: Script, *, bodiless: bool = False) -> tuple[Step, ...]:
    """The steps as the wire sees them: head, chunk framing, the end, neighbouring Sends joined.

    Arguments:
        bodiless: answer a HEAD request: the head alone.
    """
    if script.framing == "length" and len(script.body) == 1 and _plain(script) and not bodiless:
        return (Send(_head(script) + script.whole),)
    return tuple(_joined(_framed(script, bodiless)))


def _plain(script: Script) -> bool:
    return not (script.before or script.after or script.announced)


def _framed(script: Script, bodiless: bool) -> Iterator[Step]:
    yield from script.before
    if script.framing == "raw":
        yield from script.body
        return
    yield Send(_head(script))
    if not bodiless:
        yield from _framed_body(script)
    yield from script.after


def _framed_body(script: Script) -> Iterator[Step]:
    chunked = script.framing == "chunked"
    # Long streams for benchmarks repeat few events: each is framed once, and shared.
    framed: dict[bytes, Send] = {}
    for step in script.body:
        if chunked and isinstance(step, Send):
            chunk = framed.get(step.data)
            if chunk is None:
                chunk = framed[step.data] = Send(b"%x\r\n%b\r\n" % (len(step.data), step.data))
            yield chunk
        else:
            yield step
    if script.body and isinstance(script.body[-1], Close | Reset):
        return
    if chunked:
        yield Send(b"0\r\n" + _lines(script.trailers) + b"\r\n")
    elif script.framing == "close" or script.announced:
        yield Close()


def _head(script: Script) -> bytes:
    status_line = f"HTTP/1.1 {script.status} {PHRASES.get(script.status, '')}\r\n"
    return status_line.encode() + _lines([*script.headers, _framing_header(script)]) + b"\r\n"


def _framing_header(script: Script) -> tuple[str, str]:
    if script.framing == "chunked":
        return ("transfer-encoding", "chunked")
    if script.framing == "close":
        return ("connection", "close")
    length = sum(len(step.data) for step in script.body if isinstance(step, Send))
    return ("content-length", str(length + script.announced))


def _lines(headers: Headers) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1", "replace")


def _joined(steps: Iterable[Step]) -> Iterator[Step]:
    sends: list[Send] = []
    size = 0
    for step in steps:
        if isinstance(step, Send) and size + len(step.data) <= LARGEST_WRITE:
            sends.append(step)
            size += len(step.data)
            continue
        if sends:
            yield _one(sends)
            sends, size = [], 0
        if isinstance(step, Send):
            sends, size = [step], len(step.data)
        else:
            yield step
    if sends:
        yield _one(sends)


def _one(sends: list[Send]) -> Send:
    return sends[0] if len(sends) == 1 else Send(b"".join([step.data for step in sends]))
