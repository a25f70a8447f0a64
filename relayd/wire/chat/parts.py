"""The parts of a chat message's content, read into the hub.

A picture may be a bare address, a file may be a data URL, bare base64 or an address: hosts differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from relayd.errors import BadCall
from relayd.wire import checked, envelope, media
from relayd.wire.chat import details
from relayd.wire.facts import objects
from relayd.wire.parts import (
    Audio,
    Cache,
    Document,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Video,
)

M = TypeVar("M", Image, File, Video)


def content(value: Document, at: str) -> list[Part]:
    """The parts of a message's content, which may be a text."""
    said = value.get("content")
    if said is None:
        return []
    if isinstance(said, str):
        return [Text(said, at=f"{at}.content")]
    return [part(each, place) for place, each in checked.sections(value, "content", at)]


def part(value: Document, at: str) -> Part:
    """One part of a content."""
    kind = checked.string(value, "type", at) or ""
    read = PARTS.get(kind)
    if read is None:
        return Opaque("chat", kind, value, at=at)
    found = read(value, at)
    found.cache = cache(value)
    known = {"type", kind, "cache_control", "prompt_cache_breakpoint"}
    found.extra = envelope.without(checked.rest(value, known, {}, "drop")) | found.extra
    return found


def cache(value: Document) -> Cache | None:
    """The mark on a part or a tool, in either of the two ways in which hosts write it."""
    for name in ("cache_control", "prompt_cache_breakpoint"):
        mark = value.get(name)
        if isinstance(mark, dict):
            return Cache(str(mark.get("ttl") or ""), {name: mark})
    return None


def _text(value: Document, at: str) -> Part:
    return Text(checked.needed(value, "text", at), at=at)


def image(value: Document, at: str) -> Part:
    """A picture, also one that is a bare address."""
    source = value.get("image_url")
    holder = {"url": source} if isinstance(source, str) else checked.section(value, "image_url", at)
    at_url = f"{at}.image_url"
    url = checked.needed(holder or {}, "url", at_url)
    found = Image(at=at, detail=checked.string(holder or {}, "detail", at_url) or "")
    return _placed(found, url, at_url)


def _placed(found: M, url: str, at: str) -> M:
    """`found` with its source: inline, or where it is."""
    inline = media.data_url(url)
    if inline is not None:
        found.mime, found.data = inline
    elif url.startswith("data:"):
        raise BadCall(f"`{at}` holds no valid base64.", code="invalid_base64_image", param=at)
    else:
        found.url = url
    return found


def _audio(value: Document, at: str) -> Part:
    holder = checked.section(value, "input_audio", at) or {}
    kind = checked.needed(holder, "format", f"{at}.input_audio")
    data = media.standard(checked.needed(holder, "data", f"{at}.input_audio"))
    if data is None:
        raise BadCall(f"`{at}.input_audio.data` is no base64.", param=f"{at}.input_audio.data")
    return Audio(media.sound_type(kind), data, at=at)


def _file(value: Document, at: str) -> Part:
    holder, at_file = checked.section(value, "file", at) or {}, f"{at}.file"
    found = File(at=at, name=checked.string(holder, "filename", at_file) or "")
    found.file_id = checked.string(holder, "file_id", at_file) or ""
    data = checked.string(holder, "file_data", at_file) or ""
    if data.startswith(("http://", "https://")):
        found.url = data
    elif data.startswith("data:"):
        _placed(found, data, f"{at_file}.file_data")
    elif data:
        plain = media.standard(data)
        if plain is None:
            message = f"`{at_file}.file_data` is no base64."
            raise BadCall(message, param=f"{at_file}.file_data")
        found.mime, found.data = media.sniffed("", plain), plain
        found.extra = {"file": Extra(holder, "silent")}  # hosts differ in whether they want a URL
    return found


def _video(value: Document, at: str) -> Part:
    holder = checked.section(value, "video_url", at) or {}
    return _placed(Video(at=at), checked.needed(holder, "url", f"{at}.video_url"), at)


def _refusal(value: Document, at: str) -> Part:
    return Refusal(checked.needed(value, "refusal", at), at=at)


def _document(value: Document, at: str) -> Part:
    """A document by its address, as Mistral has it; kept as it is for its own host."""
    said = value.get("document_url")
    source = {"url": said} if isinstance(said, str) else checked.section(value, "document_url", at)
    at_url = f"{at}.document_url"
    found = File(at=at, name=checked.string(value, "document_name", at) or "")
    found.extra = {name: Extra(each, "silent") for name, each in value.items()}
    return _placed(found, checked.needed(source or {}, "url", at_url), at_url)


def _thinking(value: Document, at: str) -> Part:
    """Thinking among the content, as Mistral has it."""
    said = details.said_in(objects(value.get("thinking")))
    carrier = details.carrier(details.CONTENT, [])
    own = {name: Extra(each, "silent") for name, each in value.items()}
    return Reasoning([said] if said else [], raw=True, carrier=carrier, at=at, extra=own)


PARTS: Final[Mapping[str, Callable[[Document, str], Part]]] = {
    "text": _text,
    "image_url": image,
    "input_audio": _audio,
    "file": _file,
    "video_url": _video,
    "refusal": _refusal,
    "document_url": _document,
    "thinking": _thinking,
}
