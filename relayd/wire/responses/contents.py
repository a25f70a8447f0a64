"""Parts, written as the contents of Responses items: what is the same wherever they came from."""

from __future__ import annotations

from collections.abc import Iterable

from relayd.wire import media
from relayd.wire.parts import Carrier, Document, File, Image, Part, Reasoning, Refusal, Text
from relayd.wire.setting import Going


def content(part: Part, role: str, going: Going) -> Document:
    """One part of a message or of a result, without what only this format says. Raises
    CannotTranslate for one that this format does not have."""
    match part:
        case Text():
            return {
                "type": "output_text" if role == "assistant" else "input_text",
                "text": part.text,
            }
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            return _image(part)
        case File():
            return _file(part)
    why = "the responses format has no such part"
    raise going.losses.refusal(part.at, why, code="unsupported_value")


def _image(part: Image) -> Document:
    document: Document = {"type": "input_image"}
    if part.file_id:
        document["file_id"] = part.file_id
    else:
        document["image_url"] = part.url or media.as_url(part.mime, part.data)
    return document | ({"detail": part.detail} if part.detail else {})


def _file(part: File) -> Document:
    said = {
        "filename": part.name,
        "file_id": part.file_id,
        "file_url": part.url,
        "file_data": media.as_url(part.mime, part.data) if part.data else "",
        "detail": part.detail,
    }
    return {"type": "input_file"} | {name: value for name, value in said.items() if value}


def thinking(parts: Iterable[Reasoning], carrier: Carrier | None) -> Document:
    """A reasoning item: what was thought, a summary of it, and what is sealed."""
    document: Document = {"type": "reasoning", "summary": []}
    for part in parts:
        shown = "reasoning_text" if part.raw else "summary_text"
        texts = [{"type": shown, "text": each} for each in part.text]
        document["content" if part.raw else "summary"] = texts
    if carrier is not None:
        document["encrypted_content"] = carrier.payload
    return document
