"""Inline data: data URLs, base64 in both alphabets, and what the first bytes say a file is."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

_DATA_URL = re.compile(r"data:([^;,\s]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)
_HEAD: Final = 64  # characters of base64 that are looked at
# The beginning of a file -> its type.
MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)
_SECOND: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_VAGUE: Final = frozenset({"", "application/octet-stream", "image/*", "binary/octet-stream"})

# How OpenAI's formats name the types of sound.
SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_SOUND_NAMES: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


def sound_type(name: str) -> str:
    """The type of the sound that OpenAI's formats call `name`."""
    return SOUNDS.get(name, f"audio/{name}")


def sound_name(mime: str) -> str:
    """What OpenAI's formats call it: `wav` or `mp3`; another type's own name for hosts that know
    it."""
    return _SOUND_NAMES.get(mime, mime.partition("/")[2])


# A file's type -> how names of such files end.
_ENDINGS: Final = {
    "application/pdf": ".pdf",
    "application/json": ".json",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")


def file_name(name: str, mime: str) -> str:
    """`name` with an ending, by which OpenAI's formats know what a file is; a usual one for a file
    without any name."""
    if _ENDING.search(name):
        return name
    return (name or "document") + _ENDINGS.get(mime, "" if name or mime else ".pdf")


class Inline(NamedTuple):
    """Inline data: its type, "" where nothing tells, and standard padded base64."""

    mime: str
    data: str


def data_url(url: str) -> Inline | None:
    """What a data URL holds; None where it is none, or is not base64."""
    found = _DATA_URL.match(url)
    if found is None or found[3] is None:
        return None
    data = standard(url[found.end() :])
    return Inline(sniffed(found[1].lower(), data), data) if data is not None else None


def standard(data: str) -> str | None:
    """Base64 of either alphabet, padded or not, in lines or not, as standard padded base64; None
    for garbage."""
    if "\n" in data:
        data = "".join(data.split())
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    data = data.rstrip("=")
    data += "=" * (-len(data) % 4)
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    return data


def as_url(mime: str, data: str) -> str:
    """A data URL."""
    return f"data:{mime or 'application/octet-stream'};base64,{data}"


def sniffed(mime: str, data: str) -> str:
    """`mime`, or what the first bytes show where it says nothing."""
    if mime not in _VAGUE:
        return mime
    try:
        head = base64.b64decode(data[:_HEAD])
    except (binascii.Error, ValueError):
        return ""
    if head.startswith(b"RIFF"):
        return _SECOND.get(head[8:12], "")
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "")
