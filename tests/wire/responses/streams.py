"""Responses streams for tests, event by event."""

from __future__ import annotations

from typing import Any

import orjson

from relayd.wire import sse
from relayd.wire.events import Events
from relayd.wire.responses.reader import ResponsesReader

Json = dict[str, Any]


def event(kind: str, **said: Any) -> Json:
    """One event: `output_item.added` for `response.output_item.added`."""
    return {"type": f"response.{kind}", **said}


def created(**said: Any) -> Json:
    """The first event."""
    response = {"id": "resp_1", "object": "response", "created_at": 17, "model": "m", **said}
    return event("created", response=response | {"status": "in_progress", "output": []})


def completed(*output: Json, **said: Any) -> Json:
    """The last event, with all of the output."""
    return event("completed", response=response(*output, **said))


def response(*output: Json, **said: Any) -> Json:
    """A whole response."""
    whole = {"id": "resp_1", "object": "response", "created_at": 17, "model": "m"}
    return whole | {"status": "completed", "output": list(output)} | said


def message(text: str, **said: Any) -> Json:
    """A message item of one text."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part], **said}


def call(arguments: str = '{"a":1}', **said: Any) -> Json:
    """A call of a function."""
    names = {"call_id": "call_1", "name": "f", "arguments": arguments}
    return {"type": "function_call", "id": "fc_1", "status": "completed", **names, **said}


def thinking(*summary: str, **said: Any) -> Json:
    """A reasoning item."""
    texts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": "rs_1", "summary": texts, **said}


def added(item: Json, index: int = 0) -> Json:
    """An item begins."""
    return event("output_item.added", output_index=index, item=item)


def done(item: Json, index: int = 0) -> Json:
    """An item is complete."""
    return event("output_item.done", output_index=index, item=item)


def delta(text: str, index: int = 0, place: int = 0, **said: Any) -> Json:
    """More of a text."""
    where = {"item_id": "msg_1", "output_index": index, "content_index": place}
    return event("output_text.delta", **where, delta=text, **said)


def read(*values: Json, end: bool = False) -> Events:
    """What a fresh reader makes of these events."""
    reader = ResponsesReader()
    events = [each for value in values for each in reader.read(b"", orjson.dumps(value))]
    return [*events, *reader.end()] if end else events


def told(data: bytes) -> list[Json]:
    """The events in a stream's bytes; each is named as its type."""
    found = [sse.parse(block) for block in sse.blocks(data)]
    values: list[Json] = [orjson.loads(each.data) for each in found]
    assert [each.name.decode() for each in found] == [value["type"] for value in values]
    return values
