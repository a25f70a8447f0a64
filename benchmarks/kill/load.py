"""Clients that write down what they were given, to the last byte.

A reply counts as complete when its last byte has come: the whole content-length, or the chunk that
ends a chunked body. From then on the relay may not forget it, whatever happens to it. Some clients
leave early on purpose.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass

import orjson

from relayd.tasks import Tasks

PATIENCE = 20.0
LAST_CHUNK = b"\r\n0\r\n\r\n"
_ID = re.compile(rb"^x-request-id: *(\S+)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
# (share, model, stream, leaves before the end)
KINDS = (
    (5, "demo", False, False),
    (4, "demo-chunks-12-at-200", True, False),
    (2, "demo-chunks-60-at-60", True, False),
    (1, "demo-slow-first-byte-0.3", False, False),
    (1, "demo-chunks-60-at-60", True, True),
    (1, "demo-slow-first-byte-0.3", False, True),
    (1, "demo-500", False, False),
)
SHARES = [share for share, *_ in KINDS]


@dataclass(slots=True)
class Told:
    """What one client was told. `tokens` is what the reply itself reports: in and out."""

    request_id: str = ""
    status: int = 0
    complete: bool = False
    tokens: tuple[int, int] | None = None


class Load:
    """Clients that ask again and again until `stop`. Owns what they were told."""

    def __init__(self, port: int, key: str, seed: int, clients: int = 16) -> None:
        self.told: list[Told] = []
        self._port = port
        self._key = key
        self._rng = random.Random(seed)
        self._stopping = False
        self._tasks = Tasks()
        for number in range(clients):
            self._tasks.spawn(self._ask_on(), f"client-{number}")

    def __repr__(self) -> str:
        return f"<Load {len(self.told)} asked, {self.complete} complete>"

    @property
    def complete(self) -> int:
        """Whole replies of a request that was served."""
        return sum(one.complete and one.status == 200 for one in self.told)

    @property
    def refused(self) -> int:
        """Replies that said 503."""
        return sum(one.status == 503 for one in self.told)

    async def stop(self) -> None:
        """Ask nothing more, and drop what is under way."""
        self._stopping = True
        await self._tasks.cancel()

    async def _ask_on(self) -> None:
        while not self._stopping:
            [kind] = self._rng.choices(KINDS, SHARES)
            _, model, stream, leaves = kind
            told = Told()
            self.told.append(told)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ask(told, model, stream, leaves)
            except (OSError, TimeoutError):
                await asyncio.sleep(0.02)  # it is dead: the reply will not come

    async def _ask(self, told: Told, model: str, stream: bool, leaves: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._request(model, stream))
            if leaves:
                await asyncio.sleep(self._rng.random() * 0.2)
                writer.transport.abort()
                return
            await _hear(reader, told)
        finally:
            writer.transport.abort()

    def _request(self, model: str, stream: bool) -> bytes:
        message = {"role": "user", "content": "word " * self._rng.randint(1, 200)}
        body = orjson.dumps({"model": model, "stream": stream, "messages": [message]})
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def _hear(reader: asyncio.StreamReader, told: Told) -> None:
    """Read a reply, noting what is known of it as soon as it is."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await _some(reader)
    head, _, body = received.partition(b"\r\n\r\n")
    told.status = int(head.split(b" ")[1])
    if found := _ID.search(head):
        told.request_id = found[1].decode()
    length = _LENGTH.search(head)
    while not _is_whole(body, int(length[1]) if length else None):
        body += await _some(reader)
    told.complete = True
    if length and told.status == 200:
        usage = orjson.loads(body)["usage"]
        told.tokens = usage["prompt_tokens"], usage["completion_tokens"]


async def _some(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65536)
    if not data:
        raise ConnectionResetError
    return data


def _is_whole(body: bytes, length: int | None) -> bool:
    if length is None:
        return body.endswith(LAST_CHUNK)
    return len(body) >= length
