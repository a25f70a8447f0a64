"""`python -m benchmarks.kill`: kill relayd under load, again and again, and look into its books.

Exits with 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.kill.rounds import Result, Rounds, disk_full
from benchmarks.kill.site import Site, can_mount

# Most rounds are plain; these come in between.
OTHER_WAYS = {2: "torn", 5: "start", 8: "sigterm", 11: "locked", 14: "torn", 17: "start"}


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--locked", type=float, default=10.0, help="seconds of the locked round")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relayd-kill-") as folder:
        results = _rounds(Path(folder), options)
    full = _maybe_full(options.seed) if can_mount() else None
    if full is not None:
        results.append(full)
    print(full or "full     left out: only root may make a small file system")
    wrong = sum(bool(result.faults) for result in results)
    print(f"{len(results)} rounds, {wrong} of them wrong" if wrong else "every book is right")
    return 1 if wrong else 0


def _rounds(folder: Path, options: argparse.Namespace) -> list[Result]:
    site = Site(folder)
    results = []
    try:
        rounds = Rounds(site, options.seed, options.locked)
        for number in range(options.rounds):
            results.append(rounds.run(OTHER_WAYS.get(number % 20, "kill")))
            print(results[-1], flush=True)
    finally:
        site.close()
    return results


def _maybe_full(seed: int) -> Result | None:
    with tempfile.TemporaryDirectory(prefix="relayd-kill-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "relayd-kill", folder]
        if subprocess.run(mount, check=False).returncode:
            return None
        try:
            return disk_full(Path(folder), seed)
        finally:
            subprocess.run(["umount", folder], check=False)


if __name__ == "__main__":
    sys.exit(main())
