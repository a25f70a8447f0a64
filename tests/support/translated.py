"""What providers of each format answer in tests of translation, and what clients make of it.

Small, but complete as their grammars have it: every upstream says "hello" for five tokens in and
seven out, whole or as a stream; `said` reads a client's reply back with the client's own format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from relayd.model import FormatName
from relayd.wire import sse
from relayd.wire.codec import Codec
from relayd.wire.events import Events, Failure, Reply, fold
from relayd.wire.formats import FORMATS
from relayd.wire.parts import Document, Text
from tests.support.scripted_upstream import LAST_CHUNK, Asked, chunk, reply, stream_head
from tests.support.speech import SPEECHES

# The formats that are translated, and all ways between two of them.
TRANSLATED: tuple[FormatName, ...] = tuple(n for n, one in FORMATS.items() if one.codec is not None)
WAYS = [(a, b) for a in TRANSLATED for b in TRANSLATED if a != b]
IDS = [f"{client}-to-{upstream}" for client, upstream in WAYS]

_USAGE = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
_ITEM: Document = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": []}],
}
_RESPONSE: Document = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [_ITEM],
    "usage": _USAGE,
}


def _named(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **more}) + b"\n\n"


def _responses_stream() -> tuple[bytes, bytes]:
    begun = {**_RESPONSE, "status": "in_progress", "output": [], "usage": None}
    added = {**_ITEM, "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    opening = (
        _named("response.created", response=begun, sequence_number=0)
        + _named("response.output_item.added", item=added, output_index=0, sequence_number=1)
        + _named("response.content_part.added", part=part, sequence_number=2, **place)
        + _named("response.output_text.delta", delta="he", sequence_number=3, **place)
    )
    whole = {**part, "text": "hello"}
    ending = (
        _named("response.output_text.delta", delta="llo", sequence_number=4, **place)
        + _named("response.output_text.done", text="hello", sequence_number=5, **place)
        + _named("response.content_part.done", part=whole, sequence_number=6, **place)
        + _named("response.output_item.done", item=_ITEM, output_index=0, sequence_number=7)
        + _named("response.completed", response=_RESPONSE, sequence_number=8)
    )
    return opening, ending


class Provider(NamedTuple):
    """What an upstream of one format answers. The stream is in two parts, cut behind "he"."""

    whole: bytes
    opening: bytes
    ending: bytes

    def __call__(self, asked: Asked) -> bytes:
        """Answer a request as it was asked for."""
        if asked.path.endswith("?alt=sse") or asked.document.get("stream"):
            return stream_head() + chunk(self.opening) + chunk(self.ending) + LAST_CHUNK
        return reply(self.whole)


PROVIDERS: Mapping[FormatName, Provider] = {
    "responses": Provider(orjson.dumps(_RESPONSE), *_responses_stream()),
    "gemini": Provider(
        SPEECHES["gemini"].reply.replace(b'"llo"', b'"hello"'),
        SPEECHES["gemini"].opening,
        SPEECHES["gemini"].ending,
    ),
    **{
        name: Provider(SPEECHES[name].reply, SPEECHES[name].opening, SPEECHES[name].ending)
        for name in ("chat", "messages")
    },
}


def codec_of(name: FormatName) -> Codec:
    """The codec of a format that is translated."""
    codec = FORMATS[name].codec
    assert codec is not None
    return codec


def events_of(name: FormatName, body: bytes, *, stream: bool) -> Events:
    """What a client of this format is told."""
    reader = codec_of(name).reader()
    if not stream:
        return reader.whole(orjson.loads(body))
    events: Events = []
    for block in sse.blocks(body):
        event = sse.parse(block)
        events += reader.read(event.name, event.data) if event.data else []
    return events + reader.end()


def told(name: FormatName, body: bytes, *, stream: bool) -> Reply:
    """The reply that a client of this format has got, which is whole."""
    events = events_of(name, body, stream=stream)
    assert not any(isinstance(event, Failure) for event in events), events
    return fold(events)


def said(name: FormatName, body: bytes, *, stream: bool) -> tuple[str, int | None, int | None]:
    """The text of such a reply, and its usage: tokens in and out."""
    got = told(name, body, stream=stream)
    text = "".join(part.text for part in got.choices[0].parts if isinstance(part, Text))
    usage = got.usage
    if usage is None:
        return text, None, None
    return text, usage.in_uncached, usage.out_total
