"""`python -m benchmarks.fidelity.clients`: what real client programs send, in every other format.

Each request of `client-requests.jsonl.gz` is written natively, then for each other format, strictly
and leniently. Leniently all of them must succeed: a client that cannot leave a field out must still
be served. Strictly a refusal is an answer, and each is listed with the client and the field.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson

from benchmarks.fidelity import hub, verdicts
from benchmarks.fidelity.crossing import Pair, crossed
from benchmarks.fidelity.recording import FIXTURE, SHARED, BadRecording
from benchmarks.fidelity.roundtrip import request_document
from benchmarks.fidelity.verdicts import Verdict
from relayd.model import FormatName
from relayd.wire.paths import Target, locate

CLIENTS: Final = SHARED.with_name("client-requests.jsonl.gz")  # real, beside us
BY_HAND: Final = FIXTURE.with_name("clients.jsonl")  # made by hand, always there


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a client program."""

    id: str
    format: FormatName
    path: str
    document: dict[str, Any]


def usual_file() -> Path:
    """The real requests where they are, else the hand-made ones."""
    return CLIENTS if CLIENTS.exists() else BY_HAND


def are_requests(path: Path) -> bool:
    """Whether a file holds requests of clients rather than exchanges. Raises OSError."""
    with _opened(path) as lines:
        first = lines.readline()
    return b'"client"' in first[:200] and b'"response"' not in first


def requests(path: Path) -> list[Asked]:
    """The requests of a file that ask for an answer. Raises OSError, BadRecording."""
    with _opened(path) as lines:
        rows = [line for line in lines if line.strip()]
    found = []
    for number, line in enumerate(rows, 1):
        try:
            one = _asked(orjson.loads(line))
        except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
            raise BadRecording(f"line {number} is not a request: {exc!r}") from None
        found += [one] if one is not None else []
    return found


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _asked(row: dict[str, Any]) -> Asked | None:
    aim = locate(row["method"], row["path"], row.get("query") or "")
    if not isinstance(aim, Target) or aim.operation != "generate":
        return None
    name = f"{row['client']} {row.get('scenario', '')} {row.get('seq', '')}"
    return Asked(name, aim.format, row["path"], row["body"])


def check_all(asked: Sequence[Asked], pairs: Sequence[Pair] = hub.CROSSINGS) -> Iterator[Verdict]:
    """The verdicts on all requests: natively, then for each pair of formats."""
    for name in hub.NAMES:
        for one in asked:
            if one.format == name:
                row = f"{name} round trip"
                check = partial(request_document, row, one.id, one.document, one.path)
                yield verdicts.judged(row, one.id, check)
    for client, upstream in pairs:
        for lenient in (False, True):
            row = f"{client} -> {upstream} {'lenient' if lenient else 'strict'}"
            for one in asked:
                if one.format == client:
                    check = partial(crossed, row, one.id, one.document, one.path)
                    check = partial(check, upstream=upstream, lenient=lenient)
                    verdict = verdicts.judged(row, one.id, check)
                    yield _never_refused(verdict) if lenient else _named(verdict)


def _never_refused(verdict: Verdict) -> Verdict:
    if verdict.outcome != "refused":
        return verdict
    return replace(verdict, outcome="failed", problems=(f"refused: {verdict.why}",))


def _named(verdict: Verdict) -> Verdict:
    """A refusal is listed with the client's name."""
    client = verdict.id.partition(" ")[0]
    return replace(verdict, why=f"{client}: {verdict.why}") if verdict.why else verdict


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity.clients", description=__doc__)
    parser.add_argument("--from", dest="source", default="", choices=["", *hub.NAMES])
    parser.add_argument("--to", default="", choices=["", *hub.NAMES])
    parser.add_argument("--file", type=Path, default=usual_file())
    parser.add_argument("--only", default="", help="only requests whose client contains this")
    options = parser.parse_args(arguments)
    asked = [one for one in requests(options.file) if options.only in one.id]
    pairs = [
        (a, b) for a, b in hub.CROSSINGS if options.source in ("", a) and options.to in ("", b)
    ]
    found = list(check_all(asked, pairs))
    print("\n".join(verdicts.lines("clients", found)))
    return 1 if verdicts.failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
