"""Events of a stream that differ in their text only: the way past all of the parsing.

Nearly all events of an answer say a few more words and nothing else, and a host writes them all
alike. So the bytes around the text of one that was understood are kept, and of the next ones that
have the same bytes there only the text is read. It is sound because a JSON document with one string
replaced by another string is that document with that string: nothing else can have changed.

Around the text there may be gaps, in which hosts write something new each time: a running number,
letters at random and spaces that hide how long the text is, Gemini's counts. What stands in a gap
has to be of its gap's kind, and nobody reads it but for the counts, which are kept as they stand.
No text can hold what stands behind it by itself: that begins with a quote, which a text writes with
a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from relayd.wire.events import Delta, Events

MOST_LESSONS: Final = 8
PAID: Final = 8  # so many events like it have paid for a lesson
LARGEST: Final = 32 * 1024  # bytes of an event to learn from: larger ones are few
_COUNTS: Final = b'"usageMetadata":'
_BACKSLASH: Final = 0x5C
_DIGITS: Final = b"0123456789"
_STRING: Final = re.compile(rb'"(?>[^"\\]++|\\.)*+"')
_NUMBER: Final = re.compile(rb'"sequence_number": ?(?P<number>\d+)')
_GAPS: Final = re.compile(
    rb'"(?:sequence_number": ?(?P<number>\d+)|obfuscation": ?"(?P<letters>[0-9A-Za-z]+)")'
    rb"|\}(?P<spaces> +)(?=\}\s*\Z)"
)

Heard = Callable[[str, bytes], Events | None]
Fits = Callable[[bytes], bool]
_Cut = tuple[int, int, Fits]


class Plain(NamedTuple):
    """What a reader says of an event that only went on with an open block.

    Attributes:
        said: all that it said.
        key: the member that has the text, quoted, with its colon.
        heard: told of each event that is like it, which the reader does not get to read: the text,
            and the counts or b"". Returns the events that this makes beside the text. None where
            the reader does not have to know.
    """

    said: Delta
    key: bytes
    heard: Heard | None = None


class Alike:
    """Owns the bytes around the text of the last event, while that was plain.

    Hosts that write something new into each event are given up soon.

    Attributes:
        block: of the text.
        heard: see `Plain`.
        counts: of the last event that was like the one before; b"" where there are none.
    """

    __slots__ = (
        "_before",
        "_behind",
        "_fits_last",
        "_gaps",
        "_last",
        "_left",
        "_number",
        "_shape",
        "_start",
        "_taught_at",
        "block",
        "counts",
        "heard",
    )

    def __init__(self) -> None:
        self._before = b""  # up to the text's first quote, or to the number before it
        self._start = 0  # where it ends
        self._number = b""  # what stands between such a number and the text
        self._behind = b""  # from the text's last quote to the first gap or the end
        self._gaps: list[tuple[Fits, bytes]] = []  # but the last, each with what is behind it
        self._fits_last: Fits = _is_blank
        self._last = b""  # what stands behind the last gap; b"" where there is none
        self._shape = b""  # of the counts
        self._left = MOST_LESSONS
        self._taught_at = 0
        self.block = -1
        self.counts = b""
        self.heard: Heard | None = None

    def __repr__(self) -> str:
        gaps = len(self._gaps) + bool(self._last)
        fixed = f"{len(self._before)}+{len(self._behind)} bytes, {gaps} gaps"
        return f"<Alike {fixed}, {self._left} lessons left>"

    def said(self, event: bytes) -> str:
        """The text of an event, framing and all, that is like the one before; "" for any other."""
        before = self._before
        if not before or not event.startswith(before):
            return ""
        start, behind = self._start, self._behind
        if self._number:
            found = event.find(self._number, start)
            if found < 0 or not event[start:found].isdigit():
                return ""
            start = found + len(self._number)
        last = self._last
        if last:
            end = event.find(b'"', start)  # the text's last one, unless it holds some itself
            if event[end - 1] == _BACKSLASH or not event.startswith(behind, end):
                end = event.rfind(behind, start)
            at, until = end + len(behind), len(event) - len(last)
            if self._gaps:
                at = self._behind_gaps(event, at)
            if end < 0 or at > until or not event.endswith(last):
                return ""
            if not self._fits_last(event[at:until]):
                return ""
        elif event.endswith(behind):
            end = len(event) - len(behind)
        else:
            return ""
        try:
            said = orjson.loads(event[start - 1 : end + 1])
        except orjson.JSONDecodeError:
            return ""
        return said if said.__class__ is str else ""

    def _behind_gaps(self, event: bytes, at: int) -> int:
        """Where the last gap begins; the end of the event where something else is new."""
        for fits, behind in self._gaps:
            end = event.find(behind, at)
            if end < 0 or not fits(event[at:end]):
                return len(event)
            at = end + len(behind)
        return at

    def learn(self, event: bytes, plain: Plain, seen: int) -> None:
        """`event` is `plain`; `seen` bytes have come until now."""
        self._left = self._left if seen - self._taught_at < PAID * len(event) else MOST_LESSONS
        self._before, self._taught_at = b"", seen
        if not self._left or len(event) > LARGEST or event.count(plain.key) != 1:
            return
        self._left -= 1
        start = event.find(plain.key) + len(plain.key)
        start += event[start : start + 1] == b" "
        written = _STRING.match(event, start)
        if written is None or written[0] == b'""':
            return
        self.block, self.heard = plain.said.block, plain.heard
        self._cut_behind(event[written.end() - 1 :])
        self._cut_before(event[: start + 1])

    def forget(self) -> None:
        """Another kind of event came, or none will come any more."""
        self._before = b""

    def _cut_before(self, before: bytes) -> None:
        number = _NUMBER.search(before)
        start, end = number.span("number") if number is not None else (len(before), len(before))
        self._before, self._number, self._start = before[:start], before[end:], start

    def _cut_behind(self, behind: bytes) -> None:
        """Cut out the gaps behind the text."""
        cuts: list[_Cut] = []
        for gap in _GAPS.finditer(behind):
            assert gap.lastgroup is not None
            cuts.append((*gap.span(gap.lastgroup), _FITS[gap.lastgroup]))
        counts = _object(behind, _COUNTS)
        if counts is not None:
            self._shape = behind[slice(*counts)].translate(None, _DIGITS)
            cuts.append((*counts, self._counts_fit))
        cuts = [each for each in cuts if counts is None or not counts[0] < each[0] < counts[1]]
        cuts.sort(key=_start_of)
        starts = [*map(_start_of, cuts), len(behind)]
        self._behind, self.counts = behind[: starts[0]], b""
        gaps = [
            (fits, behind[end:until])
            for (_, end, fits), until in zip(cuts, starts[1:], strict=True)
        ]
        self._fits_last, self._last = gaps.pop() if gaps else (_is_blank, b"")
        self._gaps = gaps

    def _counts_fit(self, counts: bytes) -> bool:
        """Whether they are the last ones but for their digits."""
        if counts.translate(None, _DIGITS) != self._shape:
            return False
        self.counts = counts
        return True


def _start_of(cut: _Cut) -> int:
    return cut[0]


def _is_blank(gap: bytes) -> bool:
    return not gap.strip(b" ")


_FITS: Final[dict[str, Fits]] = {
    "number": bytes.isdigit,
    "letters": bytes.isalnum,
    "spaces": _is_blank,
}


def _object(data: bytes, key: bytes) -> tuple[int, int] | None:
    """Where the object under a key begins and ends; None where the key does not stand exactly once,
    or the end is not easily found."""
    if data.count(key) != 1:
        return None
    start = data.find(key) + len(key)
    start += data[start : start + 1] == b" "
    depth, until = 0, start
    while data[start : start + 1] == b"{":
        closing = data.find(b"}", until)
        if closing < 0:
            return None
        depth += data.count(b"{", until, closing) - 1
        until = closing + 1
        if not depth:
            return start, until
    return None
