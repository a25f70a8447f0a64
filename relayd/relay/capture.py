"""What requests and replies hold, kept for finding errors: off, but for the keys that are named.

Strategy: where a key is named, the relay is given a client that notes what passes and otherwise is
the real one; nobody else pays for it. An ended request becomes one JSON file, written in a thread
from a short queue: when the disk is slow or full, captures are dropped and counted, and requests go
on. Each side of a request is cut at a bound, all files together are held under a bound by deleting
the oldest, and what is older than its time to live is deleted, also what an earlier run has left.
Files and their folder are readable by relayd's own user alone. Headers are not kept: they hold
keys.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from relayd.capture_terms import CaptureTerms
from relayd.model import Entry
from relayd.relay.call import Call, Client
from relayd.relay.sides import RawHeaders
from relayd.wire.multipart import Form, Spool

log = logging.getLogger("relayd")

MOST_WAITING: Final = 32  # captures that wait for the disk
SWEEP: Final = 60.0  # seconds between two looks at the folder
SUFFIX: Final = ".capture.json"


NOTHING: Final = CaptureTerms()


class Captures:
    """Keeps captures. Owns the queue of those to be written and the files in its folder."""

    def __init__(self, terms: CaptureTerms = NOTHING) -> None:
        self.lost = 0
        self.kept = 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._due = asyncio.Event()
        self.adopt(terms)

    def __repr__(self) -> str:
        return f"<Captures of {len(self._keys)} keys, {self.kept} kept, {self.lost} lost>"

    def adopt(self, terms: CaptureTerms) -> None:
        """Go by these from now on."""
        self.terms = terms
        self._keys = frozenset(terms.keys)

    def wants(self, key: str) -> bool:
        """Whether requests with the key of this name are kept."""
        return key in self._keys

    def put(self, name: str, document: dict[str, Any]) -> None:
        """Keep a document, when the disk has time for it."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append((name, orjson.dumps(document, option=orjson.OPT_INDENT_2)))
        self._due.set()

    async def run(self, now: Callable[[], float]) -> None:
        """Write what comes and delete what is old, until cancelled. `now`: Unix seconds."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP):
                        await self._due.wait()
                await self._step(now())
        finally:
            self._write_all(list(self._waiting))
            self._waiting.clear()

    async def _step(self, moment: float) -> None:
        self._due.clear()
        while self._waiting:
            batch = [self._waiting.popleft()]
            await asyncio.to_thread(self._write_all, batch)
        await asyncio.to_thread(sweep, self.terms, moment)

    def _write_all(self, batch: list[tuple[str, bytes]]) -> None:
        for name, data in batch:
            try:
                write(self.terms.directory, name, data)
                self.kept += 1
            except OSError as exc:
                self.lost += 1
                log.warning("a capture could not be kept: %s", exc.strerror)


def write(directory: Path, name: str, data: bytes) -> None:
    """Write one file that only we may read, whole or not at all. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}{SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        try:
            file.write(data)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


def sweep(terms: CaptureTerms, moment: float) -> int:
    """Delete files that are too old, then the oldest beyond the bound; returns how many."""
    found: list[tuple[float, int, Path]] = []
    with contextlib.suppress(OSError):
        for path in terms.directory.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.lstat()
                found.append((state.st_mtime, state.st_size, path))
    left = sum(size for _, size, _ in found)
    deleted = 0
    for made, size, path in sorted(found):
        if made + terms.ttl > moment and left <= terms.total:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            left -= size
            deleted += 1
    return deleted


class Noted:
    """The beginning of what passed on one side."""

    __slots__ = ("_largest", "_pieces", "kept", "size")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._pieces: list[bytes] = []
        self.kept = 0
        self.size = 0

    def __repr__(self) -> str:
        return f"<Noted {self.kept} of {self.size}>"

    def add(self, data: bytes) -> None:
        """Note what passes now."""
        self.size += len(data)
        room = self._largest - self.kept
        if room > 0 and data:
            self._pieces.append(bytes(data[:room]))
            self.kept += len(self._pieces[-1])

    def document(self) -> dict[str, Any]:
        """What was noted, as text where it is text."""
        data = b"".join(self._pieces)
        said: dict[str, Any] = {"bytes": self.size}
        if self.kept < self.size:
            said["cut_at"] = self.kept
        try:
            # The cut may fall into a character.
            said["text"] = codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError:
            said["base64"] = base64.b64encode(data).decode()
        return said


class CapturedClient:
    """A client of whom is noted what it sends and gets. Satisfies `call.Client`."""

    def __init__(self, client: Client, captures: Captures, call: Call, key: str) -> None:
        self._client = client
        self._captures = captures
        self._call = call
        self._key = key
        self._asked = Noted(captures.terms.largest)
        self._got = Noted(captures.terms.largest)
        self.on_drain = client.on_drain
        self.start = client.start
        self.abort = client.abort

    def __repr__(self) -> str:
        return f"<CapturedClient {self._client!r} asked={self._asked!r} got={self._got!r}>"

    @property
    def bytes_in(self) -> int:
        return self._client.bytes_in

    @property
    def bytes_out(self) -> int:
        return self._client.bytes_out

    @property
    def heard_at(self) -> float:
        return self._client.heard_at

    @property
    def gone(self) -> bool:
        return self._client.gone

    @property
    def sends_form(self) -> bool:
        return self._client.sends_form

    async def read_body(self) -> bytes:
        body = await self._client.read_body()
        self._asked.add(body)
        return body

    async def read_form(self, owner: int) -> Form:
        form = await self._client.read_form(owner)
        files = [[file.name, file.filename, file.content_type, file.size] for file in form.files]
        self._asked.add(orjson.dumps({"fields": form.fields, "files": files}))
        return form

    async def read_spool(self, owner: int) -> Spool:
        spool = await self._client.read_spool(owner)
        self._asked.add(b"(%d bytes)" % spool.size)
        return spool

    def write(self, data: bytes) -> bool:
        self._got.add(data)
        return self._client.write(data)

    def send(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self._got.add(body)
        self._client.send(status, headers, body)

    def end(self, data: bytes = b"") -> None:
        self._got.add(data)
        self._client.end(data)

    def keep(self, entry: Entry) -> None:
        """The request has ended: let it be written."""
        self._captures.put(
            entry.request_id,
            {
                "id": entry.request_id,
                "at": entry.started_at,
                "key": self._key,
                "format": entry.format_in,
                "verb": self._call.verb,
                "model": entry.model_asked,
                "upstream": entry.upstream,
                "upstream_format": entry.format_out,
                "status": entry.status,
                "outcome": entry.outcome,
                "error": entry.error_code,
                "request": self._asked.document(),
                "reply": self._got.document(),
            },
        )
