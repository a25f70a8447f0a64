"""Sounds made of nothing: WAV, PCM and MP3 of a length, and the length of a WAV that was sent.

The WAV is a real one (24 kHz, mono, 16 bits, a soft triangle), the MP3 real frames of silence; the
other containers are given as MP3 bytes, for nobody here decodes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

RATE: Final = 24_000
WRITE: Final = 16 * 1024
# MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes, 26 ms. Empty side information is silence.
_MP3_FRAME: Final = b"\xff\xfb\x90\x00" + b"\x00" * 413
_MP3_SECONDS: Final = 1152 / 44_100
_PERIOD: Final = 120
_WAVE: Final = struct.pack(f"<{_PERIOD}h", *(40 * min(i, _PERIOD - i) for i in range(_PERIOD)))
TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def sound(kind: str, seconds: float, size: int = 0) -> Iterator[bytes]:
    """A sound, in pieces of at most `WRITE` bytes.

    Arguments:
        kind: one of `TYPES`.
        size: exactly so many bytes, whatever the seconds; 0 when the seconds count.
    """
    if kind in ("wav", "pcm"):
        length = int(seconds * RATE) * 2
        head = _wav_head(size - 44 if size > 44 else length) if kind == "wav" else b""
        return _pieces(head, _WAVE, size or len(head) + length)
    frames = max(1, round(seconds / _MP3_SECONDS))
    return _pieces(b"", _MP3_FRAME, size or frames * len(_MP3_FRAME))


def _wav_head(length: int) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + length) + b"WAVE" + form + _data_head(length)


def _data_head(length: int) -> bytes:
    return b"data" + struct.pack("<I", length)


def _pieces(head: bytes, pattern: bytes, size: int) -> Iterator[bytes]:
    """`head`, then the pattern over and over, `size` bytes in all."""
    # Whole patterns in a piece: the pieces of a long sound are one object, and cost no memory.
    piece = pattern * (WRITE // len(pattern))
    if head:
        yield head[:size]
    left = size - len(head)
    while left > 0:
        yield piece if left >= len(piece) else piece[:left]
        left -= len(piece)


def seconds_of(data: bytes) -> float:
    """How long a sound is: what a WAV's head says, else a guess of 16,000 bytes a second."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE" and len(data) >= 44:
        per_second = struct.unpack("<I", data[28:32])[0]
        return float((len(data) - 44) / per_second) if per_second else 0.0
    return len(data) / 16_000
