"""`python -m benchmarks.fidelity [FILE]`: recorded traffic through relayd, passed and translated.

First every exchange is replayed through a daemon and must come out byte for byte; then every
request, reply and stream is translated, within its format and to each of the others. FILE holds
exchanges with providers, or requests of client programs; without it, both files that are kept
beside the checkout are taken when they are there, else the small hand-made ones of the tests. Exits
with 1 when anything deviates that is not meant to, with 2 when there is nothing to read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.fidelity import clients, report, translation
from benchmarks.fidelity.check import check
from benchmarks.fidelity.clients import Asked
from benchmarks.fidelity.recording import FIXTURE, SHARED, BadRecording, Recorded, read
from benchmarks.fidelity.replay import replay

MOST_REASONS = 12


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="a file of recorded exchanges")
    parser.add_argument("--only", default="", help="only exchanges whose id contains this")
    parser.add_argument("--part", default="", choices=["", "passed", "translated"])
    parser.add_argument("--all", action="store_true", help="list every reason of a refusal")
    options = parser.parse_args(arguments)
    try:
        recordings, asked = _read(options.file, options.only)
    except (OSError, BadRecording) as exc:
        print(f"fidelity: {options.file}: {exc}", file=sys.stderr)
        return 2
    if not recordings and not asked:
        print("fidelity: there is no such exchange", file=sys.stderr)
        return 2
    failed = False
    if recordings and options.part != "translated":
        failed = _passed(recordings)
    if options.part != "passed":
        most = 1000 if options.all else MOST_REASONS
        lines, wrong = translation.report(recordings, asked, most=most)
        print("\n".join(lines))
        failed = failed or wrong
    return 1 if failed else 0


def _read(path: Path | None, only: str) -> tuple[list[Recorded], list[Asked]]:
    """Exchanges and client requests: of the file, which holds either, or of all that there is."""
    if path is not None and clients.are_requests(path):
        recordings, asked = [], clients.requests(path)
    else:
        recordings = read(path or (SHARED if SHARED.exists() else FIXTURE))
        asked = [] if path is not None else clients.requests(clients.usual_file())
    return [r for r in recordings if only in r.id], [a for a in asked if only in a.id]


def _passed(recordings: list[Recorded]) -> bool:
    """Replay them and print the table; whether any failed."""
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        replayed = runner.run(replay(recordings))
    checked = [check(one) for one in replayed]
    print(f"{len(recordings)} exchanges, each whole and cut", end=", ")
    print(f"through one daemon in {time.perf_counter() - started:.1f} s\n")
    print("\n".join(report.lines(checked)), end="\n\n")
    return bool(report.failed_ids(checked))


if __name__ == "__main__":
    sys.exit(main())
