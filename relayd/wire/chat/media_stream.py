"""Streams of pictures, of speech and of transcripts under way: how far they are, and the usage.

An event of a picture is megabytes of base64, which has no dots and no quotes: the needles are the
ends of event names, so that a search for them is all that such an event costs until it is whole.
Each finished picture is an event with a usage of its own, and there are as many as were asked for;
speech and transcripts end with one event. Errors are those of chat.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import consumed, sse, wording
from relayd.wire.chat import made
from relayd.wire.facts import objects, parsed, text
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.pictures.usage import added_up

_ERRORS = (b'"error"', b"event: error", b"event:error")
_EVENTS = {"images/edits": "image_edit"}


class MediaStream(Passthrough):
    """The observer of a stream that is complete with its last event."""

    needles: ClassVar[tuple[bytes, ...]] = (b".done", *_ERRORS)
    __slots__ = ("_counted",)

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._counted: Usage | None = None

    def _usage(self) -> Usage | None:
        return self._counted

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        kind = text(value.get("type")) or name.decode("latin-1")
        if value.get("error") or kind == "error":
            self._fail(value.get("error") or value)
        else:
            self._progress(kind, value)

    def _progress(self, kind: str, value: dict[str, Any]) -> None:
        if kind.endswith(".done") and not self.complete:
            self._counted = consumed.usage_of(value.get("usage"))
            self.complete = True

    def _needles_for(self, data: bytes) -> tuple[bytes, ...]:
        return self.needles

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        body = {"error": wording.error_object(exc), "request_id": request_id}
        return b"data: " + orjson.dumps(body) + b"\n\n"


class SpeechStream(MediaStream):
    """The observer of speech that comes as events."""

    __slots__ = ()

    def _usage(self) -> Usage | None:
        return made.spoken(self._counted)


class PictureStream(MediaStream):
    """The observer of pictures that come as events, unfinished ones before each.

    Arguments:
        wanted: how many there will be.
    """

    needles: ClassVar[tuple[bytes, ...]] = (
        b".partial_image",
        b".completed",
        b"[DONE]",
        *_ERRORS,
    )
    content: ClassVar[bytes] = b'"b64_json"'
    __slots__ = ("_finished", "_under_way", "_wanted")

    def __init__(self, wanted: int = 1, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._wanted = wanted
        self._finished = 0
        self._under_way = 0

    def _usage(self) -> Usage | None:
        """That of the finished pictures; one that has begun to show counts as a picture."""
        count = self._finished + self._under_way
        return made.drawn(self._counted, count) if count else None

    def _progress(self, kind: str, value: dict[str, Any]) -> None:
        if kind.endswith(".partial_image"):
            self._under_way = 1
        elif kind.endswith(".completed"):
            self._finished, self._under_way = self._finished + 1, 0
            usage = consumed.usage_of(value.get("usage"))
            self._counted = added_up((self._counted, usage))
            self.complete = self._finished >= self._wanted

    def _done(self) -> None:
        self.complete = self.complete or self._finished > 0

    def estimate_output(self) -> int:
        """Nothing: pictures are counted, not measured."""
        return 0


def observer(head: Head) -> Passthrough:
    """A fresh observer for the stream that answers `head`."""
    operation = head.target.operation
    if operation == "image":
        return PictureStream(head.choices)
    return SpeechStream() if operation == "speech" else MediaStream()


def streamed(head: Head, body: bytes, now: int) -> bytes | None:
    """A whole reply as the stream that the client asked for; None where there is no way.

    Some models do not stream, and ignore that they were asked to.
    """
    value, operation = parsed(body), head.target.operation
    if value is None:
        return None
    if operation == "transcribe" and isinstance(value.get("text"), str):
        return _events(_transcribed(value))
    if operation == "image" and (pictures := objects(value.get("data"))):
        return _events(
            _drawn(_EVENTS.get(head.target.verb, "image_generation"), value, pictures, now)
        )
    return None


def _events(events: list[dict[str, Any]]) -> bytes:
    frames = (
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )
    return b"".join(frames)


def _transcribed(value: dict[str, Any]) -> list[dict[str, Any]]:
    also = ("usage", "logprobs", "languages")
    said: dict[str, Any] = {key: value[key] for key in also if key in value}
    return [
        {"type": "transcript.text.delta", "delta": value["text"]},
        {"type": "transcript.text.done", "text": value["text"], **said},
    ]


def _drawn(
    prefix: str, value: dict[str, Any], pictures: list[dict[str, Any]], now: int
) -> list[dict[str, Any]]:
    """One event for each picture; the usage of all is on the last."""
    common = {
        "type": f"{prefix}.completed",
        "created_at": value.get("created") or now,
        "size": value.get("size") or "auto",
        "quality": value.get("quality") or "auto",
        "background": value.get("background") or "auto",
        "output_format": value.get("output_format") or "png",
    }
    events = [{**common, **picture} for picture in pictures]
    if value.get("usage") is not None:
        events[-1]["usage"] = value["usage"]
    return events
