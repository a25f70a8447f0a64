"""`python -m benchmarks.fidelity [FILE]`: replay recorded traffic through relayd and compare.

Without FILE: the recordings kept beside the checkout when they are there, else the small hand-made
set of the tests. Exits with 1 when anything deviates that is not meant to, with 2 when there is
nothing to read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.fidelity import report
from benchmarks.fidelity.check import check
from benchmarks.fidelity.recording import FIXTURE, SHARED, BadRecording, read
from benchmarks.fidelity.replay import replay


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="a file of recorded exchanges")
    parser.add_argument("--only", default="", help="only exchanges whose id contains this")
    options = parser.parse_args(arguments)
    path = options.file or (SHARED if SHARED.exists() else FIXTURE)
    try:
        recordings = [one for one in read(path) if options.only in one.id]
    except (OSError, BadRecording) as exc:
        print(f"fidelity: {path}: {exc}", file=sys.stderr)
        return 2
    if not recordings:
        print(f"fidelity: {path} holds no such exchange", file=sys.stderr)
        return 2
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        replayed = runner.run(replay(recordings))
    checked = [check(one) for one in replayed]
    print(f"{len(recordings)} exchanges of {path.name}, each whole and cut", end=", ")
    print(f"through one daemon in {time.perf_counter() - started:.1f} s\n")
    print("\n".join(report.lines(checked)))
    return 1 if report.failed_ids(checked) else 0


if __name__ == "__main__":
    sys.exit(main())
