"""The benchmark: relayd on one core, load and mock upstream on the other, nginx as the yardstick.

Starts everything, takes the measurements one after the other, prints a table, and after a whole
run writes RESULTS.md. Everything is on loopback, bounded in time and count, and ended by its own
pid.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import orjson

from benchmarks import machine, report
from benchmarks.load import LoadFailed
from benchmarks.measures import chunks, first_byte, memory, prompt, replies
from benchmarks.processes import NotStarted, keep_awake, raise_file_limit
from benchmarks.servers import Server, start_mock, start_nginx, start_relay
from benchmarks.stage import LOAD_CORE, QUICK, RELAY_CORE, Section, Sizes, Stage

RESULTS = Path(__file__).with_name("RESULTS.md")
MEASURES: Mapping[str, Callable[[Stage], Section]] = {
    "replies": replies.measure,
    "chunks": chunks.measure,
    "first-byte": first_byte.measure,
    "memory": memory.measure,
    "prompt": prompt.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked; returns the exit status: 0 done, 2 it could not be measured."""
    options = _parser().parse_args(arguments)
    wanted = options.only.split(",") if options.only else list(MEASURES)
    unknown = [name for name in wanted if name not in MEASURES]
    if unknown:
        print(f"bench: no measure {unknown[0]!r}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) <= max(RELAY_CORE, LOAD_CORE):
        print("bench: needs two cores, one for the relay and one for the load", file=sys.stderr)
        return 2
    described = machine.describe() | {"cores": "kept awake" if options.awake else "may halt"}
    _say_warnings(described)
    try:
        sections = _measure(wanted, QUICK if options.quick else Sizes(), options.awake)
    except (LoadFailed, NotStarted) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 2
    _publish(options, described, sections, whole=not options.quick and len(wanted) == len(MEASURES))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="relayd beside nginx")
    parser.add_argument("--quick", action="store_true", help="less than a minute, rough figures")
    parser.add_argument("--only", metavar="A,B", help=f"some of: {', '.join(MEASURES)}")
    parser.add_argument(
        "--awake", action="store_true", help="keep both cores from halting (virtual machines)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _say_warnings(described: Mapping[str, str]) -> None:
    if machine.is_busy():
        print(f"bench: the machine is busy (load {described['load before']})", file=sys.stderr)
    if described["nginx"] == "not installed":
        print(
            "bench: nginx is not installed: going on without the yardstick "
            "(Debian: apt-get install nginx-light)",
            file=sys.stderr,
        )


def _measure(wanted: list[str], sizes: Sizes, awake: bool) -> list[Section]:
    raise_file_limit()
    os.sched_setaffinity(0, {LOAD_CORE})
    sections = []
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name, ExitStack() as stack:
        stage = stack.enter_context(_stage(Path(name), sizes))
        for core in (RELAY_CORE, LOAD_CORE) if awake else ():
            stack.callback(keep_awake(core, Path(name) / f"awake{core}.out").stop)
        for measure in wanted:
            print(f"bench: {measure} …", file=sys.stderr)
            sections.append(MEASURES[measure](stage))
    return sections


@contextmanager
def _stage(folder: Path, sizes: Sizes) -> Iterator[Stage]:
    """Everything running, and everything ended after it."""
    started: list[Server] = []
    try:
        mock = start_mock(folder, LOAD_CORE)
        started.append(mock)
        relay = start_relay(folder / "relayd", RELAY_CORE, mock.port)
        started.append(relay)
        nginx = start_nginx(folder / "nginx", RELAY_CORE, mock.port)
        started += [nginx] if nginx else []
        yield Stage(folder, sizes, mock, relay, nginx)
    finally:
        for server in reversed(started):
            server.stop()


def _publish(
    options: argparse.Namespace,
    described: Mapping[str, str],
    sections: list[Section],
    *,
    whole: bool,
) -> None:
    if options.json:
        found = {"machine": described, "sections": [section.as_dict() for section in sections]}
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(report.text(described, sections)))
    if whole:
        lines = report.markdown(described, sections, date.today())
        RESULTS.write_text("\n".join(lines))
        print(f"bench: written to {RESULTS.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
