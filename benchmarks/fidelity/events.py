"""A recorded stream, taken apart the slow and obvious way.

This is the yardstick for the relay's own reading, so it shares no code with it: the body is split
at blank lines with one regular expression over the whole, and each event's `data:` lines are
joined as the standard for server-sent events says. A body that is a JSON array (Gemini without
`alt=sse`) gives its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

BOM = b"\xef\xbb\xbf"
_EVENT = re.compile(rb"(?:[^\r\n]+(?:\r\n|\r|\n|\Z))*(?:\r\n|\r|\n|\Z)")
_LINE = re.compile(rb"\r\n|\r|\n")


class Event(NamedTuple):
    """One event: its bytes, its name, its data, and the data as a JSON object if it is one."""

    raw: bytes
    name: bytes
    data: bytes
    value: dict[str, Any] | None


def events(body: bytes) -> list[Event]:
    """The events of a stream in order; joined, their `raw` is the body."""
    return [_event(raw) for raw in _EVENT.findall(body) if raw]


def documents(body: bytes) -> Iterator[dict[str, Any]]:
    """Every JSON object that a stream or array carries."""
    if body.removeprefix(BOM).lstrip()[:1] == b"[":
        yield from (one for one in orjson.loads(body) if isinstance(one, dict))
        return
    for event in events(body):
        if event.value is not None:
            yield event.value


def _event(raw: bytes) -> Event:
    name, data = b"", []
    for line in _LINE.split(raw.removeprefix(BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    joined = b"\n".join(data)
    return Event(raw, name, joined, parsed(joined))


def parsed(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
