"""A request's body on its way in: what it may be, how much of it, and how long it may take.

A body is refused as soon as its head, or the piece that shows it, says that it is too much: nothing
is read first. Time is bounded twice: over all, where every byte received earns a little more of it,
and between two pieces, so that what was earned cannot be waited away. Nor can it be trickled away:
no more of it is kept than `timeout` once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import StreamReader, web

from relayd.errors import BadCall
from relayd.spool import Room

UPLOAD_RATE = 16 * 1024  # bytes a second, at least: each upload holds a file
ENCODINGS = frozenset({"identity", "gzip", "deflate", "br"})
Take = Callable[[bytes], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a request body may take: bytes, and seconds plus one more per `rate` bytes received; and
    no longer than these seconds between two pieces.

    `max_upload` bounds what is spooled: forms, and what is passed on unread; it goes to `room`.
    """

    max_body: int
    timeout: float = 30.0
    rate: int = 1024
    max_upload: int = 0
    room: Room | None = None


class Receiving(Protocol):
    """Who reads a body, and counts its bytes."""

    bytes_in: int


def check(headers: Mapping[str, str], most: int) -> None:
    """BadCall for a body whose head already says that it cannot be taken: 413, 415."""
    declared = headers.get("Content-Length", "0")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    encoding = headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise BadCall("This Content-Encoding is not supported.", status=415)


def check_json(headers: Mapping[str, str]) -> None:
    """BadCall (415) for a body that says that it is not JSON."""
    if "json" not in headers.get("Content-Type", "json").lower():
        raise BadCall(
            "The body must be JSON: send `Content-Type: application/json`.",
            status=415,
            code="unsupported_content_type",
        )


async def take_in(
    client: Receiving, stream: StreamReader, take: Take, most: int, pace: tuple[float, int]
) -> None:
    """Hand over the pieces of a body as they come.

    Arguments:
        client: counts them.
        stream: has them.
        take: gets them; the next piece waits for what it returns.
        most: bytes in all.
        pace: seconds, and the bytes that earn one more.
    Raises: BadCall: 413 over the bound, 408 too slow, 400 broken off or badly encoded.
    """
    clock = asyncio.get_running_loop().time
    timeout, rate = pace
    deadline = clock() + timeout
    try:
        while not stream.at_eof():
            async with asyncio.timeout_at(min(deadline, clock() + timeout)):
                piece = await stream.readany()
            deadline = min(deadline + len(piece) / rate, clock() + 2 * timeout)
            client.bytes_in += len(piece)
            if client.bytes_in > most:
                raise too_large(most)
            waiting = take(piece)
            if waiting is not None:
                await waiting
    except TimeoutError:
        message = "The request body came too slowly."
        raise BadCall(message, status=408, code="body_timeout") from None
    except web.RequestPayloadError:
        raise BadCall("The request body is broken or badly encoded.") from None


def too_large(most: int) -> BadCall:
    """That a body is larger than it may be."""
    message = f"The request body is larger than {most} bytes."
    return BadCall(message, status=413, code="request_too_large")


def unread(piece: bytes) -> None:
    """Whatever a piece holds, it is passed on."""
