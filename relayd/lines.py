"""What a line of the log looks like, and the one way to say one: `say`.

Strategy: a line is a few words that are always the same for the same event, and fields beside them:
which upstream key, which request, how long. In JSON the fields are members, on a terminal
`name=value`. Fields hold names and numbers, never what a client or an upstream wrote at length; and
because names are chosen by others, everything is cut and made printable here, once, for all lines:
a name cannot begin a line of its own, nor colour a terminal. What looks like a key is hidden, for
the texts of exceptions are not ours either.
Under journald a line begins with its priority and has no time: the journal has its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

log = logging.getLogger("relayd")

LONGEST_WORDS: Final = 2000  # characters of what is said
LONGEST_VALUE: Final = 200  # of a name that a client or an upstream chose
LONGEST_FIELD: Final = 1000
LONGEST_TRACE_LINE: Final = 300
MOST_TRACE_LINES: Final = 60
MOST_LISTED: Final = 20
PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
# Keys, by how providers' and ours begin and where they stand in headers and addresses. Names of
# upstreams may begin so, too (`sk-telecom`, `hf-router-eu-west-1`): a digit or a long run decides.
_KEY: Final = re.compile(
    r"(\b(?:sk|rat)[-_](?=[\w-]{0,60}\d)(?=[\w.-]{8})|\b(?:rk|pk|xai|gsk|pplx|hf|r8)[-_](?=[a-z0-9]{20})"
    r"|\bAIza(?=[\w-]{8})|\b(?:Bearer|Basic)\s+(?=[\w.~+/=-]{6})"
    r"|[?&](?:key|token|api_key|access_token)=)[\w.~+/=-]+",
    re.IGNORECASE,
)

Form = Literal["text", "json"]


def say(
    level: int, words: str, /, *, exc: BaseException | bool | None = None, **fields: object
) -> None:
    """Say a line of its own to the operator.

    Arguments:
        level: logging's.
        words: what has happened, the same words each time.
        exc: tell this exception with its trace; True is the one that is being handled.
        fields: what is known besides; `request` is the id of the request that it is about. What is
            None, "", False or an empty list is left out.
    """
    if log.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if is_known(value)}
        # Whoever formats the record otherwise (a test, an application) sees the words at least.
        log.log(level, "%s", words, exc_info=exc, extra={"fields": known})


def is_known(value: object) -> bool:
    """Whether a field says anything; 0 does."""
    return value is not None and value is not False and value != "" and value != []


def printable(text: str) -> str:
    """One short word that can do no harm in a terminal."""
    if len(text) <= LONGEST_VALUE and text.isprintable() and " " not in text:
        return text  # as nearly always
    clean = "".join(c if c.isprintable() and c != " " else "?" for c in text[:LONGEST_VALUE])
    return clean if len(text) <= LONGEST_VALUE else clean + "~"


def worded(text: str, longest: int = LONGEST_FIELD) -> str:
    """Prose that others may have written, fit for one line: printable, cut, without keys."""
    # What is looked at is bounded, but reaches beyond the cut: nobody knows half a key for one.
    cut = text[: longest + LONGEST_VALUE]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in cut)
    clean = _KEY.sub(r"\1***", cut)[:longest]
    return clean if len(text) <= longest else clean + "~"


class Lines(logging.Formatter):
    """Makes lines.

    Arguments:
        form: for people, or JSON.
        journald: what reads the lines adds time and priority itself, from a prefix.
    """

    def __init__(self, form: Form, *, journald: bool = False) -> None:
        super().__init__()
        self.form = form
        self._journald = journald
        self._second = (-1, "")  # the last one that was written as text

    def __repr__(self) -> str:
        return f"<Lines {self.form}{' journald' if self._journald else ''}>"

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record: one of ours, with fields, or of a library."""
        said = worded(record.getMessage(), LONGEST_WORDS)
        more: dict[str, object] = dict(getattr(record, "fields", {}))
        if not record.name.startswith("relayd"):
            more["logger"] = record.name
        more = {name: _tame(value) for name, value in more.items()}
        trace = self._trace(record) if record.exc_info else []
        return self.made(record.levelno, record.created, said, more, trace)

    def made(
        self,
        level: int,
        moment: float,
        said: str,
        more: Mapping[str, object],
        trace: list[str] | None = None,
    ) -> str:
        """A line: `moment` in Unix seconds, what is known besides the words, and an exception."""
        name = logging.getLevelName(level).lower()
        if self.form == "json":
            when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
            document = {"time": when, "level": name, "message": said, **more}
            if trace:
                document["exception"] = "\n".join(trace)
            line = orjson.dumps(document, default=str).decode()
        else:
            values = [f" {key}={_shown(value)}" for key, value in more.items()]
            line = f"{name} {said}{''.join(values)}"
            if trace:  # journald takes each line for a message: there it is a part of the one
                line += "".join((" | " if self._journald else "\n  | ") + part for part in trace)
            if not self._journald:
                line = f"{self._time(moment)} {line}"
        return f"<{PRIORITIES.get(level, 6)}>{line}" if self._journald else line

    def _trace(self, record: logging.LogRecord) -> list[str]:
        """The lines of an exception's trace: its beginning, and more of its end."""
        assert record.exc_info
        lines = self.formatException(record.exc_info).splitlines()
        if len(lines) > MOST_TRACE_LINES:
            left = len(lines) - MOST_TRACE_LINES
            lines[MOST_TRACE_LINES // 4 : -MOST_TRACE_LINES * 3 // 4] = [f"({left} lines more)"]
        return [worded(line, LONGEST_TRACE_LINE) for line in lines]

    def _time(self, moment: float) -> str:
        second = int(moment)
        if second != self._second[0]:
            local = datetime.fromtimestamp(second).astimezone()
            self._second = (second, f"{local:%Y-%m-%d %H:%M:%S}")
        return self._second[1]


def _tame(value: object) -> object:
    """A field's value, harmless and of a bounded size."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, list | tuple):
        shown = [worded(str(one), LONGEST_VALUE) for one in value[:MOST_LISTED]]
        left = len(value) - len(shown)
        return [*shown, f"({left} more)"] if left else shown
    return worded(str(value))


def _shown(value: object) -> str:
    """A value on a terminal; one of several words is quoted."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, str):
        return value if " " not in value else f'"{value.replace(chr(34), chr(39))}"'
    return "yes" if value is True else str(value)
