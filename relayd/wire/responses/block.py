"""The block of a Responses stream that is open: text, a call, thinking, or what is told at once.

Every delta of a block begins alike, so that is rendered once. A block is a part of an item, or an
item of its own; `output` has the items.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from relayd.wire import envelope
from relayd.wire.events import Delta, Logprob, Open
from relayd.wire.parts import (
    Carrier,
    Citation,
    Document,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.responses import shapes
from relayd.wire.responses.output import Output
from relayd.wire.setting import Coming

_PARAGRAPHS: Final = {"summary": "summary_text", "content": "reasoning_text"}


class OpenBlock:
    """The block that is open, or none. Owns what it has said.

    Attributes:
        number: the hub's; -1 where none is open.
        said: in pieces; of thinking only the open paragraph.
        before: what stands in every delta before its number; b"" where deltas say nothing yet.
    """

    __slots__ = (
        "_begun",
        "_carrier",
        "_citations",
        "_coming",
        "_logprobs",
        "_output",
        "_part",
        "before",
        "number",
        "said",
    )

    def __init__(self, coming: Coming, output: Output) -> None:
        self._coming = coming
        self._output = output
        self._part: Part | None = None
        self._carrier: Carrier | None = None
        self._citations: list[Citation] = []
        self._logprobs: list[Logprob] = []
        self._begun = False  # thinking has an item
        self.number = -1
        self.said: list[str] = []
        self.before = b""

    def __repr__(self) -> str:
        return f"<OpenBlock {self.number} {type(self._part).__name__} pieces={len(self.said)}>"

    def open(self, event: Open) -> bytes:
        """A block begins."""
        part = event.part
        self.number, self._part, self.before = event.block, part, b""
        self._carrier, self._begun = part.carrier, False
        self.said, self._citations, self._logprobs = [], [], []
        match part:
            case Text() | Refusal():
                return self._open_text(part)
            case ToolCall():
                return self._open_call(part)
        return b""  # thinking opens when it says something, all others are told at their end

    def say(self, text: str) -> bytes:
        """One more piece of what it says."""
        self.said.append(text)
        number = self._output.sequence
        self._output.sequence = number + 1
        return b'%b%d,"delta":%b}\n\n' % (self.before, number, orjson.dumps(text))

    def cite(self, citation: Citation) -> None:
        """A source is known; it is told at the end, when it is known of how much text."""
        self._citations.append(citation)

    def seal(self, carrier: Carrier) -> None:
        """What the provider wants back is known."""
        self._carrier = carrier

    # --- texts and calls ------------------------------------------------------------------------

    def _open_text(self, part: Text | Refusal) -> bytes:
        out = b""
        if not self._output.takes(part, "message"):
            item: Document = {"type": "message", "id": self._output.id("msg_", part)}
            item |= {"role": "assistant", "status": "in_progress", "content": []}
            out = self._output.begin(item, part.item)
        place = self._output.place("content")
        kind = "output_text" if isinstance(part, Text) else "refusal"
        always: Document = {"logprobs": []} if isinstance(part, Text) else {}
        self._prepare(f"response.{kind}.delta", place | always)
        added = place | {"part": shapes.text(part, "")}
        return out + self._output.event("response.content_part.added", added)

    def _open_call(self, part: ToolCall) -> bytes:
        out = b""
        if part.carrier is not None and self._coming.sealed:
            out = self._bind(part, part.id)
        kind, member = shapes.call(part)
        item: Document = {"type": kind}
        item["id"] = self._output.id("ctc_" if part.custom else "fc_", part)
        item |= {} if part.custom else {"status": "in_progress"}
        item |= {"call_id": part.id, "name": part.name, member: ""}
        item |= {"namespace": part.namespace} if part.namespace else {}
        out += self._output.begin(item, part.item)
        self._prepare(f"response.{kind}_{member}.delta", self._output.where())
        return out

    def _bind(self, part: Part, holder: str) -> bytes:
        """The open block's carrier, in an item of its own right before it: it has no field for
        one, and clients send items back unread."""
        assert self._carrier is not None
        bound = replace(self._carrier, call_id=holder)
        self._carrier = None
        return self._output.whole(self._output.thinking(part, bound))

    def _prepare(self, kind: str, place: Document) -> None:
        """What stands before the number and the text in every delta of the open block."""
        head = orjson.dumps({"type": kind, **place})[:-1]
        self.before = b'event: %b\ndata: %b,"sequence_number":' % (kind.encode(), head)

    def grow(self, event: Delta) -> bytes:
        """A delta that is not like the others: the first of a paragraph, or one with logprobs."""
        out = b""
        if isinstance(self._part, Reasoning) and not self.before:
            out = self._open_paragraph(self._part)
        if not self.before:
            return b""  # of a block that a client of this format cannot be told
        if event.logprobs and isinstance(self._part, Text):
            self._logprobs += event.logprobs
            self.said.append(event.text)
            said = self._output.place("content")
            said |= {"delta": event.text, "logprobs": shapes.logprobs(event.logprobs)}
            return self._output.event("response.output_text.delta", said)
        return out + self.say(event.text)

    # --- the end of blocks ----------------------------------------------------------------------

    def close(self) -> bytes:
        """The block is complete."""
        out = self._close_part(self._part) + self._output.end_unless_joined()
        if self._carrier is not None and self._coming.sealed:
            # It became known only now, behind what it stands on.
            bound = self._carrier
            if isinstance(self._part, ToolCall):
                bound = replace(bound, call_id=self._part.id)
            out += self._output.whole(self._output.thinking(Reasoning([]), bound))
        self.number, self._part, self.before, self._carrier = -1, None, b"", None
        return out

    def _close_part(self, part: Part | None) -> bytes:
        match part:
            case Text() | Refusal():
                return self._close_text(part)
            case ToolCall():
                return self._close_call(part)
            case Reasoning():
                return self._close_thinking(part)
            case Image():
                return self._picture(part)
            case Opaque() if part.format == "responses" and not self._coming.sealed:
                return self._output.whole(dict(part.document))
        return b""

    def _close_text(self, part: Text | Refusal) -> bytes:
        place, said = self._output.place("content"), "".join(self.said)
        document = shapes.text(part, said)
        if isinstance(part, Text):
            document["logprobs"] = shapes.logprobs(self._logprobs)
            out = [self._annotate(each, place, document) for each in self._citations]
            done = {"text": said, "logprobs": document["logprobs"]}
            out.append(self._output.event("response.output_text.done", place | done))
        else:
            out = [self._output.event("response.refusal.done", place | {"refusal": said})]
        return b"".join([*out, self._add_part("content", "content_part", place, document)])

    def _annotate(self, citation: Citation, place: Document, document: Document) -> bytes:
        found = shapes.annotation(citation, document["text"], self._coming)
        if found is None:
            return b""
        said = place | {"annotation_index": len(document["annotations"]), "annotation": found}
        document["annotations"].append(found)
        return self._output.event("response.output_text.annotation.added", said)

    def _add_part(self, member: str, kind: str, place: Document, document: Document) -> bytes:
        """A part of the open item is complete."""
        assert self._output.open is not None
        self._output.open[member].append(document)
        return self._output.event(f"response.{kind}.done", place | {"part": document})

    def _close_call(self, part: ToolCall) -> bytes:
        out = b""
        if not self.said and not part.custom:
            out = self.say("{}")
        kind, member = shapes.call(part)
        said = "".join(self.said)
        assert self._output.open is not None
        self._output.open[member] = said
        done = self._output.where() | {member: said} | ({} if part.custom else {"name": part.name})
        return out + self._output.event(f"response.{kind}_{member}.done", done)

    def _picture(self, part: Image) -> bytes:
        """In this format a tool of the provider's draws."""
        item: Document = {"type": "image_generation_call", "id": self._output.id("ig_", part)}
        item |= {"status": "in_progress", "result": None}
        sealed = self._coming.sealed
        out = self._bind(part, item["id"]) if self._carrier is not None and sealed else b""
        out += self._output.begin(item, part.item)
        item["result"] = part.data
        return out + self._output.end()

    # --- thinking -------------------------------------------------------------------------------

    def _words(self, part: Reasoning) -> tuple[str, str, str]:
        """The member of the item that it stands in, and the words of its events. Thinking from
        elsewhere is all told as a summary: that is what clients show."""
        if part.raw and not self._coming.sealed:
            return "content", "reasoning_text", "content_part"
        return "summary", "reasoning_summary_text", "reasoning_summary_part"

    def _open_thinking(self, part: Reasoning) -> bytes:
        if self._output.takes(part, "reasoning"):
            return b""
        return self._output.begin(self._output.thinking(part, None), part.item)

    def _open_paragraph(self, part: Reasoning) -> bytes:
        # A block that said something before goes on in the item that it has begun.
        out = b"" if self._begun else self._open_thinking(part)
        self._begun = True
        member, text, holder = self._words(part)
        place = self._output.place(member)
        self._prepare(f"response.{text}.delta", place)
        empty = {"type": _PARAGRAPHS[member], "text": ""}
        return out + self._output.event(f"response.{holder}.added", place | {"part": empty})

    def end_paragraph(self) -> bytes:
        """The open paragraph is complete, if one is open."""
        if not self.before or not isinstance(self._part, Reasoning):
            return b""
        member, text, holder = self._words(self._part)
        said, place = "".join(self.said), self._output.place(member)
        self.said, self.before = [], b""
        document = {"type": _PARAGRAPHS[member], "text": said}
        out = self._output.event(f"response.{text}.done", place | {"text": said})
        return out + self._add_part(member, holder, place, document)

    def _close_thinking(self, part: Reasoning) -> bytes:
        out, carrier = self.end_paragraph(), self._carrier
        self._carrier = None
        if carrier is None and self._coming.sealed:
            if not self._begun:
                return out  # nothing was said, and nothing is to come back
            carrier = envelope.UNSEALED
        if not self._begun:
            out += self._open_thinking(part)
        if carrier is not None:
            assert self._output.open is not None
            self._output.open["encrypted_content"] = self._output.sealed(carrier)
        return out
