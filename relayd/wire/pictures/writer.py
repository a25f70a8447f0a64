"""Events, written as the reply of an image endpoint: one document, or an event for each picture.

A picture goes out once the upstream has said how it ended, because the event that has it counts
the tokens as well. What the model says beside its pictures is told as the revised prompt. A reply
without any picture is no answer here, whatever its status was: `NoPicture` says why there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import media
from relayd.wire.events import (
    Delta,
    End,
    Event,
    Events,
    Failure,
    Fold,
    Reply,
)
from relayd.wire.parts import Document, Image
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.pictures.refused import NoPicture, no_picture, words_of
from relayd.wire.pictures.usage import usage_document
from relayd.wire.setting import Coming


class PicturesWriter:
    """Writes one reply. Owns what came of it until it has ended: a picture is large, but whole."""

    __slots__ = ("_closed", "_coming", "_fold", "keepalive", "stream_headers")

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._fold = Fold()
        self._closed = False
        self.keepalive = b": keep-alive\n\n"
        self.stream_headers = EVENT_STREAM

    def __repr__(self) -> str:
        return f"<PicturesWriter {self._fold!r} closed={self._closed}>"

    def write(self, events: Events) -> bytes:
        """The bytes of these events."""
        return b"".join([self._event(event) for event in events])

    def say(self, block: int, text: str) -> bytes:
        """One more piece of an open text."""
        return self._event(Delta(block, text))

    def _event(self, event: Event) -> bytes:
        match event:
            case Failure():
                made = NoPicture if event.status == NoPicture.default_status else RelayError
                return self.error(made(event.message, status=event.status, code=event.code))
            case End():
                return self._end()
        self._fold.add([event])
        return b""

    def _end(self) -> bytes:
        reply = self._fold.cut()
        try:
            document = self.whole(reply)
        except NoPicture as exc:
            return self.error(exc)
        return self.told(document)

    def told(self, document: Document) -> bytes:
        """A whole reply as events, one for each picture. The tokens of all are told with the
        last."""
        self._closed = True
        picture = self._coming.request.output.picture
        name = "image_edit" if picture is not None and picture.edits else "image_generation"
        about: Document = {"type": f"{name}.completed", "created_at": document["created"]}
        about |= {k: v for k, v in document.items() if k not in ("created", "data", "usage")}
        events = [about | each for each in document["data"]]
        events[-1] |= {"usage": document["usage"]} if "usage" in document else {}
        return b"".join([_framed(about["type"], event) for event in events])

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure, whatever went out before."""
        if self._closed:
            return b""
        self._closed = True
        return _framed("error", {"type": "error", "error": error_object(exc)})

    def whole(self, reply: Reply) -> Document:
        """A whole reply. Raises NoPicture."""
        parts = [part for choice in reply.choices for part in choice.parts]
        drawn = [part for part in parts if isinstance(part, Image)]
        words = words_of(reply)
        if not drawn:
            raise no_picture(reply)
        revised = {"revised_prompt": words} if words else {}
        document: Document = {
            "created": self._coming.moment,
            "data": [_source(part) | revised for part in drawn],
        }
        return document | _about(drawn) | _usage(reply.usage)


def _source(part: Image) -> Document:
    return {"b64_json": part.data} if part.data else {"url": part.url}


def _about(drawn: list[Image]) -> Document:
    """The form of all pictures, where they have one in common."""
    forms = {part.mime.removeprefix("image/") for part in drawn if part.data}
    sizes = {media.pixels(part.data) for part in drawn}
    told: Document = {}
    if len(forms) == 1 and "" not in forms:
        told["output_format"] = forms.pop()
    size = sizes.pop()
    if not sizes and size is not None:
        told["size"] = f"{size[0]}x{size[1]}"
    return told


def _usage(usage: Usage | None) -> Document:
    return {} if usage is None else {"usage": usage_document(usage)}


def error_object(exc: RelayError) -> Document:
    """The `error` member of an event in the middle of a stream."""
    usual = "server_error" if exc.status >= 500 else "invalid_request_error"
    kind = NoPicture.default_code if isinstance(exc, NoPicture) else usual
    return {"message": exc.message, "type": kind, "param": exc.param, "code": exc.code}


def _framed(name: str, document: Document) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"


def merged(documents: Iterable[Document]) -> Document:
    """One reply of several: all their pictures, all their counts. What they do not agree about is
    left out."""
    first, *others = documents
    for other in others:
        data, usage = first["data"] + other["data"], first.get("usage")
        first = {k: v for k, v in first.items() if k == "created" or other.get(k) == v}
        first["data"] = data
        if usage is not None:
            first["usage"] = _sum(usage, other.get("usage") or {})
        elif "usage" in other:
            first["usage"] = other["usage"]
    return first


def _sum(one: Document, other: Document) -> Document:
    found: dict[str, Any] = dict(one)
    for name, value in other.items():
        mine = found.get(name)
        if isinstance(value, dict):
            found[name] = _sum(mine or {}, value)
        else:
            found[name] = (mine or 0) + value
    return found
