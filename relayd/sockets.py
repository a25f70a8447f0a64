"""How bytes are handed to a socket's transport, for both sides of the relay.

Measured on uvloop: `writelines` of two small pieces costs 8 us more than one `write` of both, on
the machine of benchmarks/RESULTS.md; copying a few kilobytes together costs next to nothing. Beyond
`SMALL` the copy is what would cost, so large bodies go out as the objects that they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

SMALL = 8 * 1024


def send(transport: asyncio.WriteTransport, pieces: Sequence[bytes | memoryview]) -> None:
    """Write the pieces: joined when they are small, untouched when they are not."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif sum(map(len, pieces)) <= SMALL:
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)
