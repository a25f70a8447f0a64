"""What decodes a body that comes compressed although identity was asked for."""

from __future__ import annotations

import zlib

from relayd.errors import BadReply

# zlib: 32 + 15 accepts gzip and zlib wrappers.
ANY_WRAPPER = 32 + zlib.MAX_WBITS


def inflater(encoding: bytes) -> zlib._Decompress | None:
    """What decodes a body of this encoding; None where it is not encoded.

    The observer of usage needs plain bytes, so what we cannot decode is refused (BadReply).
    """
    encoding = encoding.strip().lower()
    if encoding in (b"gzip", b"x-gzip", b"deflate"):
        return zlib.decompressobj(ANY_WRAPPER)
    if encoding in (b"", b"identity"):
        return None
    raise BadReply("The upstream insists on a content-encoding that relayd does not decode.")
