"""Pictures made of nothing: small PNG files of any size, in the colour of a seed.

Two colours in stripes, one bit a pixel, so that even a picture of 4096 by 4096 is a few hundred
bytes. A real decoder reads them; a filler chunk makes them as large as a test wants.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MOST_PIXELS: Final = 4096
_STRIPE: Final = 16
_FAMILIES: Final = (SIGNATURE, b"\xff\xd8\xff", b"RIFF", b"GIF8")


def png(width: int, height: int, seed: str, size: int = 0) -> bytes:
    """A PNG file of so many pixels.

    Arguments:
        seed: hexadecimal digits; the colours are made of them.
        size: bytes that the file shall have; it never has fewer than it needs.
    """
    head, tail = _drawn(width, height, seed[:6])
    missing = size - len(SIGNATURE) - len(head) - len(tail) - 12
    # A private, ancillary chunk: decoders skip it.
    filler = _chunk(b"reLd", b"relayd " * (missing // 7) + b"." * (missing % 7))
    return SIGNATURE + head + (filler if missing >= 0 else b"") + tail


@lru_cache(maxsize=64)
def _drawn(width: int, height: int, seed: str) -> tuple[bytes, bytes]:
    """The chunks before and after the filler; never more than a few kilobytes."""
    dark, light = bytes.fromhex(seed.ljust(6, "5")), b"\xf4\xf1\xea"
    row = (width + 7) // 8
    stripes = (b"\x00" + b"\x00" * row) * _STRIPE + (b"\x00" + b"\xff" * row) * _STRIPE
    pixels = (stripes * (height // (2 * _STRIPE) + 1))[: (row + 1) * height]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0))
    head += _chunk(b"PLTE", dark + light)
    return head, _chunk(b"IDAT", zlib.compress(pixels, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def is_picture(data: bytes) -> bool:
    """Whether the bytes begin like a picture: PNG, JPEG, WebP or GIF."""
    return data.startswith(_FAMILIES)


def pixels_of(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG; (0, 0) for anything else."""
    if not data.startswith(SIGNATURE) or len(data) < 24:
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return width, height
