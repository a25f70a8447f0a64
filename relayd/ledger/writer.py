"""Usage rows on their way into the store: into the journal at once, then behind, in batches.

A request leaves its row here and is done with it: the journal has its line before `add` returns.
One task, `run`, owned by the daemon, takes the rows to the store when a batch is full or the first
row has waited for `interval`; with nothing to write it sleeps without a timer. Rows leave memory
and journal only after the store has them, so a failing store costs nothing but patience: the same
batch is offered again, after a wait that doubles up to five seconds, and the request id keeps a row
from being written twice. What bounds memory and disk is `full`: admission then answers 503, so no
row is ever dropped to make room. The other task, `care`, keeps the journal: onto the platter at an
interval, and out of being full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from relayd.ledger.lines import Opening
from relayd.lines import say
from relayd.model import Entry

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
LAST_RETRY_CLOSING = 0.5  # at the end there is no time for patience
CARE = 0.5  # seconds between two looks after the journal, where `sync` does not want them closer


class EntrySink(Protocol):
    """Where batches go: the part of a store that the ledger needs."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Keep these rows, all or none; a request id that is there already is left as it is."""


class Notes(Protocol):
    """Where requests are written down at once: the part of a journal that the writer needs."""

    full: bool

    @property
    def size(self) -> int: ...

    @property
    def unwritten(self) -> int: ...

    @property
    def oldest(self) -> float: ...

    def opened(self, opening: Opening) -> None: ...

    def settled(self, entry: Entry) -> None: ...

    def stored(self, entries: Sequence[Entry]) -> None: ...

    def retry(self) -> bool: ...

    def turn(self) -> None: ...

    def gather(self) -> None: ...

    def tidy(self, *, sync: bool = True) -> None: ...

    def close(self, *, sync: bool = True) -> None: ...


def retry_delay(failures: int) -> float:
    """Seconds to wait after that many failures in a row (at least one). No jitter: one writer."""
    return float(min(FIRST_RETRY * 2 ** min(failures - 1, 16), LAST_RETRY))


class LedgerWriter:
    """Takes rows without waiting, and writes them.

    Arguments:
        store: where they go.
        journal: what keeps them until they are there; the writer owns it, `close` closes it.
        sync: seconds after which a journal line is on the platter, too; 0 leaves it to the system.
        turn: seconds after which the journal goes on to a new file, however little is in it.
        interval: seconds that a row may wait for others to join its batch.
        batch: rows in one transaction; that many waiting start one at once.
        bound: rows waiting from which on `full` is true.
    """

    def __init__(
        self,
        store: EntrySink,
        journal: Notes,
        *,
        sync: float = 1.0,
        turn: float = 300.0,
        interval: float = 0.2,
        batch: int = 1000,
        bound: int = 100_000,
    ) -> None:
        self._store = store
        self._journal = journal
        self._settled = journal.settled
        self._sync = sync
        self._turn = turn
        self._interval = interval
        self._batch = batch
        self._bound = bound
        self._rows: list[Entry] = []  # oldest first; a batch leaves the front once it is stored
        self._add = self._rows.append
        self._failures = 0  # in a row
        self.errors = 0  # since the start
        self._closing = False
        self._some = asyncio.Event()  # there is something to write
        self._hurry = asyncio.Event()  # do not wait for more
        self._writing = asyncio.Lock()  # one batch at a time, whoever asks

    def __repr__(self) -> str:
        state = "closing" if self._closing else "failing" if self.failing else "writing"
        return f"LedgerWriter({state}, {self.waiting} waiting of {self._bound})"

    @property
    def waiting(self) -> int:
        """Rows that the store does not have yet."""
        return len(self._rows)

    @property
    def journal_size(self) -> int:
        """Bytes that the journal takes up."""
        return self._journal.size

    @property
    def unwritten(self) -> int:
        """Lines of the journal that the disk did not take yet."""
        return self._journal.unwritten

    @property
    def told_since(self) -> float:
        """Rows of requests that began from then on must stay in the store, in Unix seconds: the
        journal has lines of them, and would be read back after a crash."""
        return self._journal.oldest

    @property
    def oldest(self) -> float | None:
        """When the request ended whose row waits longest, in Unix seconds; None without one."""
        return self._rows[0].started_at + self._rows[0].duration if self._rows else None

    @property
    def full(self) -> bool:
        """No further request may be admitted. Rows of those already under way are still taken."""
        return len(self._rows) >= self._bound or self._journal.full

    @property
    def crowded(self) -> bool:
        """Half full: what can do without a row has none, so that it crowds nobody out."""
        return 2 * len(self._rows) >= self._bound or self._journal.full

    @property
    def failing(self) -> bool:
        """The store refused the last batch."""
        return self._failures > 0

    @property
    def delay(self) -> float:
        """Seconds from the first row, or from a failure, to the next write."""
        return retry_delay(self._failures) if self._failures else self._interval

    def open(self, opening: Opening) -> None:
        """Write down that a request is admitted. Raises JournalFull: then it must not be."""
        self._journal.opened(opening)

    def add(self, entry: Entry) -> None:
        """Take one row, at once and always. On return it survives the end of this process."""
        self._settled(entry)
        self._add(entry)
        waiting = len(self._rows)
        if waiting == 1:
            self._some.set()
        elif waiting == self._batch and not self._failures:  # an outage has its own pace
            self._hurry.set()

    async def run(self) -> None:
        """Write batch after batch; returns after `close`. Cancelling it loses no row."""
        while not self._closing:
            await self._some.wait()
            await self._pause()
            await self.write_batch()

    async def care(self) -> None:
        """Look after the journal for ever. Cancelling it loses nothing."""
        pause = min(self._sync or CARE, CARE)
        unsynced = unturned = 0.0
        while True:
            await asyncio.sleep(pause)
            unsynced, unturned = unsynced + pause, unturned + pause
            if unturned >= self._turn:
                unturned = 0.0
                self._journal.turn()
            self._journal.gather()
            due = bool(self._sync) and unsynced >= self._sync
            if due:
                unsynced = 0.0
            # In a thread: a disk that is busy must not keep the requests waiting.
            await asyncio.to_thread(self._journal.tidy, sync=due)
            if self._journal.full:
                self._journal.retry()

    async def write_batch(self) -> bool:
        """Offer the oldest rows to the store; false when it did not take them."""
        async with self._writing:
            batch = self._rows[: self._batch]
            try:
                if batch:
                    await self._store.add_entries(batch)
            except Exception as error:  # whatever it is, the rows are kept and offered again
                self._note_failure(error)
                return False
            del self._rows[: len(batch)]
            self._journal.stored(batch)
            self._note_success()
            return True

    async def flush(self) -> int:
        """Write all rows now and return how many are left, which is 0 unless the store fails."""
        while self._rows and await self.write_batch():
            pass
        return self.waiting

    async def close(self, within: float = 10.0) -> int:
        """Write everything, trying again for at most `within` seconds, and end `run`.

        Returns how many rows could not be written; the journal keeps those for the next start.
        """
        self._closing = True
        self._some.set()
        self._hurry.set()
        try:
            async with asyncio.timeout(within):
                while await self.flush():
                    delay = min(self.delay, LAST_RETRY_CLOSING)
                    await asyncio.sleep(delay)
        except TimeoutError:
            words = "ledger: rows could not be written before the end"
            say(logging.ERROR, words, rows=self.waiting)
        await asyncio.to_thread(self._journal.close, sync=bool(self._sync))
        return self.waiting

    async def _pause(self) -> None:
        """Let more rows gather, or a failing store recover. A full batch ends only the former."""
        if self._closing or (self.waiting >= self._batch and not self.failing):
            return
        self._hurry.clear()
        try:
            async with asyncio.timeout(self.delay):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        self.errors += 1
        if self._failures == 1:  # once per outage, not per try
            words = f"ledger: the store fails, rows wait: {error}"
            say(logging.ERROR, words, rows=self.waiting)

    def _note_success(self) -> None:
        if self.failing:
            say(logging.WARNING, "ledger: the store takes rows again", rows=self.waiting)
        self._failures = 0
        if not self._rows and not self._closing:
            self._some.clear()
