"""What requests and replies hold, kept for finding errors: off, but for the keys that are named.

Strategy: where a key is named, the relay is given a client that notes what passes and otherwise is
the real one; nobody else pays for it. An ended request becomes one JSON file, made and written in a
thread from a short queue: when the disk is slow or full, captures are dropped and counted, and
requests go on. Each side of a request is cut at a bound; all files together have one too, and a
time to live (`filing`). Headers are not kept: they hold keys.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from relayd.capture_terms import CaptureTerms
from relayd.lines import say
from relayd.model import Entry
from relayd.relay.call import Call, Client
from relayd.relay.filing import Filing
from relayd.relay.sides import RawHeaders
from relayd.wire.multipart import Form, Spool

MOST_WAITING: Final = 32  # captures that wait for the disk
MOST_BYTES: Final = 64 * 2**20  # of them
SWEEP: Final = 60.0  # seconds between two looks at the folder
ENDING: Final = 5.0  # seconds that the last ones may take
NOTHING: Final = CaptureTerms()


class Waiting(NamedTuple):
    """A capture that waits for the disk: its name, about how large it is, and what makes it."""

    name: str
    size: int
    made: Callable[[], dict[str, Any]]


class Captures:
    """Keeps captures. Owns the queue of those to be written. `kept` and `lost` are counted since
    the start."""

    def __init__(self, terms: CaptureTerms = NOTHING) -> None:
        self.kept = 0
        self._dropped = self._failed = 0  # each is counted by one thread only
        self.terms = NOTHING
        self._filing = Filing()
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0  # that wait
        self._due = asyncio.Event()
        self._failing = False
        self.adopt(terms)

    def __repr__(self) -> str:
        return f"<Captures of {len(self._keys)} keys, {self.kept} kept, {self.lost} lost>"

    @property
    def lost(self) -> int:
        """Captures that nobody has, since the start."""
        return self._dropped + self._failed

    def adopt(self, terms: CaptureTerms) -> None:
        """Go by these from now on."""
        kept = list(terms.keys)
        if terms.keys != self.terms.keys:
            words = "requests and replies of these keys are kept" if kept else "none are kept now"
            say(logging.WARNING, f"capture: {words}", keys=kept, folder=str(terms.directory))
        self.terms = terms
        self._keys = frozenset(terms.keys)

    def wants(self, key: str) -> bool:
        """Whether requests with the key of this name are kept."""
        return key in self._keys

    def put(self, key: str, name: str, size: int, made: Callable[[], dict[str, Any]]) -> None:
        """Keep a document, when the disk has time for it, and the key is still wanted.

        Arguments:
            key: whose it is.
            name: of the file.
            size: bytes in it, about.
            made: makes it, in a thread; what it is made of must not change any more.
        """
        if not self.wants(key):
            return  # a reload has ended it meanwhile
        waits = self._waiting
        if len(waits) >= MOST_WAITING or (waits and self._bytes + size > MOST_BYTES):
            self._dropped += 1
            self._fail("the disk does not take them in time", name)
            return
        waits.append(Waiting(name, size, made))
        self._bytes += size
        self._due.set()

    async def run(self, now: Callable[[], float]) -> None:
        """Write what comes and delete what is old, until cancelled. `now`: Unix seconds."""
        next_look = asyncio.get_running_loop().time() + SWEEP
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP):
                        await self._due.wait()
                self._due.clear()
                await self._write_all(now)
                if asyncio.get_running_loop().time() >= next_look:
                    await asyncio.to_thread(self._filing.look, self.terms, now())
                    next_look = asyncio.get_running_loop().time() + SWEEP
        finally:
            await self._write_the_last(now)

    async def _write_the_last(self, now: Callable[[], float]) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENDING):
                    await self._write_all(now)
        finally:
            # In a task that is cancelled CPython 3.11.2 raises CancelledError when time is up.
            self._dropped += len(self._waiting)
            self._waiting.clear()

    async def _write_all(self, now: Callable[[], float]) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            self._bytes -= one.size
            await asyncio.to_thread(self._write, one, self.terms, now())

    def _write(self, one: Waiting, terms: CaptureTerms, moment: float) -> None:
        """Make and write one. Runs in a thread, and to its end whatever happens to the loop."""
        try:
            data = orjson.dumps(one.made(), option=orjson.OPT_INDENT_2)
            self._filing.write(terms, one.name, data, moment)
        except Exception as exc:  # also a bug of ours: the next one may be well
            self._failed += 1
            why = exc.strerror if isinstance(exc, OSError) else None
            self._fail(why or type(exc).__name__, one.name)
            return
        self.kept += 1
        if self._failing:
            self._failing = False
            say(logging.INFO, "captures are kept again", lost=self.lost)

    def _fail(self, why: str, name: str) -> None:
        """Say so, where that was not said already."""
        if not self._failing:
            self._failing = True
            say(logging.WARNING, f"a capture could not be kept: {why}", request=name)


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
        asked, got = self._asked, self._got
        name, size = entry.request_id, asked.kept + got.kept
        self._captures.put(self._key, name, size, lambda: self._document(entry))

    def _document(self, entry: Entry) -> dict[str, Any]:
        return {
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
        }
