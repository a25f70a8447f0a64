"""`make seeds [BASE=URL KEY=KEY]`: every request of the seed pages, one line each, and the count.

Without a base URL it starts a relay of its own, with fake providers behind it. Another relay is
asked with the one key that is given (best in SEEDS_KEY, where no list of processes shows it); what
needs another kind of key is skipped there. Exit status: 0 when nothing failed, 1 when something
did, 2 when nothing could be asked.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.kill.site import NotWell
from benchmarks.seeds.printed import Seed, load
from benchmarks.seeds.run import FAILED, SKIPPED, Result, results
from benchmarks.seeds.stage import Stage


def main() -> int:
    """Play, print, count."""
    options = _parser().parse_args()
    seeds = [seed for seed in load() if options.only in f"{seed.page} {seed.name}"]
    if not seeds:
        print(f"no seed has {options.only!r} in its name", file=sys.stderr)
        return 2
    if options.base:
        keys = {"main": options.key, "bad": "sk-this-is-no-key"}
        return tell(results(seeds, root(options.base), keys, own=False))
    return _on_stage(seeds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__)
    parser.add_argument("--base", default="", metavar="URL", help="a relay; default: one of ours")
    parser.add_argument("--key", default=os.environ.get("SEEDS_KEY", ""), help="of that relay")
    parser.add_argument("--only", default="", metavar="TEXT", help="seeds with this in their name")
    return parser


def root(base: str) -> str:
    """A relay's address without the version that the printed paths have themselves."""
    base = base.rstrip("/")
    for tail in ("/v1beta", "/v1"):
        base = base.removesuffix(tail)
    return base if "://" in base else f"http://{base}"


def _on_stage(seeds: list[Seed]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Stage(Path(folder)) as stage:
                return tell(results(seeds, stage.base, stage.keys, own=True))
        except NotWell as error:
            print(error, file=sys.stderr)
            return 2


def tell(played: Iterable[Result]) -> int:
    """Print every result and the count; the exit status."""
    counts = {"all": 0, FAILED: 0, SKIPPED: 0}
    for result in played:
        print(result.line(), flush=True)
        counts["all"] += 1
        if result.verdict in counts:
            counts[result.verdict] += 1
    good = counts["all"] - counts[FAILED] - counts[SKIPPED]
    print(f"\n{counts['all']} requests: {good} ok, {counts[FAILED]} failed, ", end="")
    print(f"{counts[SKIPPED]} skipped")
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    sys.exit(main())
