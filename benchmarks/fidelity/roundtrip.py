"""`python -m benchmarks.fidelity.roundtrip [FORMAT] [--file FILE]`: decode, encode, compare.

Each recorded request, whole reply and stream is read into the hub and written again in its own
format; what comes out must say the same (`equality`). A stream must moreover be written to the very
same bytes however its reads were cut, read back as the same reply, and be understood by the
official library as the recorded one is (`witness`). What is no reply must end in a failure. A
difference that is meant is an exception and stands in `EXCEPTIONS` with its reason; any other fails
the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import orjson

from benchmarks.fidelity import hub, verdicts, witness
from benchmarks.fidelity.cuts import cut
from benchmarks.fidelity.equality import REPLY, REQUEST, STREAM, compare
from benchmarks.fidelity.events import events, parsed
from benchmarks.fidelity.expect import is_complete
from benchmarks.fidelity.recording import FIXTURE, SHARED, Recorded, read
from benchmarks.fidelity.tolerances import Tolerance
from benchmarks.fidelity.verdicts import Exceptional, Verdict
from relayd.model import FormatName, Usage
from relayd.wire.events import Events, Failure, Reply, fold

Json = dict[str, Any]
BYTEWISE: Final = 100_000  # a longer stream is not read byte by byte

EXCEPTIONS: Final[tuple[Exceptional, ...]] = ()


def check_all(recordings: Sequence[Recorded], only: str = "") -> Iterator[Verdict]:
    """The verdicts on all exchanges that generate something."""
    for kind, check in CHECKS.items():
        for name in hub.NAMES:
            for recorded in recordings:
                if recorded.format != name or (only and name != only) or recorded.counts_tokens:
                    continue
                if kind != "request" and (
                    recorded.status != 200 or recorded.stream != (kind == "stream")
                ):
                    continue
                row = f"{name} {kind}"
                yield verdicts.judged(row, recorded.id, partial(check, row, name, recorded))


def request_of(row: str, name: FormatName, recorded: Recorded) -> Verdict:
    """A request."""
    return request_document(row, recorded.id, orjson.loads(recorded.request), recorded.path)


def request_document(row: str, ident: str, document: Json, path: str) -> Verdict:
    """A request's document, natively decoded and encoded."""
    aim = hub.target(path)
    request = hub.codec(aim.format).decode(document, aim)
    way = hub.going(aim.format, request.model, native=True)
    written = hub.encoded(request, way).document
    if way.losses.dropped:
        told = ", ".join(way.losses.dropped)
        return Verdict(row, ident, "failed", problems=(f"dropped natively: {told}",))
    return compared(row, ident, document, written, REQUEST[aim.format])


def reply_of(row: str, name: FormatName, recorded: Recorded) -> Verdict:
    """A whole reply."""
    document = parsed(recorded.body)
    wrong = reply_is_none(name, document)
    if document is None:
        return Verdict(row, recorded.id, "malformed", why=wrong)
    found = hub.reader(name).whole(document)
    if wrong or _failure(found):
        return _broken(row, recorded.id, wrong, found)
    reply = fold(found)
    written = hub.writer(name, _coming(name, recorded, reply)).whole(reply)
    written = orjson.loads(orjson.dumps(written))
    return compared(row, recorded.id, document, written, REPLY[name])


def stream_of(row: str, name: FormatName, recorded: Recorded) -> Verdict:
    """A stream: the bytes, the reply, and the witness."""
    wrong = stream_is_none(name, recorded)
    found = hub.events(name, recorded.body)
    if wrong or _failure(found):
        return _broken(row, recorded.id, wrong, found)
    way = _coming(name, recorded, fold(found))
    written = hub.piped(name, way, name, [recorded.body])
    for manner, pieces in _ways(recorded):
        if hub.piped(name, way, name, pieces) != written:
            return Verdict(
                row, recorded.id, "failed", problems=(f"other bytes when read {manner}",)
            )
    again = hub.events(name, written)
    problems = [*reply_problems(fold(found), fold(again))]
    if problems:
        return Verdict(row, recorded.id, "failed", problems=tuple(problems))
    try:
        wanted = witness.understood(name, recorded.body)
    except Exception as exc:
        # The recording is already beyond the library; what was written must still be read by it.
        witness.understood(name, written)
        return Verdict(row, recorded.id, "equal", why=f"no witness: {exc!r:.100}")
    return compared(row, recorded.id, wanted, witness.understood(name, written), STREAM[name])


CHECKS: Final[dict[str, Callable[[str, FormatName, Recorded], Verdict]]] = {
    "request": request_of,
    "reply": reply_of,
    "stream": stream_of,
}


def compared(
    row: str, ident: str, one: Any, other: Any, tolerances: Sequence[Tolerance]
) -> Verdict:
    """The verdict on two documents."""
    found = compare(one, other, tolerances)
    if not found.problems:
        return Verdict(row, ident, "tolerated" if found.tolerances else "equal", found.tolerances)
    why = verdicts.excused(row, found.problems, EXCEPTIONS)
    if why:
        return Verdict(row, ident, "exception", why=why)
    return Verdict(row, ident, "failed", problems=tuple(found.problems))


# --- replies as the hub has them ------------------------------------------------------------------


def reply_problems(one: Reply, other: Reply) -> Iterator[str]:
    """Where two replies differ: their parts, their ends, what they cost."""
    if len(one.choices) != len(other.choices):
        yield f"{len(one.choices)} choices became {len(other.choices)}"
    for number, (a, b) in enumerate(zip(one.choices, other.choices, strict=False)):
        if len(a.parts) != len(b.parts):
            yield f"choice {number}: {_kinds(a.parts)} became {_kinds(b.parts)}"
        for before, after in zip(a.parts, b.parts, strict=False):
            if before != after:
                yield f"part {type(before).__name__}: {before!r:.200} became {after!r:.200}"
        if (a.finish and a.finish.reason) != (b.finish and b.finish.reason):
            yield f"{a.finish} became {b.finish}"
        if a.logprobs != b.logprobs:
            yield f"logprobs {a.logprobs!r:.80} became {b.logprobs!r:.80}"
    if counts(one.usage) != counts(other.usage):
        yield f"usage {counts(one.usage)} became {counts(other.usage)}"


def counts(usage: Usage | None) -> tuple[int, ...] | None:
    """What is billed; a count that nobody states is 0."""
    if usage is None:
        return None
    into = (usage.in_uncached, usage.cache_read, usage.cache_write)
    return tuple(n or 0 for n in (*into, usage.out_total, usage.reasoning))


def _kinds(parts: Sequence[object]) -> str:
    return "[" + ", ".join(type(part).__name__ for part in parts) + "]"


def _failure(found: Events) -> str:
    return next((each.message for each in found if isinstance(each, Failure)), "")


def _broken(row: str, ident: str, wrong: str, found: Events) -> Verdict:
    """What is no whole reply has to be a failure, and nothing else may be."""
    told = _failure(found)
    if wrong and told:
        return Verdict(row, ident, "malformed", why=wrong)
    problem = f"reader fails: {told}" if told else f"reader takes it for whole: {wrong}"
    why = verdicts.excused(row, [problem], EXCEPTIONS)
    if why:
        return Verdict(row, ident, "exception", why=why)
    return Verdict(row, ident, "failed", problems=(problem,))


def _coming(name: FormatName, recorded: Recorded, reply: Reply) -> Any:
    """The way back to the very client who asked, natively."""
    request = hub.decoded(recorded)
    request.show_usage = True  # it is the whole of the stream that is compared
    if reply.start is not None and reply.start.model:
        request.model = reply.start.model
    return hub.coming(name, request, native=True)


# --- what is a reply at all -----------------------------------------------------------------------


def reply_is_none(name: FormatName, document: Json | None) -> str:
    """What is wrong with a document as a reply of its format; "" where nothing is."""
    if document is None:
        return "no JSON object"
    if document.get("error"):
        return "an error"
    kind = {"chat": "choices", "messages": "content", "responses": "output", "gemini": "candidates"}
    blocked = name == "gemini" and "promptFeedback" in document
    if not isinstance(document.get(kind[name]), list) and not blocked:
        return f"it has no {kind[name]}"
    if name == "responses" and document.get("status") in ("queued", "in_progress"):
        return "it is not finished"
    return ""


def stream_is_none(name: FormatName, recorded: Recorded) -> str:
    """What is wrong with a stream; "" where nothing is."""
    found = events(recorded.body)
    values = [event.value for event in found if event.value is not None]
    if any(value.get("error") or value.get("type") == "response.failed" for value in values):
        return "it ends in an error"
    return "" if is_complete(name, found) else "it has no terminal event"


def _ways(recorded: Recorded) -> Iterator[tuple[str, list[bytes]]]:
    body = recorded.body
    yield "cut", cut(body, recorded.id)
    if len(body) <= BYTEWISE:
        yield "byte by byte", [body[at : at + 1] for at in range(len(body))]
    yield "with bytes behind it", [body, b": comment\n\n", b"\n"]


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity.roundtrip", description=__doc__)
    parser.add_argument("format", nargs="?", default="", choices=["", *hub.NAMES])
    parser.add_argument("--file", type=Path, default=SHARED if SHARED.exists() else FIXTURE)
    parser.add_argument("--only", default="", help="only exchanges whose id contains this")
    options = parser.parse_args(arguments)
    recordings = [one for one in read(options.file) if options.only in one.id]
    found = list(check_all(recordings, cast(str, options.format)))
    print("\n".join(verdicts.lines("round trip", found)))
    return 1 if verdicts.failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
