"""What the daemon says to its operator: one line for each request, lines of its own for the rest.

Strategy: lines go to stderr, which systemd, Docker and terminals all take. They are made at once
and put into a queue with a bound; a thread writes what came within a tenth of a second in one
piece. So a disk that is full or a pipe that nobody reads costs lines, and never a request; lines
that were lost are counted. A line about a request is made of its row in the usage log, which holds
no prompt, no key and no token; what a client chose (a model's name) is cut and made printable.
Under journald a line begins with its priority and has no time: the journal has its own.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Final, Literal

import orjson

from relayd.model import Entry

log = logging.getLogger("relayd")

LINES_WAITING: Final = 10_000
GATHERED: Final = 0.1  # seconds that a line may wait for others
ENDING: Final = 5.0  # seconds that the last lines may take
LONGEST_VALUE: Final = 200
PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_GOOD: Final = frozenset({"ok"})

Form = Literal["text", "json"]
Which = Literal["all", "failed", "none"]
Fields = dict[str, object]


class RequestLog:
    """Says one line about each request that is to be told.

    Arguments:
        logs: where lines go; None where nobody reads any.
        which: all, those that did not end well, or none.
        sample: the share that is told of those that went well.
        slow: seconds from which a request is told whatever the share, as a warning; 0 is never.
    """

    __slots__ = ("_due", "_logs", "_sample", "_slow", "_which")

    def __init__(
        self, logs: Logs | None, which: Which = "all", sample: float = 1.0, slow: float = 0.0
    ) -> None:
        self._logs = logs
        self._due = 1.0  # what is told is spread evenly, and the first one is
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
        if level >= logs.level:
            ended = entry.started_at + entry.duration
            logs.put(logs.lines.made(level, ended, "request", fields(entry, key, slow=slow)))

    def _is_due(self) -> bool:
        """Whether it is the turn of one that went well."""
        due = self._due >= 1.0
        self._due += self._sample - due
        return due


def fields(entry: Entry, key: str = "", *, slow: bool = False) -> Fields:
    """What a line says of a request; what is not known is left out."""
    usage = entry.usage
    said: Fields = {
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


def printable(text: str) -> str:
    """One short word that can do no harm in a terminal."""
    clean = "".join(c if c.isprintable() and c != " " else "?" for c in text[:LONGEST_VALUE])
    return clean if len(text) <= LONGEST_VALUE else clean + "~"


class Lines(logging.Formatter):
    """Makes lines.

    Arguments:
        form: for people, or JSON.
        journald: what reads the lines adds time and priority itself, from a prefix.
    """

    def __init__(self, form: Form, *, journald: bool) -> None:
        super().__init__()
        self._form = form
        self._journald = journald
        self._second = (-1, "")  # the last one that was written as text

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        said = record.getMessage()
        if not record.exc_info:
            return self.made(record.levelno, record.created, said, {})
        trace = self.formatException(record.exc_info)
        if self._form == "json":
            return self.made(record.levelno, record.created, said, {"exception": trace})
        return self.made(record.levelno, record.created, f"{said}\n{trace}", {})

    def made(self, level: int, moment: float, said: str, more: Mapping[str, object]) -> str:
        """A line: `moment` in Unix seconds, and what is known besides the words."""
        name = logging.getLevelName(level).lower()
        if self._form == "json":
            when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
            document = {"time": when, "level": name, "message": said, **more}
            line = orjson.dumps(document, default=str).decode()
        else:
            values = [f" {key}={_shown(value)}" for key, value in more.items()]
            line = f"{name} {said}{''.join(values)}"
            if not self._journald:
                line = f"{self._time(moment)} {line}"
        if not self._journald:
            return line
        # journald takes each line for a message: a stack trace stays one.
        return f"<{PRIORITIES.get(level, 6)}>" + line.replace("\n", " | ")

    def _time(self, moment: float) -> str:
        second = int(moment)
        if second != self._second[0]:
            local = datetime.fromtimestamp(second).astimezone()
            self._second = (second, f"{local:%Y-%m-%d %H:%M:%S}")
        return self._second[1]


class Logs(logging.Handler):
    """The way of all lines to stderr. Made by `set_up`; `close` writes what waits.

    Arguments:
        lines: makes them.
        stream: takes them.
    """

    def __init__(self, lines: Lines, stream: IO[str]) -> None:
        super().__init__()
        self.lines = lines
        self.lost = 0  # lines that were not written, since the start
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._some = threading.Event()
        self._ending = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._writer.start()

    def __repr__(self) -> str:
        return f"<Logs lost={self.lost}>"

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the library's."""
        self.put(self.lines.format(record))

    def put(self, line: str) -> None:
        """Take a line; one that finds no room is lost, and counted."""
        if len(self._waiting) >= LINES_WAITING:
            self.lost += 1
            return
        self._waiting.append(line)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what waits, and take no more records."""
        logging.getLogger().removeHandler(self)
        self._ending.set()
        self._some.set()
        self._writer.join(ENDING)
        super().close()

    def _write_on(self) -> None:
        while not self._ending.is_set():
            self._some.wait()
            self._ending.wait(GATHERED)
            self._some.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        waiting = self._waiting
        lines = [waiting.popleft() for _ in range(len(waiting))]
        if not lines:
            return
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed: there is nowhere to tell of it
            self.lost += len(lines)


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
    set_level(logs, level)
    return logs


def set_level(logs: Logs, level: int) -> None:
    """Leave out what is below `level`."""
    logs.setLevel(level)
    logging.getLogger().setLevel(level)
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _shown(value: object) -> str:
    return "yes" if value is True else str(value)
