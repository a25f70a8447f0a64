"""What came of the runs of client programs: remembered by client, told as a table.

Each run replaces what was known of it, so that a program may be run again alone; the page is
written as soon as every client has been run once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import orjson

from benchmarks.clients import install, table
from benchmarks.clients.recipes import recipes
from relayd import clients
from relayd.model import FormatName
from tests.clients.matrix import FORMATS

Act = Literal["plain", "tool"]

PAGE: Final = Path(__file__).parents[1] / "CLIENTS.md"
OPENING: Final = """\
# Client programs, run for real

`make programs` installs every program below from its registry, writes the settings that `relayd
clients show` prints, and runs it against relayd, behind which stands a provider that speaks one
format only: a plain prompt, and one that makes the program use a tool (its own, where it has some)
and go on with the result. A run counts when the program shows what was said, when the provider was
spoken to in its format, and when relayd has a good row with reported usage for each request.

`ok ok` is the plain prompt and the tool; `ok` alone is a client whose tools `make clients` tests.
"""


class Run(NamedTuple):
    """One start of one program."""

    client: str
    setup: int
    there: FormatName
    act: Act
    model: str = ""  # "" is the client's own

    @property
    def tag(self) -> str:
        """A word that is in its prompt, and in nothing else."""
        words = [self.client, str(self.setup), self.there, self.act, self.model]
        return "-".join(["word", *filter(None, words)])


class Ended(NamedTuple):
    """What came of it: "" or the problem, and how long it took."""

    problem: str
    seconds: float


def runs(name: str) -> Iterator[Run]:
    """All runs of a client: each setup with its own model, the first one with others, too. Its own
    format comes first."""
    recipe, setups = recipes()[name], clients.shipped()[name].setups
    acts: tuple[Act, ...] = ("plain", "tool") if recipe.tool else ("plain",)
    ways = [*((place, "") for place in range(len(setups))), *((0, one) for one in recipe.models)]
    for place, model in ways:
        for there in sorted(FORMATS, key=lambda one: one != setups[place].format):
            yield from (Run(name, place, there, act, model) for act in acts)


def remember(ended: Mapping[Run, Ended]) -> None:
    """Keep what came of these runs beside what is kept of others; once every client has run, the
    page is written."""
    book = install.cache() / "results.json"
    book.parent.mkdir(parents=True, exist_ok=True)
    kept = orjson.loads(book.read_bytes()) if book.is_file() else []
    known = {Run(*run): Ended(*one) for run, one in kept if len(run) == len(Run._fields)}
    everything = [run for name in recipes() for run in runs(name)]
    known |= ended
    known = {run: known[run] for run in everything if run in known}
    book.write_bytes(orjson.dumps([[[*run], [*one]] for run, one in known.items()]))
    if len(known) == len(everything):
        PAGE.write_text("\n".join([OPENING, *lines(known, {})]) + "\n")


def lines(ended: Mapping[Run, Ended], absent: Mapping[str, str]) -> list[str]:
    """The table, and what failed."""
    rows: dict[tuple[str, int, str], dict[FormatName, list[str]]] = {}
    for run, one in ended.items():
        row = rows.setdefault((run.client, run.setup, run.model), {})
        row.setdefault(run.there, []).append("FAILED" if one.problem else "ok")
    drawn = []
    for (name, place, model), cells in rows.items():
        client = clients.shipped()[name]
        setup = client.setups[place]
        title = f"{client.title} {client.proven}".rstrip()
        way = model or setup.title
        results = [" ".join(cells[there]) for there in FORMATS]
        drawn.append([title, setup.format, way, *results])
    head = ["client", "speaks", "settings", *(f"to {name}" for name in FORMATS)]
    failed = {**{run.tag: one.problem for run, one in ended.items()}, **absent}
    bad = table.failures(failed)
    took = sum(one.seconds for one in ended.values())
    count = f"{len(ended)} runs, {len(bad)} failed, {took:.0f} seconds of programs."
    return [
        *table.drawn(head, drawn),
        "",
        count,
        *(["", *(f"- {line}" for line in bad)] if bad else []),
    ]
