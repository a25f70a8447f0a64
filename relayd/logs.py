"""The log's way to the operator: one line for each request, lines of its own for the rest.

Strategy: lines go to stderr, which systemd, Docker and terminals all take. They are made at once
and put into a queue with a bound; a thread writes what came within a tenth of a second in one
piece, to the descriptor itself: a buffer in between would keep what could not be written. So a disk
that is full or a pipe that nobody reads costs lines, and never a request. Lines that were lost are
counted, and one line says how many, once there is room again. A line about a request is made of its
row in the usage log, which holds no prompt, no key and no token; what a client chose (a model's
name) is cut and made printable. What a line looks like is told in `lines`.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Final, Literal

from relayd.lines import Form, Lines, printable
from relayd.model import Entry
from relayd.policy.buckets import TokenBucket

LINES_WAITING: Final = 10_000
GATHERED: Final = 0.1  # seconds that a line may wait for others
ENDING: Final = 2.0  # seconds that the last lines may take
STRANGERS: Final = 600  # lines a minute about requests with no key that is known
AGAIN: Final = 5.0  # seconds between two tries to say how many lines are lost
_GOOD: Final = frozenset({"ok"})

Which = Literal["all", "failed", "none"]


class RequestLog:
    """Says one line about each request that is to be told. Of strangers, who show no key that is
    known, some are: else anybody could fill the disk.

    Arguments:
        logs: where lines go; None where nobody reads any.
        which: all, those that did not end well, or none.
        sample: the share that is told of those that went well.
        slow: seconds from which a request is told whatever the share, as a warning; 0 is never.
    """

    __slots__ = ("_due", "_logs", "_sample", "_slow", "_strangers", "_untold", "_which")

    def __init__(
        self, logs: Logs | None, which: Which = "all", sample: float = 1.0, slow: float = 0.0
    ) -> None:
        self._logs = logs
        self._due = 1.0  # what is told is spread evenly, and the first one is
        self._strangers = TokenBucket(STRANGERS)
        self._untold = 0  # strangers since the last line about one
        self.adopt(which, sample, slow)

    def __repr__(self) -> str:
        return f"<RequestLog {self._which} sample={self._sample:g}>"

    def adopt(self, which: Which, sample: float, slow: float) -> None:
        """Go by these from now on."""
        self._which, self._sample, self._slow = which, sample, slow

    def tell(self, entry: Entry, key: str = "") -> None:
        """Say what became of a request, if it is to be told. `key`: the name of its key."""
        logs = self._logs
        if self._which == "none" or logs is None:
            return
        slow = bool(self._slow) and entry.duration >= self._slow
        if entry.outcome in _GOOD and not slow:
            if self._which == "failed" or not self._is_due():
                return
        level = logging.WARNING if slow else logging.INFO
        if level < logs.level:
            return
        ended = entry.started_at + entry.duration
        said = fields(entry, key, slow=slow)
        if entry.key_id is None:
            if not self._strangers.fits(1, ended):
                self._untold += 1
                return
            self._strangers.take(1, ended)
            if self._untold:
                said["untold"], self._untold = self._untold, 0
        logs.put(logs.lines.made(level, ended, "request", said))

    def _is_due(self) -> bool:
        """Whether it is the turn of one that went well."""
        due = self._due >= 1.0
        self._due += self._sample - due
        return due


def fields(entry: Entry, key: str = "", *, slow: bool = False) -> dict[str, object]:
    """What a line says of a request; what is not known is left out."""
    usage = entry.usage
    said: dict[str, object] = {
        "id": entry.request_id,
        "status": entry.status,
        "outcome": entry.outcome,
        "error": entry.error_code,
        "op": entry.operation,
        "model": printable(entry.model_asked),
        "format": entry.format_in,
        "upstream": f"{entry.upstream}/{entry.upstream_key}" if entry.upstream else "",
        "upstream_format": entry.format_out if entry.format_out != entry.format_in else "",
        "upstream_model": entry.model_used if entry.model_used != entry.model_asked else "",
        "upstream_id": printable(entry.upstream_request_id),
        "stream": entry.stream,
        "account": entry.account_id,
        "key": entry.key_id,
        "key_name": printable(key),
        "attempts": entry.attempts if entry.attempts > 1 else None,
        "first_byte_s": _rounded(entry.first_byte),
        "duration_s": _rounded(entry.duration),
        "in": usage.in_uncached,
        "cached": usage.cache_read,
        "out": usage.out_total,
        "usage": entry.usage_source if entry.usage_source not in ("reported", "none") else "",
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "slow": slow,
    }
    return {name: value for name, value in said.items() if value not in (None, "", False)}


class Logs(logging.Handler):
    """The way of all lines to stderr. Made by `set_up`; `close` writes what waits. Owns the queue,
    the thread that writes, and the count of what was lost.

    Arguments:
        lines: makes them; replaced by a reload that wants another form.
        stream: takes them; with None all are lost.
    """

    def __init__(self, lines: Lines, stream: IO[str] | None) -> None:
        super().__init__()
        self.lines = lines
        self._sink = _Sink(stream)
        self._turned_away = 0  # by those who had a line to say
        self._unwritten = 0  # by the thread
        self._told = 0  # of all these, those that a line has told of
        self._told_at = float("-inf")
        self._counting = threading.Lock()
        self._waiting: deque[str] = deque()
        self._some = threading.Event()
        self._ending = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._writer.start()

    def __repr__(self) -> str:
        return f"<Logs lost={self.lost}>"

    @property
    def lost(self) -> int:
        """Lines that were not written, since the start."""
        return self._turned_away + self._unwritten

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the library's."""
        try:
            self.put(self.lines.format(record))
        except Exception:  # of a record that cannot be put into words: who said it is not to fail
            self._lose()

    def put(self, line: str) -> None:
        """Take a line; one that finds no room is lost, and counted."""
        if len(self._waiting) >= LINES_WAITING:
            self._lose()
            return
        self._waiting.append(line)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what waits, and take no more records."""
        if self._ending.is_set():
            return  # once by its owner, then by the interpreter
        logging.getLogger().removeHandler(self)
        logging.captureWarnings(False)
        self._ending.set()
        self._some.set()
        self._writer.join(ENDING)
        super().close()

    def _lose(self) -> None:
        with self._counting:  # several threads say lines
            self._turned_away += 1

    # --- the thread that writes -----------------------------------------------------------------

    def _write_on(self) -> None:
        while not self._ending.is_set():
            self._some.wait(AGAIN if self.lost > self._told else None)
            self._ending.wait(GATHERED)
            self._some.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        waiting = self._waiting
        lines = [waiting.popleft() for _ in range(len(waiting))]
        lost = self._sink.write(lines, self._ending) if lines else 0
        self._unwritten += lost
        if not lost and self.lost > self._told:
            self._tell_loss()

    def _tell_loss(self) -> None:
        """There seems to be room again: one line, now and then, for all that is missing."""
        now, lost = time.monotonic(), self.lost
        if now - self._told_at < AGAIN and not self._ending.is_set():
            return
        self._told_at = now
        # Not by the queue: whoever fills it would keep this line out, too.
        record = logging.makeLogRecord({"name": "relayd", "levelno": logging.WARNING})
        record.msg = "lines of this log are lost"
        record.__dict__["fields"] = {"lines": lost - self._told, "in_all": lost}
        if not self._sink.write([self.lines.format(record)], self._ending):
            self._told = lost


class _Sink:
    """Where the bytes go: a descriptor, or a stream that has none. Used by one thread."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._torn = False  # the last thing that was written is half a line
        try:
            self._fd = None if stream is None else stream.fileno()
        except (OSError, ValueError):
            self._fd = None

    def write(self, lines: list[str], ending: threading.Event) -> int:
        """Write lines; returns how many were lost. `ending`: no longer be patient."""
        try:
            if self._fd is not None:
                return self._pour(self._fd, lines, ending)
            if self._stream is None:
                return len(lines)
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed
            return len(lines)
        return 0

    def _pour(self, fd: int, lines: list[str], ending: threading.Event) -> int:
        text = ("\n" if self._torn else "") + "\n".join(lines) + "\n"
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            try:
                written = os.write(fd, left)
            except BlockingIOError:  # whoever gave us the descriptor does not want it to wait
                last = ending.is_set()
                if not select.select([], [fd], [], ENDING if last else GATHERED)[1] and last:
                    break
            except OSError:
                break
            else:
                self._torn = left[written - 1] != 10
                left = left[written:]
        return min(left.tobytes().count(b"\n"), len(lines))


def set_up(
    form: Form = "text",
    level: int = logging.INFO,
    *,
    journald: bool = False,
    stream: IO[str] | None = None,
) -> Logs:
    """Send all lines of `level` and above to stderr from now on."""
    logs = Logs(Lines(form, journald=journald), stream or sys.stderr)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(logs)
    logging.captureWarnings(True)
    set_level(logs, level)
    return logs


def set_level(logs: Logs, level: int) -> None:
    """Leave out what is below `level`. Libraries have no say below warnings: what they tell of at
    work may hold anything, the parameters of SQL for one."""
    logs.setLevel(level)
    logging.getLogger().setLevel(max(level, logging.WARNING))
    logging.getLogger("relayd").setLevel(level)


def is_journal(environ: Mapping[str, str], stream: IO[str] | None) -> bool:
    """Whether a stream goes to journald. The variable alone does not tell: whatever a service or a
    desktop starts inherits it, also with its output elsewhere."""
    try:
        place = os.fstat(stream.fileno()) if stream is not None else None
    except (OSError, ValueError):
        return False
    said = environ.get("JOURNAL_STREAM", "")
    return place is not None and said == f"{place.st_dev}:{place.st_ino}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
