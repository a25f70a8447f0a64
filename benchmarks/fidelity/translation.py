"""How faithful translation is, in four tables: round trips, crossings, client programs, prefixes.

Each table is made by its own module, which can also be run alone. Here they are put together for
`make fidelity`, and the names of the tolerances are explained where one was needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

from benchmarks.fidelity import (
    aside,
    carried,
    clients,
    crossing,
    equality,
    prefixes,
    roundtrip,
    verdicts,
)
from benchmarks.fidelity.clients import Asked
from benchmarks.fidelity.recording import Recorded
from benchmarks.fidelity.verdicts import Verdict

CLIENTS = "client programs"


def tables(
    recordings: Sequence[Recorded], asked: Sequence[Asked]
) -> Iterator[tuple[str, list[Verdict]]]:
    """The verdicts of each table, one after the other; a table without any is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # google-genai warns of words that are newer than it is
        made: tuple[tuple[str, Callable[[], Iterator[Verdict]]], ...] = (
            ("round trip", lambda: roundtrip.check_all(recordings)),
            ("request: client -> upstream", lambda: crossing.check_requests(recordings)),
            ("reply: upstream -> client", lambda: crossing.check_replies(recordings)),
            ("thinking carried", lambda: carried.check_all(recordings)),
            ("counts and embeddings", lambda: aside.check_all(recordings)),
            (CLIENTS, lambda: clients.check_all(asked)),
            ("prefix of a history", lambda: prefixes.check_all(recordings)),
        )
        for title, make in made:
            found = list(make())
            if found:
                yield title, found


def report(
    recordings: Sequence[Recorded], asked: Sequence[Asked], *, most: int = 1000
) -> tuple[list[str], bool]:
    """The lines to print, and whether anything failed; of the reasons why recorded exchanges are
    refused at most so many are listed, of those of client programs all."""
    lines: list[str] = []
    needed: set[str] = set()
    failed = False
    for title, found in tables(recordings, asked):
        lines += verdicts.lines(title, found, most=1000 if title == CLIENTS else most)
        needed.update(name for one in found for name in one.tolerances)
        failed = failed or verdicts.failed(found)
    lines += ["Tolerances (benchmarks/fidelity/equality.py):"] if needed else []
    lines += [f"  {name}: {text}" for name, text in equality.explained() if name in needed]
    return lines, failed
