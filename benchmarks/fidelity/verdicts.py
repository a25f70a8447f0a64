"""What a comparison came to, and how many of each there are, as compact tables.

A verdict is one of: equal; equal with named tolerances; an exception, which is a difference that is
meant and has its reason; not well-formed, which is nothing to compare; refused, where a refusal is
an answer; or failed. Only the last makes the run fail.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Outcome = Literal["equal", "tolerated", "exception", "malformed", "refused", "failed"]
COLUMNS: Final[tuple[Outcome, ...]] = (
    *("equal", "tolerated", "exception", "malformed", "refused", "failed"),
)
MOST_LINES: Final = 40
MOST_SHOWN: Final = 240  # characters of a problem
MOST_ROWS: Final = 3
_ANY_FORMAT = re.compile(r"the (?:chat|responses|messages|gemini) format")
_NUMBER = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison.

    Arguments:
        row: the line of the table that it belongs to.
        id: of the exchange.
        tolerances: the names of those that it needed.
        why: the reason of an exception or a refusal; what is wrong with the malformed.
        problems: the differences, where it failed.
    """

    row: str
    id: str
    outcome: Outcome
    tolerances: tuple[str, ...] = ()
    why: str = ""
    problems: tuple[str, ...] = ()


class Exceptional(NamedTuple):
    """Differences that are meant: in `row`s that match, all problems that match `pattern`."""

    row: str
    pattern: str
    why: str


def excused(row: str, problems: Sequence[str], exceptions: Sequence[Exceptional]) -> str:
    """The reason why all these differences are meant; "" where one of them is not."""
    reasons: dict[str, None] = {}
    for problem in problems:
        for one in exceptions:
            if re.fullmatch(one.row, row) and re.search(one.pattern, problem):
                reasons[one.why] = None
                break
        else:
            return ""
    return "; ".join(reasons)


def judged(row: str, name: str, check: Callable[[], Verdict]) -> Verdict:
    """The verdict of `check`; an exception of any kind that it lets out is a failure."""
    try:
        return check()
    except Exception as exc:  # what is measured may do anything, and the rest shall be measured
        return Verdict(row, name, "failed", problems=(raised(exc),))


def raised(exc: Exception) -> str:
    """What was raised, and where."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = next((one for one in reversed(frames) if "/relayd/wire/" in one.filename), frames[-1])
    file = "/".join(place.filename.rsplit("/", 2)[1:])
    return f"raised {type(exc).__name__} in {file} {place.name}:{place.lineno}: {exc!s:.300}"


def failed(verdicts: Sequence[Verdict]) -> bool:
    """Whether the run fails."""
    return any(one.outcome == "failed" for one in verdicts)


def lines(title: str, verdicts: Sequence[Verdict], *, most: int = 1000) -> Iterator[str]:
    """A table, and below it what is behind its numbers; of each kind at most so many lines."""
    used = [name for name in COLUMNS if any(one.outcome == name for one in verdicts)]
    shown = ["equal", *(name for name in used if name != "equal")]
    rows: dict[str, Counter[Outcome]] = defaultdict(Counter)
    for one in verdicts:
        rows[one.row][one.outcome] += 1
    counted = [
        (row, sum(counts.values()), *(counts[name] or "" for name in COLUMNS if name in shown))
        for row, counts in rows.items()
    ]
    yield from table([(title, "all", *(name for name in COLUMNS if name in shown)), *counted])
    yield from _tolerances(verdicts)
    for outcome in ("exception", "malformed", "refused"):
        yield from _reasons(outcome, verdicts, most)
    yield from _failures(verdicts)
    yield ""


def table(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Columns, the first to the left and the others to the right."""
    text = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    for row in text:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *others])


def _tolerances(verdicts: Sequence[Verdict]) -> Iterator[str]:
    counts = Counter(name for one in verdicts for name in one.tolerances)
    if counts:
        yield "  tolerances: " + ", ".join(f"{name} {n}" for name, n in counts.most_common())


def _reasons(outcome: str, verdicts: Sequence[Verdict], most: int) -> Iterator[str]:
    """Each reason once, however many rows have it: a field is mostly refused by several formats."""
    found: dict[str, list[Verdict]] = defaultdict(list)
    for one in verdicts:
        if one.outcome == outcome:
            found[_shortened(one.why)].append(one)
    ranked = sorted(found.items(), key=lambda item: -len(item[1]))
    for why, ones in ranked[:most]:
        rows = Counter(one.row for one in ones)
        where = ", ".join(f"{row} {count}" for row, count in rows.most_common(MOST_ROWS))
        more = ", …" if len(rows) > MOST_ROWS else ""
        yield f"  {outcome}: {len(ones)} x {why}  [{where}{more}; {ones[0].id}]"
    if len(ranked) > most:
        rest = sum(len(ones) for _, ones in ranked[most:])
        yield f"  {outcome}: {rest} x {len(ranked) - most} more reasons (--all lists them)"


def _shortened(why: str) -> str:
    why = _ANY_FORMAT.sub("that format", _NUMBER.sub("[]", why))
    return why.replace(" cannot be translated for this model", "")


def _failures(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Each kind of problem once, with how often it was found and one place to look at."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in verdicts:
        if one.outcome == "failed":
            for problem in one.problems:
                found[one.row, _kind(problem)].append(f"{one.id}: {problem[:MOST_SHOWN]}")
    ranked = sorted(found.items(), key=lambda item: -len(item[1]))
    for (row, problem), names in ranked[:MOST_LINES]:
        yield f"  FAILED: {row}: {len(names)} x {problem}  ({names[0]})"
    if len(ranked) > MOST_LINES:
        yield f"  FAILED: … and {len(ranked) - MOST_LINES} more kinds"


def _kind(problem: str) -> str:
    """What a problem has in common with others of its kind: the place and what happened there."""
    place = _NUMBER.sub("[]", problem)
    return re.split(r"(?<= lost) |(?<= added) |: (?=['\"\d({])", place)[0][:100]
