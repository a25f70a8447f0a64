"""One seed against one relay: asked at each of its paths, judged, and told in a line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from benchmarks.seeds import snippets
from benchmarks.seeds.checks import problem
from benchmarks.seeds.play import NoAnswer, play
from benchmarks.seeds.printed import Seed

OK: Final = "ok"
FAILED: Final = "FAILED"
SKIPPED: Final = "skipped"


class Result(NamedTuple):
    """What came of one request.

    Arguments:
        path: where it was asked.
        verdict: OK, FAILED or SKIPPED.
        told: what was wrong, or why it was skipped.
        status: of the answer; 0 when there was none.
    """

    seed: Seed
    path: str
    verdict: str
    told: str
    status: int
    seconds: float

    def line(self) -> str:
        """The result in one line."""
        seed = self.seed
        head = f"{self.verdict:8}{seed.page}  {seed.name:44.44}  {seed.method:5}{self.path:80.80}"
        tail = f"  {self.status or '':>4}  {self.seconds * 1000:6.0f} ms"
        return (head + tail + (f"  {self.told}" if self.told else "")).rstrip()


def results(
    seeds: list[Seed], base: str, keys: Mapping[str, str], *, own: bool
) -> Iterator[Result]:
    """Play all seeds, one after the other.

    Arguments:
        keys: the key of each owner; what asks for another owner's is skipped.
        own: whether the relay is a stage of ours, which has what a seed `needs`.
    """
    for seed in seeds:
        reason = _missing(seed, keys, own)
        for path in seed.paths():
            yield (
                Result(seed, path, SKIPPED, reason, 0, 0.0)
                if reason
                else one(seed, path, base, keys[seed.key])
            )


def _missing(seed: Seed, keys: Mapping[str, str], own: bool) -> str:
    if seed.key not in keys:
        return f"there is no key {seed.key!r}"
    if seed.needs and not own:
        return f"this relay has no {seed.needs}"
    return snippets.missing(seed.snippet) if seed.snippet else ""


def one(seed: Seed, path: str, base: str, key: str) -> Result:
    """Play one seed at one path."""
    begun = time.monotonic()
    if seed.snippet:
        told = snippets.run(seed.snippet, base, key)
        status = 0
    else:
        try:
            for _ in range(seed.before):
                play(seed, path, base, key)
            answer = play(seed, path, base, key)
        except NoAnswer as error:
            told, status = str(error), 0
        else:
            told, status = problem(seed, path, answer), answer.status
    seconds = time.monotonic() - begun
    return Result(seed, path, FAILED if told else OK, told or "", status, seconds)
