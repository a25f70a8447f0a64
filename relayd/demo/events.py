"""Streams of events, and how their lines are written.

A format makes a list of events; `Stream` says which of them carry content (they are paced) and how
many close the stream. `scripted` turns it into a Script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from relayd.demo.names import Name
from relayd.demo.script import FOREVER, TURN, Headers, Kind, Script, Send, Step, Wait

SSE: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of one reply.

    Arguments:
        content: the indexes of the first content event and of the one after the last.
        closing: how many of the last events make up the terminal event.
    """

    events: list[bytes]
    content: tuple[int, int]
    closing: int


def data_event(document: object) -> bytes:
    """An event without a name: chat."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


def named_event(document: dict[str, object]) -> bytes:
    """An event that is named by the document's type: responses, messages."""
    name = str(document["type"]).encode()
    return b"event: " + name + b"\ndata: " + orjson.dumps(document) + b"\n\n"


def scripted(stream: Stream, name: Name, headers: Headers, kind: Kind = "sse") -> Script:
    """The stream as a script: content at the rate that the name asks, else a loop turn apart.

    `chunks-N` without a rate means as fast as possible, so there is nothing between the events, and
    `frame` joins them.
    """
    rate = name.number("at", 0, FOREVER)
    body: list[Step] = []
    if rate:
        first, end = stream.content
        gap = Wait(1 / rate)
        for index, event in enumerate(stream.events):
            if first < index < end:
                body.append(gap)
            body.append(Send(event))
    elif name.has("chunks"):
        body.extend(map(Send, stream.events))
    else:
        for event in stream.events:
            body += (Send(event), TURN)
        body.pop()
    closing = stream.closing * (1 if rate or name.has("chunks") else 2)
    return Script(200, headers, body, framing="chunked", kind=kind, closing=closing)
