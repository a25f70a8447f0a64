"""What the daemon says to its operator: one line for each request, lines of its own for the rest.

Strategy: lines go to stderr, which systemd, Docker and terminals all take. A queue with a bound and
a thread stand between, so that a disk that is full or a pipe that nobody reads costs lines, and
never a request; lines that were lost are counted. A line about a request is made of its row in the
usage log, which holds no prompt, no key and no token; what a client chose (a model's name) is cut
and made printable. Under journald a line begins with its priority and has no time: the journal has
its own.
"""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import IO, Any, Final, Literal

import orjson

from relayd.model import Entry

log = logging.getLogger("relayd")
requests_log = logging.getLogger("relayd.requests")

LINES_WAITING: Final = 10_000
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
        which: all, those that did not end well, or none.
        sample: the share that is told of those that went well.
        slow: seconds from which a request is told whatever the share, as a warning; 0 is never.
    """

    __slots__ = ("_due", "_sample", "_slow", "_which")

    def __init__(self, which: Which = "all", sample: float = 1.0, slow: float = 0.0) -> None:
        self._due = 1.0  # what is told is spread evenly, and the first one is
        self.adopt(which, sample, slow)

    def __repr__(self) -> str:
        return f"<RequestLog {self._which} sample={self._sample:g}>"

    def adopt(self, which: Which, sample: float, slow: float) -> None:
        """Go by these from now on."""
        self._which, self._sample, self._slow = which, sample, slow

    def tell(self, entry: Entry) -> None:
        """Say what became of a request, if it is to be told."""
        if self._which == "none":
            return
        slow = bool(self._slow) and entry.duration >= self._slow
        if entry.outcome in _GOOD and not slow:
            if self._which == "failed" or not self._is_due():
                return
        level = logging.WARNING if slow else logging.INFO
        if requests_log.isEnabledFor(level):
            requests_log.log(level, "request", extra={"fields": fields(entry, slow=slow)})

    def _is_due(self) -> bool:
        """Whether it is the turn of one that went well."""
        due = self._due >= 1.0
        self._due += self._sample - due
        return due


def fields(entry: Entry, *, slow: bool = False) -> Fields:
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
    """Makes a line of a record.

    Arguments:
        form: for people, or JSON.
        journald: what reads the lines adds time and priority itself, from a prefix.
    """

    def __init__(self, form: Form, *, journald: bool) -> None:
        super().__init__()
        self._form = form
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        prefix = f"<{PRIORITIES.get(record.levelno, 6)}>" if self._journald else ""
        said: Mapping[str, object] = getattr(record, "fields", {})
        line = self._as_json(record, said) if self._form == "json" else self._as_text(record, said)
        return prefix + line

    def _as_json(self, record: logging.LogRecord, said: Mapping[str, object]) -> str:
        document: Fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **said,
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(document, default=str).decode()

    def _as_text(self, record: logging.LogRecord, said: Mapping[str, object]) -> str:
        words = [record.levelname.lower()]
        if not self._journald:
            moment = datetime.fromtimestamp(record.created).astimezone()
            words.insert(0, f"{moment:%Y-%m-%d %H:%M:%S}")
        words.append(record.getMessage())
        words += [f"{name}={_shown(value)}" for name, value in said.items()]
        # journald takes each line for a message: a stack trace stays one.
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        text = " ".join(words) + trace
        return text.replace("\n", " | ") if self._journald else text


class Outlet(QueueHandler):
    """Puts records into the queue; one that has no room is counted in `lost`."""

    def __init__(self, waiting: queue.Queue[Any]) -> None:
        super().__init__(waiting)
        self.lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it into the queue, or count it."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """As it is: it stays in this process, and the thread formats it, stack trace and all."""
        return record


class Writer(logging.StreamHandler[IO[str]]):
    """Writes lines, in the queue's thread; `lost` counts those that could not be written."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:
        """Count it; there is nowhere to tell of it but the metrics."""
        self.lost += 1


class Logs:
    """The way of all lines to stderr. Made by `set_up`; `close` writes what waits."""

    def __init__(self, outlet: Outlet, writer: Writer, listener: QueueListener) -> None:
        self._outlet = outlet
        self._writer = writer
        self._listener = listener
        listener.start()

    def __repr__(self) -> str:
        return f"<Logs lost={self.lost}>"

    @property
    def lost(self) -> int:
        """Lines that were not written, since the start."""
        return self._outlet.lost + self._writer.lost

    def close(self) -> None:
        """Write what waits, and let go of the loggers."""
        logging.getLogger().removeHandler(self._outlet)
        self._listener.stop()


def set_up(
    form: Form = "text",
    level: int = logging.INFO,
    *,
    journald: bool = False,
    stream: IO[str] | None = None,
) -> Logs:
    """Send all lines of `level` and above to stderr from now on."""
    waiting: queue.Queue[Any] = queue.Queue(LINES_WAITING)
    outlet, writer = Outlet(waiting), Writer(stream or sys.stderr)
    writer.setFormatter(Lines(form, journald=journald))
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(outlet)
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))
    return Logs(outlet, writer, QueueListener(waiting, writer))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _shown(value: object) -> str:
    return "yes" if value is True else str(value)
