"""Inline data: data URLs, base64 in both alphabets, and what the first bytes say a file is."""

from __future__ import annotations

import base64
import binascii
import re
from struct import unpack
from typing import Final, NamedTuple

_DATA_URL = re.compile(r"data:([^;,\s]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)
_HEAD: Final = 64  # characters of base64 that are looked at
_LONG_HEAD: Final = 128 * 1024  # of a JPEG, for its size
_PNG_SIZE: Final = slice(16, 24)
_NO_FRAMES: Final = frozenset({0xC4, 0xC8, 0xCC})  # markers among those of a JPEG's frames
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


def encoded(data: bytes) -> str:
    """Bytes as standard padded base64."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decoded(data: str) -> bytes:
    """The bytes of base64; none for garbage."""
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return b""


def sniffed(mime: str, data: str) -> str:
    """`mime`, or what the first bytes show where it says nothing."""
    if mime not in _VAGUE:
        return mime
    head = decoded(data[:_HEAD])
    if head.startswith(b"RIFF"):
        return _SECOND.get(head[8:12], "")
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "")


def pixels(data: str) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG picture in base64; None where its beginning does not tell.

    A JPEG says it behind what cameras and editors note, which may be much.
    """
    head = decoded(data[:_HEAD])
    if head.startswith(b"\x89PNG") and len(head) >= _PNG_SIZE.stop:
        return _pair(head[_PNG_SIZE], ">II")
    if head.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(decoded(data[:_LONG_HEAD]))
    return None


def _of_jpeg(head: bytes) -> tuple[int, int] | None:
    """Each segment says how long it is; the frame's has the size."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if 0xC0 <= head[at + 1] <= 0xCF and head[at + 1] not in _NO_FRAMES:
            height, width = _pair(head[at + 5 : at + 9], ">HH")
            return width, height
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _pair(data: bytes, form: str) -> tuple[int, int]:
    one, other = unpack(form, data)
    return one, other
