"""What a journal that was left behind still has to tell the store.

After a crash the folder holds lines of requests whose rows the store may lack. A closing line is
such a row. An opening without one is a request that was cut by the crash: it becomes a row with
outcome `interrupted` and the cost that its opening line states. Rows that the store has already are
left as they are there, so reading too much is harmless and a replay that was cut short is repeated.

One file is in memory at a time, beside the openings that have no closing yet. A line that cannot be
read never stops the start: it is counted, and its file is kept under another suffix for whoever
wants to look. Only half a line at the end of a file is nothing to keep: the process died in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from relayd.ledger.lines import Opening, Unreadable, read_line
from relayd.ledger.segment import SUFFIX
from relayd.ledger.writer import EntrySink, retry_delay
from relayd.lines import say
from relayd.model import Entry

BATCH = 1000
KEPT = ".unread"


class Recovered(NamedTuple):
    """What a replay found: rows of finished requests, of interrupted ones, lines given up."""

    settled: int = 0
    interrupted: int = 0
    damaged: int = 0


class Replay:
    """The journal files in a folder, read once: first `batches`, then `done`.

    State: the openings whose closing was not met yet, by request id.
    """

    def __init__(self, directory: Path) -> None:
        found = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
        self._paths = sorted(found, key=lambda path: int(path.stem))
        self._open: dict[str, Opening] = {}
        self._keep: set[Path] = set()  # files with lines that a look at might save
        self._settled = self._interrupted = self._damaged = 0

    def __repr__(self) -> str:
        return f"<Replay of {len(self._paths)} files: {self.found}>"

    @property
    def found(self) -> Recovered:
        return Recovered(self._settled, self._interrupted, self._damaged)

    def batches(self) -> Iterator[list[Entry]]:
        """All rows, in batches of at most BATCH; those of interrupted requests last."""
        batch: list[Entry] = []
        for entry in self._entries():
            batch.append(entry)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def done(self) -> None:
        """The store has all rows: remove the files."""
        for path in self._paths:
            if path in self._keep:
                path.replace(path.with_suffix(KEPT))
            else:
                path.unlink()

    def _entries(self) -> Iterator[Entry]:
        for path in self._paths:
            for line in self._lines(path):
                if isinstance(line, Opening):
                    self._open[line.request_id] = line
                else:
                    self._open.pop(line.request_id, None)
                    self._settled += 1
                    yield line
        while self._open:
            _, opening = self._open.popitem()
            self._interrupted += 1
            yield opening.interrupted()

    def _lines(self, path: Path) -> Iterator[Opening | Entry]:
        *lines, rest = path.read_bytes().rstrip(b"\0").split(b"\n")
        for line in lines:
            try:
                # Zeros before a line: pages that a power cut kept from the disk.
                yield read_line(line.lstrip(b"\0"))
            except Unreadable as problem:
                self._damaged += 1
                self._keep.add(path)
                words = f"journal: a line of {path.name} cannot be read: {problem}"
                say(logging.WARNING, words)
        if rest:
            self._damaged += 1
            say(logging.WARNING, f"journal: the last line of {path.name} is cut off")


async def recover(
    directory: Path,
    store: EntrySink,
    patience: float = 60.0,
    *,
    secure: Callable[[], None] | None = None,
) -> Recovered:
    """Bring what a journal left behind into the store; the folder need not exist.

    Raises what the store raises if it takes no rows for `patience` seconds, and what `secure`
    raises (see Journal): nothing is lost then, the next start tries again.
    """
    replay = Replay(directory)
    for batch in replay.batches():
        await _offer(batch, store, patience)
    if secure is not None:
        await asyncio.to_thread(secure)
    replay.done()
    found = replay.found
    if any(found):
        words = "journal: what a daemon left that did not end is read back"
        finished, interrupted, unreadable = found
        say(
            logging.WARNING,
            words,
            finished=finished,
            interrupted=interrupted,
            unreadable=unreadable,
        )
    return found


async def _offer(batch: list[Entry], store: EntrySink, patience: float) -> None:
    failures, waited = 0, 0.0
    while True:
        try:
            return await store.add_entries(batch)
        except Exception as error:
            failures += 1
            delay = retry_delay(failures)
            if waited + delay > patience:
                raise
            if failures == 1:
                say(logging.WARNING, f"journal: the store does not take its rows yet: {error}")
            waited += delay
            await asyncio.sleep(delay)
