"""`python -m benchmarks.clients matrix|programs|fetch`: clients of relayd, run for real.

`matrix` plays the official SDKs of Python and Node against a provider of every format and prints
one table; `programs` installs client programs, runs each with the settings of clients.yaml and
writes its table to benchmarks/CLIENTS.md; `fetch` only installs what the Node half of the matrix
wants, for tests. All of it on loopback. Exits with 1 when anything failed, with 2 when nothing ran.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.clients import install, programs, table
from tests.clients import matrix, nodes
from tests.clients.matrix import CASES, FORMATS, SDKS, Cell, Stage, Told


def main(arguments: list[str] | None = None) -> int:
    """Run, print, return the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.clients", description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    one = acts.add_parser("matrix")
    one.add_argument("--no-node", action="store_true", help="only the SDKs of Python")
    acts.add_parser("fetch")
    programs.options(acts.add_parser("programs"))
    options = parser.parse_args(arguments)
    try:
        if options.act == "fetch":
            nodes.packages()
            return 0
        return (
            _matrix(node=not options.no_node) if options.act == "matrix" else programs.main(options)
        )
    except install.Absent as absent:
        print(f"clients: {absent}", file=sys.stderr)
        return 2


def _matrix(*, node: bool) -> int:
    packages = nodes.packages() if node else None
    with tempfile.TemporaryDirectory() as folder, matrix.stage(Path(folder)) as stage:
        cells = matrix.cells("python")
        clients = matrix.connect(stage.relay)
        told = [matrix.speak(clients[cell.client], cell) for cell in cells]
        found = _problems(stage, cells, told)
        for client in clients.values():
            client.close()
        if packages is not None:
            cells = matrix.cells("node")
            found |= _problems(stage, cells, nodes.speak(stage.relay, cells, packages))
    print("\n".join(_table(found)))
    failed = table.failures({cell.tag: problem for cell, problem in found.items()})
    print("\n".join(["", *failed, f"{len(found)} cells, {len(failed)} failed"]))
    return 1 if failed else 0


def _problems(stage: Stage, cells: list[Cell], told: list[Told]) -> dict[Cell, str]:
    return {
        cell: matrix.judge(cell, one, stage.asked(cell))
        for cell, one in zip(cells, told, strict=True)
    }


def _table(found: dict[Cell, str]) -> list[str]:
    """A row for each SDK and provider, a column for each case; a cell is whole and stream."""
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for cell, problem in found.items():
        row = rows.setdefault((cell.language, SDKS[cell.client], cell.there), {})
        row.setdefault(cell.case, []).append(problem)
    assert len(rows) % len(FORMATS) == 0
    head = ["language", "SDK", "provider", *CASES]
    drawn = [[*row, *(table.verdict(cases[case]) for case in CASES)] for row, cases in rows.items()]
    return table.drawn(head, drawn)


if __name__ == "__main__":
    sys.exit(main())
