"""The journal: what was admitted and what it came to, on disk before anyone hears of it.

Every admitted request leaves an opening line, every finished one a closing line, each one `pwrite`
into a numbered file of the folder `<database>.journal`. Rows reach the store later, in batches;
after a crash the lines that it does not have yet are read back (`replay`).

Nobody is ever told that a request is done whose closing line has no room: a file takes its whole
size from the disk when it is made, and an opening is only written while, behind it, one longest
line is left for every request that is open. When the disk or the journal's own bound gives no more,
`full` is true, admission answers 503, and the open requests still end in the books. Should a write
fail nevertheless, the closing line waits in memory until `retry` succeeds or the store has its row.

A file whose every request is in the store, and there on the platter (`secure`), is deleted,
whichever it is. An opening may so outlive its closing; read back, it makes a row that the store has
already and leaves as it is. That only holds as long as the store keeps its row: `oldest` says what
must not be pruned. Requests that stay open for long would each keep a file: when room gets
scarce, `gather` writes their openings again, into the current one.

The loop's thread writes lines and only lines. What may wait for the disk - bringing it to the
platter, closing, deleting - is handed to `tidy`, which may run in another thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from relayd.errors import NoUpstream
from relayd.ledger.lines import LONGEST, Opening, closing_line, opening_line
from relayd.ledger.lock import beside
from relayd.ledger.segment import Disk, Segment, segment_path
from relayd.lines import say
from relayd.model import Entry

_NEVER_OPENED = None, b""


class JournalFull(NoUpstream):
    """A request cannot be let in: it could not be written down."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the journal is.

    Arguments:
        segment: bytes of one file.
        bound: bytes of all files together, beyond which no request is admitted.
    """

    segment: int = 8 * 1024 * 1024
    bound: int = 1024 * 1024 * 1024


def journal_directory(database: Path) -> Path:
    """Where the journal of a database is."""
    return beside(database, "journal")


class Journal:
    """The lines of one running daemon. Owns its files, and knows which request has a line in which.

    Arguments:
        directory: the folder, made where there is none; OSError when that fails. Files that are
            there already are left alone: they are for `replay`.
        secure: brings to the platter what the store was given, waits for it, and raises OSError;
            called, in the thread of `tidy`, before files go. None: nobody was promised that.
    """

    def __init__(
        self,
        directory: Path,
        sizes: Sizes | None = None,
        disk: Disk | None = None,
        *,
        secure: Callable[[], None] | None = None,
    ) -> None:
        self.directory = directory
        self._sizes = sizes or Sizes()
        self._disk = disk or Disk()
        self._secure = secure
        self._usable = self._sizes.segment - LONGEST  # what a file surely holds of any lines
        self._number = _last_number(directory)
        self._segments: set[Segment] = set()  # all that take up room
        self._spares: deque[Segment] = deque()  # made, not yet written to
        self._retired: deque[Segment] = deque()  # written, still open: for `tidy`
        self._doomed: deque[Segment] = deque()  # the store has all of it: for `tidy`
        self._tidying = threading.Lock()
        self._current: Segment | None = None
        self._opened: dict[str, tuple[Segment, bytes]] = {}  # requests in flight, their openings
        self._settled: dict[str, tuple[Segment, ...]] = {}  # ended, not yet in the store
        # Closing lines that no file took, and when their requests began.
        self._unwritten: dict[str, tuple[bytes, float]] = {}
        self._problem = ""
        self.full = False
        if not self._rotate():
            self._get_full()

    def __repr__(self) -> str:
        state = f"full: {self._problem}" if self.full else "writing"
        return (
            f"Journal({state}, {len(self._segments)} files, {len(self._opened)} open,"
            f" {len(self._settled)} to store)"
        )

    @property
    def size(self) -> int:
        """Bytes that its files take up."""
        return len(self._segments) * self._sizes.segment

    @property
    def unwritten(self) -> int:
        """Closing lines that wait in memory."""
        return len(self._unwritten)

    @property
    def oldest(self) -> float:
        """When the first began, in Unix seconds, of all requests that a file has a line of."""
        # A copy: `tidy`, in its thread, may take files away.
        return min((segment.oldest for segment in self._segments.copy()), default=inf)

    # --- lines ----------------------------------------------------------------------------------

    def opened(self, opening: Opening) -> None:
        """Write down that a request is let in. Raises JournalFull: then it must not be."""
        if self.full:
            raise self._refusal()
        line = opening_line(opening)
        began = opening.started_at
        segment = self._put(line, began) if self._has_room(len(line) + LONGEST) else None
        if segment is None:
            self._get_full()
            raise self._refusal()
        segment.pending += 1
        self._opened[opening.request_id] = segment, line

    def settled(self, entry: Entry) -> None:
        """Write down what a request came to, at once if any file takes it; never raises."""
        line = closing_line(entry)
        opening, _ = self._opened.pop(entry.request_id, _NEVER_OPENED)
        # The room of those that were let in is theirs; one that never was must not take it.
        allowed = opening is not None or (not self.full and self._has_room(len(line)))
        segment = self._put(line, entry.started_at) if allowed else None
        if segment is None:
            self._unwritten[entry.request_id] = line, entry.started_at
            self._settled[entry.request_id] = opening.alone if opening else ()
            self._get_full()
        elif segment is opening:  # as most do: it counts once
            self._settled[entry.request_id] = segment.alone
        else:
            segment.pending += 1
            both = (opening, segment) if opening else segment.alone
            self._settled[entry.request_id] = both

    def stored(self, entries: Iterable[Entry]) -> None:
        """The store has these rows: their lines are not needed any more."""
        for entry in entries:
            self._unwritten.pop(entry.request_id, None)
            for segment in self._settled.pop(entry.request_id, ()):
                segment.pending -= 1
                if not segment.pending and segment is not self._current:
                    self._doomed.append(segment)

    def retry(self) -> bool:
        """Try to get out of being full: to be called now and then while it is."""
        for request_id, (line, began) in list(self._unwritten.items()):
            segment = self._put(line, began)
            if segment is None:
                return False
            del self._unwritten[request_id]
            segment.pending += 1
            self._settled[request_id] = (*self._settled[request_id], segment)
        # Room for many, or the next few would only fill it up again.
        if not self._has_room(self._usable // 2):
            self._maybe_give_up_current()
            return False
        self.full = False
        say(logging.WARNING, "journal: there is room again, requests are admitted")
        return True

    def turn(self) -> None:
        """Go on to the next file even before this one is used up: to be called now and then.

        Old lines are harmless as long as the store has their rows. It does not keep them for ever.
        """
        current = self._current
        # The rest of a file may be owed to open requests: then it is not given up.
        if current is not None and current.offset and self._has_room(self._left()):
            self._rotate()

    def gather(self) -> None:
        """Write the openings that alone keep a file once more: to be called now and then.

        Only where more than half of the bound is used, and where that halves what they take.
        """
        if 2 * len(self._segments) * self._sizes.segment <= self._sizes.bound:
            return
        held: dict[Segment, dict[str, bytes]] = {}
        for request_id, (segment, line) in self._opened.items():
            held.setdefault(segment, {})[request_id] = line
        for segment, lines in held.items():
            alone = segment.pending == len(lines) and segment is not self._current
            worth = 2 * sum(map(len, lines.values())) <= self._usable
            if alone and worth and not self._write_again(segment, lines):
                return

    def _write_again(self, segment: Segment, lines: dict[str, bytes]) -> bool:
        for request_id, line in lines.items():
            other = self._put(line, segment.oldest) if self._has_room(len(line)) else None
            if other is None:
                return False
            other.pending += 1
            self._opened[request_id] = other, line
            segment.pending -= 1
        self._doomed.append(segment)
        return True

    # --- room -----------------------------------------------------------------------------------

    def _has_room(self, size: int) -> bool:
        """Whether so much can be written beside what is owed to the open requests."""
        while self._room() - size < (len(self._opened) + len(self._unwritten)) * LONGEST:
            spare = self._maybe_create()
            if spare is None:
                return False
            self._spares.append(spare)
        return True

    def _room(self) -> int:
        return self._left() + len(self._spares) * self._usable

    def _left(self) -> int:
        """What the current file still holds."""
        current = self._current
        return max(current.end - current.offset, 0) if current is not None else 0

    def _maybe_create(self) -> Segment | None:
        if (len(self._segments) + 1) * self._sizes.segment > self._sizes.bound:
            self._problem = f"its bound of {self._sizes.bound} bytes is reached"
            return None
        self._number += 1  # whatever comes of it: the name may be taken
        path = segment_path(self.directory, self._number)
        try:
            segment = Segment(path, self._sizes.segment, LONGEST, self._disk)
        except OSError as error:
            self._problem = error.strerror or str(error)
            return None
        self._segments.add(segment)
        return segment

    def _put(self, line: bytes, began: float) -> Segment | None:
        """Write a line into the current file or, when that fails, into one more; None: neither.

        Arguments:
            began: when its request did.
        """
        for _ in range(2):
            segment = self._current
            if segment is None or segment.offset > segment.end:
                if not self._rotate():
                    return None
                segment = self._current
            assert segment is not None
            if segment.append(line):
                if began < segment.oldest:
                    segment.oldest = began
                return segment
            self._problem = segment.problem
            segment.cut()
            self._retire(segment)
        return None

    def _rotate(self) -> bool:
        """Go on to the next file; false when there is none."""
        following = self._spares.popleft() if self._spares else self._maybe_create()
        if following is None:
            return False
        if self._current is not None:
            self._retire(self._current)
        self._current = following
        return True

    def _maybe_give_up_current(self) -> None:
        """A file that the store has all of is worth more as the room for the next one; unless its
        rest is owed to open requests, whose lines stand in other files."""
        current = self._current
        if current is None or current.pending or not current.offset or self._opened:
            return
        self._retire(current)

    def _retire(self, segment: Segment) -> None:
        """A file gets no more lines."""
        self._current = None
        (self._retired if segment.pending else self._doomed).append(segment)

    def _get_full(self) -> None:
        if not self.full:
            words = f"journal: {self._problem}; no request is admitted until there is room"
            say(logging.ERROR, words)
        self.full = True

    def _refusal(self) -> JournalFull:
        return JournalFull(
            "The usage log cannot keep up; nothing is relayed unlogged.",
            retry_after=5,
            detail=f"journal: {self._problem}",
        )

    # --- what may wait for the disk -------------------------------------------------------------

    def tidy(self, *, sync: bool = True) -> None:
        """Bring what was written to the disk itself, close and delete what is done with.

        May run in any thread, beside the others' calls; the files' descriptors are closed here and
        nowhere else.
        """
        with self._tidying:
            doomed = len(self._doomed)  # of others, lines may be written again after the sync
            try:
                self._sync(sync or bool(doomed and self._secure))
                if doomed and self._secure:
                    self._secure()
            except OSError as error:
                say(logging.ERROR, f"journal: cannot be brought to the disk: {error}")
            else:
                self._delete_doomed(doomed)

    def _delete_doomed(self, count: int) -> None:
        for _ in range(count):
            segment = self._doomed.popleft()
            try:
                segment.delete()
            except OSError as error:
                self._doomed.append(segment)  # it takes up room until it is gone
                say(logging.ERROR, f"journal: a file cannot be deleted: {error}")
            else:
                self._segments.discard(segment)

    def _sync(self, sync: bool) -> None:
        # The current one first: should it retire meanwhile, it is among the retired below.
        current = self._current
        if sync and current is not None:
            current.sync()
        while self._retired:
            segment = self._retired.popleft()
            try:
                if sync:
                    segment.sync()
            finally:
                segment.close()

    def close(self, *, sync: bool = True) -> None:
        """Let go of all files; those that hold nothing which the store lacks are deleted."""
        if self._current is not None:
            self._retire(self._current)
        self._doomed.extend(self._spares)
        self._spares.clear()
        self.full = True
        self.tidy(sync=sync)


def _last_number(directory: Path) -> int:
    """The highest number that a file of the folder, made if need be, has; whatever its suffix."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbers = [path.stem for path in directory.iterdir()]
    except OSError as error:
        raise OSError(f"{directory}: {error.strerror}") from None
    return max((int(number) for number in numbers if number.isdecimal()), default=0)
