"""Chunks of chat hosts, and the events that the reader makes of them."""

from __future__ import annotations

from typing import Any

import orjson

from relayd.wire.chat.reader import ChatReader
from relayd.wire.events import Events, Reply, fold
from tests.wire.grammar import events as order

DONE = b"[DONE]"


def chunk(delta: object = None, finish: str | None = None, index: object = 0, **more: Any) -> bytes:
    """The data of one chunk with one choice; `more` stands beside the choices."""
    each = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return orjson.dumps(
        {"id": "chatcmpl-1", "created": 7, "model": "m"} | {"choices": [each]} | more
    )


def calling(*calls: dict[str, Any]) -> bytes:
    """A chunk with fragments of calls."""
    return chunk({"tool_calls": list(calls)})


def read(*data: bytes) -> Events:
    """The events of a stream, in their order, which is checked."""
    reader = ChatReader()
    events = [event for each in data for event in reader.read(b"", each)] + reader.end()
    order.check(events)
    return events


def streamed(*data: bytes) -> Reply:
    """The reply that a stream folds to."""
    return fold(read(*data))


def whole(message: dict[str, Any], finish: str = "stop", **more: Any) -> Reply:
    """The reply that a whole one with this message folds to; `more` stands in the choice."""
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    events = ChatReader().whole({"id": "c", "model": "m", "choices": [choice | more]})
    order.check(events)
    return fold(events)
