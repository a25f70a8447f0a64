"""`python -m benchmarks.outage`: an hour of outages, simulated; `--choose`: what choosing costs.

Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console

from benchmarks.outage import choosing, report
from benchmarks.outage.simulation import Plan, Simulation


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.outage", description=__doc__)
    usual = Plan()
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="simulated")
    parser.add_argument("--rate", type=float, default=usual.rate, help="requests a second")
    parser.add_argument(
        "--first-byte", type=float, default=usual.first_byte, help="the upstreams' timeout, seconds"
    )
    parser.add_argument("--choose", action="store_true", help="measure choosing, simulate nothing")
    options = parser.parse_args(arguments)
    console = Console(width=max(170, Console().width))
    if options.choose:
        return choosing.run(console)
    plan = Plan(options.seed, options.minutes, options.rate, options.first_byte)
    started = time.perf_counter()
    books = Simulation(plan).run()
    seconds = time.perf_counter() - started
    console.print(f"{plan}, in {seconds:.0f} s\n", highlight=False)
    report.show(books, console)
    return 1 if books.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
