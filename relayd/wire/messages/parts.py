"""The blocks of a Messages request, read into parts.

A block that nobody knows, or that only this format has, stays as it is: `Opaque`. Envelopes of ours
are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import orjson

from relayd.wire import checked, envelope, media
from relayd.wire.neutral import Declaration
from relayd.wire.parts import (
    Cache,
    Carrier,
    CarrierKind,
    Citation,
    Document,
    Extra,
    File,
    Image,
    Loss,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

# Blocks that only this format has, where losing them is not always a refusal: what was found by a
# search for tools is declared elsewhere, and so is what a search turns up.
_OPAQUE: Final[dict[str, Loss]] = {
    "tool_reference": "silent",
    "tool_search_tool_result": "lenient",
}


def cache(value: Document) -> Cache | None:
    """The mark on a block, a tool, or the whole."""
    mark = value.get("cache_control")
    return Cache(str(mark.get("ttl") or "")) if isinstance(mark, dict) else None


def content(value: Document, name: str, at: str) -> list[Part]:
    """Blocks, or one text."""
    said = value.get(name)
    if isinstance(said, str):
        return [Text(said, at=f"{at}.{name}")]
    return [block(each, place) for place, each in checked.sections(value, name, at)]


def block(value: Document, at: str) -> Part:
    """One block."""
    kind = checked.string(value, "type", at) or ""
    read = BLOCKS.get(kind)
    if read is None:
        return Opaque("messages", kind, value, _opaque_loss(kind, value), at=at)
    part = read(value, at)
    part.cache = cache(value)
    known = _READ[kind] | {"type", "cache_control"}
    part.extra |= envelope.without(checked.rest(value, known, {}, "drop"))
    return part


def _opaque_loss(kind: str, value: Document) -> Loss:
    searched = str(value.get("name")).startswith("tool_search_tool")
    if kind == "server_tool_use" and searched:
        return "lenient"
    return _OPAQUE.get(kind, "refuse")


def _text(value: Document, at: str) -> Part:
    found = [_citation(each) for _, each in checked.sections(value, "citations", at)]
    return Text(checked.needed(value, "text", at), found, at=at)


def _citation(value: Document) -> Citation:
    said = {key: each for key, each in value.items() if isinstance(each, str)}
    title = said.get("title") or said.get("document_title") or ""
    quoted = said.get("cited_text", "")
    return Citation(said.get("url", ""), title, quoted, native=value)


def _image(value: Document, at: str) -> Part:
    return _sourced(Image(at=at), value, at)


def _document(value: Document, at: str) -> Part:
    found = File(at=at, name=checked.string(value, "title", at) or "")
    found.context = checked.string(value, "context", at) or ""
    return _sourced(found, value, at)


def _sourced(found: Image | File, value: Document, at: str) -> Part:
    source, place = checked.section(value, "source", at) or {}, f"{at}.source"
    kind = source.get("type")
    found.mime = (checked.string(source, "media_type", place) or "").lower()
    if kind == "base64":
        data = media.standard(checked.needed(source, "data", place))
        if data is None:
            raise checked.wrong(f"{place}.data", "base64")
        found.data = data
        found.mime = media.sniffed(found.mime, data)
    elif kind == "url":
        found.url = checked.needed(source, "url", place)
    elif kind == "file":
        found.file_id = checked.needed(source, "file_id", place)
    elif kind == "text" and isinstance(found, File):
        found.plain = checked.needed(source, "data", place)
    else:
        return Opaque("messages", f"{value['type']} of {kind}", value, at=at)
    return found


def _call(value: Document, at: str) -> Part:
    arguments = checked.section(value, "input", at) or {}
    said = orjson.dumps(arguments).decode()
    return ToolCall(checked.needed(value, "id", at), checked.needed(value, "name", at), said, at=at)


def _result(value: Document, at: str) -> Part:
    return ToolResult(
        checked.needed(value, "tool_use_id", at),
        parts=content(value, "content", at),
        failed=checked.flag(value, "is_error", at) or False,
        at=at,
    )


def _thinking(value: Document, at: str) -> Part:
    signature = checked.string(value, "signature", at)
    carrier = _carrier("anthropic-signature", signature) if signature else None
    said = checked.string(value, "thinking", at)
    return Reasoning([said] if said else [], raw=True, carrier=carrier, at=at)


def _redacted(value: Document, at: str) -> Part:
    carrier = _carrier("anthropic-redacted", checked.needed(value, "data", at))
    return Reasoning([], carrier=carrier, at=at)


def _carrier(kind: CarrierKind, said: str) -> Carrier:
    """What came in an envelope of ours, or the format's own; a broken envelope is nobody's."""
    if envelope.is_envelope(said):
        return envelope.unwrap(said) or envelope.UNSEALED
    return Carrier(kind, said)


def _addition(value: Document, at: str) -> Part:
    """A tool that is declared above, made known here: elsewhere it is known all the time."""
    part = Declaration([], at=at)
    part.extra = {"tool": Extra(value.get("tool"), "silent")}
    return part


BLOCKS: Final[Mapping[str, Callable[[Document, str], Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _call,
    "tool_result": _result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_addition": _addition,
}
_READ: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "citations"}),
    "image": frozenset({"source"}),
    "document": frozenset({"source", "title", "context"}),
    "tool_use": frozenset({"id", "name", "input"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "tool_addition": frozenset({"tool"}),
}
