"""The parts of a history, written as the blocks of a Messages request.

Natively every part becomes the block that it was. For a client of another format blocks say what
Anthropic takes: no empty text, no thinking but what this very account signed, pictures and
documents of few types, and those only where the user or a tool shows them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from relayd.wire import checked, envelope, ids, media
from relayd.wire.controls import Marks
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration, Request
from relayd.wire.parts import (
    Cache,
    Document,
    File,
    Image,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.setting import Going

PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
# How long a mark holds, in the words that there are here; "" is five minutes.
_TTLS: Final = {"5m": "5m", "1h": "1h", "12h": "1h", "24h": "1h"}
_NOTHING: Final = frozenset({"", "null"})  # how a call without arguments is written
# Where the arguments of a call stand within it, in the client's format.
_ARGUMENTS: Final = {"chat": "function.arguments"}


class Content:
    """Makes blocks of parts.

    Arguments:
        native: the request came in this format, and its parts stay what they were.
    """

    __slots__ = ("_going", "_losses", "_marks", "_names", "_native", "_source")

    def __init__(self, request: Request, going: Going, names: Names, *, native: bool) -> None:
        self._source = request.source
        self._going = going
        self._losses = going.losses
        self._names = names
        self._native = native
        self._marks = Marks(request, going.can)

    def __repr__(self) -> str:
        return f"<Content of {self._source} native={self._native}>"

    def native(self, parts: Iterable[Part]) -> list[Document]:
        """The blocks as they came; what another provider said of itself stays here."""
        return [self._native_block(part) for part in parts if not self._is_foreign(part)]

    def blocks(self, parts: Iterable[Part], role: str) -> list[Document]:
        """The blocks for one message. Raises CannotTranslate for what cannot stand in it."""
        found = []
        for part in parts:
            if role != "user" and isinstance(part, Media):
                why = "only the user shows pictures and documents there"
                raise self._losses.refusal(part.at, why, code="unsupported_value")
            if not self._is_left_out(part):
                found.append(self._marked(part, self._block(part)))
        return found

    def mark(self, holder: object, cache: Cache | None) -> Document:
        """The member that marks a block or a tool; {} where there is no mark, or one too many."""
        kept = cache if self._native else self._marks.of(holder, cache)
        if kept is None:
            return {}
        ttl = kept.ttl if self._native else _TTLS.get(kept.ttl, "")
        return {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})}

    def _marked(self, part: Part, document: Document) -> Document:
        return document | self.mark(part, part.cache)

    # --- which ----------------------------------------------------------------------------------

    def _is_foreign(self, part: Part) -> bool:
        carrier = part.carrier
        return isinstance(part, Reasoning) and (
            carrier is not None and self._going.own(carrier) is None
        )

    def _is_left_out(self, part: Part) -> bool:
        """What says nothing, what this account cannot read, and what was agreed to be lost."""
        match part:
            case Text() | Refusal():
                return not part.text.strip()
            case Reasoning():
                return self._going.own(part.carrier) is None
        return isinstance(part, Declaration | Opaque)

    # --- blocks ---------------------------------------------------------------------------------

    def _native_block(self, part: Part) -> Document:
        document: Document
        match part:
            case Text():
                cited = [each.native for each in part.citations]
                document = {"type": "text", "text": part.text}
                document |= {"citations": cited} if cited else {}
            case Declaration():
                document = {"type": "tool_addition"}
            case Opaque():
                return dict(envelope.unsealed(part.document))
            case ToolResult():
                document = self._result(part, self.native(part.parts))
            case _:
                document = self._block(part)
        return checked.written(part.extra, self._marked(part, document))

    def _block(self, part: Part) -> Document:
        match part:
            case Text() | Refusal():
                return {"type": "text", "text": part.text}
            case Image():
                return {"type": "image", "source": self._picture(part)}
            case File():
                return self._file(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part, self.blocks(part.parts, "user"))
            case Reasoning():
                return _thinking(part)
        why = f"the messages format has no {type(part).__name__.lower()}"
        raise self._losses.refusal(part.at, why, code="unsupported_value")

    def _call(self, part: ToolCall) -> Document:
        return {
            "type": "tool_use",
            "id": part.id if self._native else ids.call_id(part.id, "messages"),
            "name": self._names.there(part.name, part.namespace),
            "input": {"input": part.arguments} if part.custom else self._arguments(part),
        }

    def _arguments(self, part: ToolCall) -> Document:
        if part.arguments.strip() in _NOTHING:
            return {}
        value = checked.json_object(part.arguments)
        if value is None:
            at = f"{part.at}.{_ARGUMENTS.get(self._source, 'arguments')}"
            raise self._losses.refusal(at, "it is no JSON object", code="invalid_value")
        return value

    def _result(self, part: ToolResult, content: list[Document]) -> Document:
        document: Document = {
            "type": "tool_result",
            "tool_use_id": part.id if self._native else ids.call_id(part.id, "messages"),
            "content": content,
        }
        return document | ({"is_error": True} if part.failed else {})

    # --- media ----------------------------------------------------------------------------------

    def _picture(self, part: Image) -> Document:
        if part.data and not self._native:
            # Others never look at the type that is said; here it is compared with the first bytes.
            part = replace(part, mime=media.sniffed("", part.data) or part.mime)
        if part.mime not in PICTURES and part.data and not self._native:
            why = f"pictures of the type {part.mime or 'unknown'} are not read there"
            raise self._losses.refusal(part.at, why, code="unsupported_value")
        return self._elsewhere(part, "image") or _inline(part)

    def _file(self, part: File) -> Document:
        document: Document = {"type": "document", "source": self._paper(part)}
        document |= {"title": part.name} if part.name else {}
        return document | ({"context": part.context} if part.context else {})

    def _paper(self, part: File) -> Document:
        """The source of a document."""
        elsewhere = self._elsewhere(part, "file")
        if elsewhere is not None:
            return elsewhere
        if part.mime == "application/pdf" or (self._native and not part.plain):
            return _inline(part)
        said = part.plain or (_decoded(part.data) if part.mime.startswith("text/") else None)
        if said is None:
            why = "only PDF and plain text are read there"
            raise self._losses.refusal(part.at, why, code="unsupported_value")
        kind = part.mime if self._native and part.mime else "text/plain"
        return {"type": "text", "media_type": kind, "data": said}

    def _elsewhere(self, part: Image | File, medium: str) -> Document | None:
        """The source of what is not in the request; None where it is."""
        can, refusal = self._going.can, self._losses.refusal
        if not self._native:
            if medium not in can.inputs:
                raise refusal(part.at, "this model does not look at it", code="unsupported_value")
            if part.file_id:
                raise refusal(part.at, "a file of another provider cannot be read there")
            if part.url and not (part.url.startswith("https://") and can.image_urls):
                raise refusal(part.at, "only https addresses are fetched there")
        if part.file_id:
            return {"type": "file", "file_id": part.file_id}
        return {"type": "url", "url": part.url} if part.url else None


def _inline(part: Media) -> Document:
    return {"type": "base64", "media_type": part.mime, "data": part.data}


def _decoded(data: str) -> str | None:
    """The text in base64; None where there is none."""
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, ValueError):
        return None


def _thinking(part: Reasoning) -> Document:
    carrier = part.carrier
    if carrier is not None and carrier.kind == "anthropic-redacted":
        return {"type": "redacted_thinking", "data": carrier.payload}
    said = "\n\n".join(part.text)
    signature = carrier.payload if carrier is not None else ""
    return {"type": "thinking", "thinking": said, "signature": signature}
