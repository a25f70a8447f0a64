"""One candidate of a Gemini reply: its blocks, and the parts that they become.

What another provider wants back travels as base64 in `thoughtSignature`: on the call behind it
where there is one, because that is what clients send back most faithfully, else on an empty part,
as Google itself does. Where a provider wants its thinking back beside the signature, the signature
stands on the thinking, and a client that was not shown the thinking does not get it.

The first call of a reply has an envelope always, an empty one if need be: it tells that the call
was another provider's, so that it can be signed when it goes to a model that wants signatures.
"""

from __future__ import annotations

from dataclasses import replace

from relayd.wire import checked, envelope, media
from relayd.wire.events import Break, Close, Delta, Finish, Open, Seal
from relayd.wire.parts import (
    Carrier,
    Document,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.setting import Coming

VAGUE = "application/octet-stream"
OfBlock = Open | Delta | Break | Seal | Close
# Their owners want the thinking back as it was, with them.
_BESIDE_TEXT = frozenset({"anthropic-signature", "gemini-signature", "chat-details"})


class Answer:
    """One candidate: its blocks in order, and the parts that they become.

    Attributes:
        current: the block that is open, -1 for none.
        waiting: what other blocks said meanwhile, in the order in which they opened.
        finish: how it ended.
        malformed: a call was no object.
    """

    __slots__ = (
        "_called",
        "_carrier",
        "_coming",
        "_part",
        "_pending",
        "_pieces",
        "_shown",
        "current",
        "finish",
        "malformed",
        "spoke",
        "waiting",
    )

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        show = coming.request.thinking.show
        self._shown = not coming.sealed or show not in (None, "none")
        self._part: Part = Part()
        self._carrier: Carrier | None = None
        self._pending: Carrier | None = None  # for the next call
        self._pieces: list[str] = []
        self._called = False
        self.current = -1
        self.waiting: dict[int, list[OfBlock]] = {}
        self.finish: Finish | None = None
        self.malformed = self.spoke = False

    def __repr__(self) -> str:
        return f"<Answer current={self.current} waiting={list(self.waiting)}>"

    @property
    def grows(self) -> bool:
        """Whether the open block is written as it comes."""
        return isinstance(self._part, Text | Refusal) or (
            isinstance(self._part, Reasoning) and self._shown
        )

    @property
    def thinks(self) -> bool:
        """Whether the open block is thinking."""
        return isinstance(self._part, Reasoning)

    def open(self, block: int, part: Part) -> list[Document]:
        """Begin a block; returns the parts that stand before its text."""
        self.current, self._part, self._carrier = block, part, part.carrier
        self.spoke = False
        self._pieces = []
        found: list[Document] = []
        if not isinstance(part, ToolCall) and (self.grows or isinstance(part, Media)):
            found += self.rest()
        if isinstance(part, Media):
            found.append(self._signed(_media(part), part.carrier))
        elif isinstance(part, Opaque) and not self._coming.sealed:
            found.append(self._signed(dict(part.document), part.carrier))
        return found

    def say(self, text: str) -> None:
        """More of a block that is not written as it comes."""
        self.spoke = True
        if isinstance(self._part, ToolCall):
            self._pieces.append(text)

    def seal(self, carrier: Carrier) -> None:
        """The open block's carrier is known."""
        self._carrier = carrier

    def close(self) -> list[Document]:
        """End the block; returns the parts that stand behind its text."""
        part, carrier, self.current = self._part, self._carrier, -1
        if isinstance(part, ToolCall):
            return self._call(part, part.arguments + "".join(self._pieces))
        if carrier is None or not isinstance(part, Text | Refusal | Reasoning):
            return []
        if isinstance(part, Reasoning):
            return self._thought(carrier)
        return [self._signed({"text": ""}, carrier)]

    def whole(self, part: Part) -> list[Document]:
        """A block at once, as a stream would write it."""
        found = self.open(0, part)
        said = _text(part)
        if said and self.grows:
            found.append({"text": said} | ({"thought": True} if self.thinks else {}))
        self.spoke = bool(said)
        return found + self.close()

    def rest(self) -> list[Document]:
        """What was kept for a call that did not come."""
        carrier, self._pending = self._pending, None
        return [self._signed({"text": ""}, carrier)] if carrier is not None else []

    def _thought(self, carrier: Carrier) -> list[Document]:
        """The carrier of thinking. Where its owner wants the thinking back beside it, it is of use
        only to a client that saw that."""
        if self.spoke and self._shown and carrier.kind in _BESIDE_TEXT:
            return [self._signed({"text": "", "thought": True}, carrier)]
        if not self._coming.sealed:
            return [self._signed({"text": ""}, carrier)]
        if self.spoke and carrier.kind in _BESIDE_TEXT:
            return []
        found = self.rest()
        self._pending = carrier
        return found

    def _call(self, part: ToolCall, said: str) -> list[Document]:
        arguments = checked.json_object(said) if said.strip() else {}
        if arguments is None:
            self.malformed = True
            return self.rest()
        call: Document = {"name": part.name, "args": arguments}
        document: Document = {"functionCall": call | ({"id": part.id} if part.id else {})}
        own = self._carrier
        first, self._called = not self._called, True
        if own is None:
            carrier, self._pending = self._pending, None
            if carrier is None and first and self._coming.sealed:
                carrier = replace(envelope.UNSEALED, call_id=part.id or part.name)
            return [self._signed(document, carrier)]
        if self._coming.sealed:
            own = replace(own, call_id=part.id)  # it is the call's, not of the thinking before
        return [*self.rest(), self._signed(document, own)]

    def _signed(self, document: Document, carrier: Carrier | None) -> Document:
        if carrier is None:
            return document
        sealed = self._coming.sealed
        payload = envelope.wrap_base64(carrier, self._coming.scope) if sealed else carrier.payload
        return document | {"thoughtSignature": payload}


def _text(part: Part) -> str:
    match part:
        case Text() | Refusal():
            return part.text
        case Reasoning():
            return "\n\n".join(part.text)
    return ""


def _media(part: Media) -> Document:
    mime = {"mimeType": part.mime or media.sniffed("", part.data) or VAGUE}
    name = {"displayName": part.name} if part.name else {}
    if part.url:
        return {"fileData": mime | {"fileUri": part.url} | name}
    return {"inlineData": mime | {"data": part.data} | name}
