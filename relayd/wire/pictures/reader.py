"""Replies of an image endpoint, read as events: each picture is a block that is whole at once.

A stream is read as well, for hosts that stream though nobody asked: its partial pictures are on the
way to the final ones, and are left out.
"""

from __future__ import annotations

from typing import Final

from relayd.wire import media
from relayd.wire.blocks import Blocks
from relayd.wire.codec import Reader
from relayd.wire.events import (
    Counted,
    End,
    Events,
    Failure,
    Finish,
    Open,
    Reply,
    Start,
    fold,
)
from relayd.wire.facts import error_text, objects, parsed, section, text, tokens
from relayd.wire.parts import Document, Image
from relayd.wire.pictures.refused import no_picture
from relayd.wire.pictures.usage import added_up, usage_of

COMPLETED: Final = (b"image_generation.completed", b"image_edit.completed")
MOST_HELD: Final = 2**20  # bytes of words before the first picture
_PASSED: Final = frozenset({429, 503})


class Tally:
    """Another format's reader of a stream, whose counts say how many pictures came. Owns what comes
    before the first picture: until then nobody knows whether there will be any, and the client can
    still be told in one word that there is none.

    Attributes:
        undrawn: the whole reply, once it has ended without a picture.
    """

    __slots__ = ("_held", "_images", "_reader", "_size", "undrawn")

    plain = None  # it wants to see each event

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held: Events | None = []
        self._size = self._images = 0
        self.undrawn: Reply | None = None

    def __repr__(self) -> str:
        return f"<Tally {self._images} of {self._reader!r}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one server-sent event."""
        self._size += len(data)
        return self._let_go(self._counted(self._reader.read(name, data)))

    def whole(self, document: Document) -> Events:
        """The events of a whole reply."""
        return self._counted(self._reader.whole(document))

    def end(self) -> Events:
        """What is still to come, at the upstream's end."""
        return self._let_go(self._counted(self._reader.end()))

    def _counted(self, events: Events) -> Events:
        for event in events:
            match event:
                case Open(part=Image()):
                    self._images += 1
                case Counted():
                    event.usage.images = self._images
        return events

    def _let_go(self, events: Events) -> Events:
        if self._held is None:
            return events
        self._held += events
        if any(isinstance(event, End) for event in events) and not self._images:
            self.undrawn = fold(self._held)
            exc = no_picture(self.undrawn)
            return [Failure(exc.message, exc.status, exc.code)]
        failures = [event for event in events if isinstance(event, Failure)]
        if failures and not self._images:  # as if nothing had come
            return [*failures]
        if not (self._images or self._size > MOST_HELD):
            return []
        held, self._held = self._held, None
        return held


class PicturesReader:
    """Reads one reply. Owns the counts of the pictures that came."""

    __slots__ = ("_blocks", "_drawn", "_ended", "_started", "_usages")

    plain = None  # no picture is like another

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._usages: list[object] = []
        self._drawn = 0
        self._started = self._ended = False

    def __repr__(self) -> str:
        return f"<PicturesReader drawn={self._drawn} ended={self._ended}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one server-sent event."""
        if self._ended or self._blocks.failed:
            return []
        if data.strip() == b"[DONE]":
            return self.end()
        value = parsed(data)
        if value is None:
            return []
        if value.get("error"):
            self._fail(value["error"])
        elif (name or text(value.get("type")).encode()) in COMPLETED:
            self._start(value)
            self._draw(value, text(value.get("output_format")))
            self._usages.append(value.get("usage"))
        return self._blocks.take()

    def whole(self, document: Document) -> Events:
        """The events of a whole reply."""
        if document.get("error"):
            self._fail(document["error"])
            return self._blocks.take()
        self._start(document)
        form = text(document.get("output_format"))
        for each in objects(document.get("data")):
            self._draw(each, form)
        self._usages.append(document.get("usage"))
        return self.end()

    def end(self) -> Events:
        """All pictures have come; a reply without any is none."""
        if self._ended or self._blocks.failed:
            return self._blocks.take()
        self._ended = True
        if not self._drawn:
            self._blocks.fail(Failure("The upstream's reply holds no picture."))
            return self._blocks.take()
        usage = added_up(map(usage_of, self._usages))
        if usage is not None:
            self._blocks.add(Counted(usage, section(self._usages[-1])))
        self._blocks.add(Finish("stop"))
        self._blocks.add(End())
        return self._blocks.take()

    def _start(self, value: Document) -> None:
        if not self._started:
            self._started = True
            created = tokens(value.get("created") or value.get("created_at"))
            self._blocks.add(Start("", text(value.get("model")), created))

    def _draw(self, value: Document, form: str) -> None:
        data = media.standard(text(value.get("b64_json"))) or ""
        url = "" if data else text(value.get("url"))
        if data or url:
            self._drawn += 1
            said = f"image/{form}" if form else ""
            mime = (media.sniffed("", data) or said or "image/png") if data else said
            self._blocks.whole(Image(mime, data, url))

    def _fail(self, error: object) -> None:
        code = section(error).get("status") or section(error).get("code")
        status = code if isinstance(code, int) and code in _PASSED else 502
        self._blocks.fail(Failure(error_text(error) or "The upstream failed.", status))
