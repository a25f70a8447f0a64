"""`python -m benchmarks.fidelity.crossing [--from F] [--to F]`: every exchange in the others.

Requests: decoded, encoded for each of the other formats, strictly and leniently; the document must
be one that the official library would send, the same on a second try, and say the same (`gist`)
when it is read back. A refusal is an answer: it names the field. Replies and streams: read, written
for a client of each other format, taken by that client's library, read back, and compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.fidelity import gist, gist_replies, hub, valid, verdicts, witness
from benchmarks.fidelity.events import documents, parsed
from benchmarks.fidelity.recording import FIXTURE, SHARED, Recorded, read
from benchmarks.fidelity.roundtrip import reply_is_none, stream_is_none
from benchmarks.fidelity.verdicts import Exceptional, Verdict
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.events import Events, Failure, Reply, fold
from relayd.wire.neutral import Hosted, Request, Thinking
from relayd.wire.setting import Written

Json = dict[str, Any]
Pair = tuple[FormatName, FormatName]
# What older versions of an API take, and the newest library does not declare any more.
OLDER: Final[dict[str, tuple[str, ...]]] = {"messages": ("temperature", "top_p", "top_k")}

EXCEPTIONS: Final[tuple[Exceptional, ...]] = ()


def check_requests(
    recordings: Sequence[Recorded], pairs: Sequence[Pair] = hub.CROSSINGS
) -> Iterator[Verdict]:
    """The verdicts on all requests, for each pair of formats."""
    for client, upstream in pairs:
        for lenient in (False, True):
            row = f"{client} -> {upstream} {'lenient' if lenient else 'strict'}"
            for recorded in recordings:
                if recorded.format == client and not recorded.counts_tokens:
                    document = orjson.loads(recorded.request)
                    check = partial(crossed, row, recorded.id, document, recorded.path)
                    yield verdicts.judged(
                        row, recorded.id, partial(check, upstream=upstream, lenient=lenient)
                    )


def crossed(
    row: str, ident: str, document: Json, path: str, *, upstream: FormatName, lenient: bool
) -> Verdict:
    """One request, written for `upstream`."""
    aim = hub.target(path)
    way = hub.going(upstream, lenient=lenient)
    try:
        written = hub.encoded(hub.codec(aim.format).decode(document, aim), way)
    except BadCall as exc:
        named = "" if exc.param else " (without param)"
        why = f"{exc.message}{named}"
        return Verdict(row, ident, "refused" if exc.param else "failed", why=why, problems=(why,))
    request = hub.codec(aim.format).decode(document, aim)
    again = hub.encoded(request, hub.going(upstream, lenient=lenient))
    if orjson.dumps(again.document) != orjson.dumps(written.document):
        return Verdict(row, ident, "failed", problems=("written otherwise the second time",))
    problems = list(_invalid(upstream, written.document))
    if not problems:
        request = hub.codec(aim.format).decode(document, aim)
        problems = list(_changed(request, written, upstream, way.losses.dropped))
    why = verdicts.excused(row, problems, EXCEPTIONS) if problems else ""
    if why:
        return Verdict(row, ident, "exception", why=why)
    return Verdict(row, ident, "failed" if problems else "equal", problems=tuple(problems))


def _invalid(name: FormatName, document: Json) -> Iterator[str]:
    shown = {key: v for key, v in document.items() if key not in OLDER.get(name, ())}
    for problem in valid.request_problems(name, shown):
        yield f"invalid: {problem}"


def _changed(
    request: Request, written: Written, upstream: FormatName, dropped: Sequence[str]
) -> Iterator[str]:
    """What the upstream would understand otherwise than it was meant."""
    back = hub.codec(upstream).decode(written.document, hub.target(hub.PATHS[upstream]))
    request.tools = [tool for tool in request.tools if not isinstance(tool, Hosted)]
    yield from gist.changes(request, back, written.names)
    yield from gist.control_differences(request, back, dropped)


# --- replies --------------------------------------------------------------------------------------


def check_replies(
    recordings: Sequence[Recorded], pairs: Sequence[Pair] = hub.CROSSINGS
) -> Iterator[Verdict]:
    """The verdicts on all replies and streams that are whole, for each pair of formats."""
    for upstream, client in pairs:
        for streamed in (False, True):
            row = f"{upstream} -> {client} {'stream' if streamed else 'whole'}"
            for recorded in recordings:
                if recorded.format != upstream or recorded.status != 200:
                    continue
                if recorded.stream == streamed and not recorded.counts_tokens:
                    yield from _reply(row, recorded, upstream, client)


def _reply(
    row: str, recorded: Recorded, upstream: FormatName, client: FormatName
) -> Iterator[Verdict]:
    try:
        found = reply_events(recorded, upstream)
    except Exception as exc:
        yield Verdict(row, recorded.id, "failed", problems=(verdicts.raised(exc),))
        return
    if found:
        check = _stream if recorded.stream else _whole
        yield verdicts.judged(
            row, recorded.id, partial(check, row, recorded, (upstream, client), found)
        )


def reply_events(recorded: Recorded, upstream: FormatName) -> Events:
    """The events of a recorded reply; [] for what is none."""
    if recorded.stream:
        found = [] if stream_is_none(upstream, recorded) else hub.events(upstream, recorded.body)
    else:
        document = parsed(recorded.body)
        if document is None or reply_is_none(upstream, document):
            return []
        found = hub.reader(upstream).whole(document)
    return [] if any(isinstance(each, Failure) for each in found) else found


def asked(client: FormatName) -> Request:
    """What a client asks who wants to see everything."""
    thinking = Thinking(mode="on", show="summary")
    return Request(
        source=client, model=hub.MODEL, messages=[], thinking=thinking, stream=True, show_usage=True
    )


def _whole(row: str, recorded: Recorded, pair: Pair, found: Events) -> Verdict:
    _, client = pair
    document = whole_document(client, found)
    problems = [f"invalid: {problem}" for problem in valid.reply_problems(client, document)]
    back = fold(hub.reader(client).whole(document))
    problems += _reply_differences(fold(found), back, pair)
    return _verdict(row, recorded, problems)


def _stream(row: str, recorded: Recorded, pair: Pair, found: Events) -> Verdict:
    upstream, client = pair
    body = hub.piped(upstream, hub.coming(client, asked(client)), client, [recorded.body])
    bad = [p for event in documents(body) for p in valid.event_problems(client, event)]
    problems = [f"invalid event: {problem}" for problem in bad[:3]]
    back = fold(hub.events(client, body))
    problems += _reply_differences(fold(found), back, pair)
    whole = hub.reader(client).whole(whole_document(client, found))
    drift = gist_replies.said_differences(
        gist_replies.of_reply(fold(whole)), gist_replies.of_reply(back)
    )
    problems += [f"whole and streamed drift: {problem}" for problem in drift]
    if not problems:
        problems += _witnessed(client, body, back)
    return _verdict(row, recorded, problems)


def whole_document(client: FormatName, found: Events) -> Json:
    """The whole reply that a client of this format gets."""
    reply = fold(hub.restore(client).apply(found))
    written = hub.writer(client, hub.coming(client, asked(client))).whole(reply)
    document: Json = orjson.loads(orjson.dumps(written))
    return document


def _witnessed(client: FormatName, body: bytes, back: Reply) -> Iterator[str]:
    """What the client's library gathers from the stream, against what we read in it."""
    document = witness.understood(client, body)
    gathered = gist_replies.of_reply(fold(hub.reader(client).whole(document)))
    for problem in gist_replies.said_differences(
        gist_replies.of_reply(back), gathered, ordered=False
    ):
        yield f"the library understands otherwise: {problem}"


def _reply_differences(one: Reply, other: Reply, pair: Pair) -> list[str]:
    writes, pictures = "gemini" not in pair, pair[1] != "messages"
    meant, understood = (
        gist_replies.of_reply(reply, writes=writes, pictures=pictures) for reply in (one, other)
    )
    return gist_replies.said_differences(meant, understood, ordered="chat" not in pair)


def _verdict(row: str, recorded: Recorded, problems: list[str]) -> Verdict:
    why = verdicts.excused(row, problems, EXCEPTIONS) if problems else ""
    if why:
        return Verdict(row, recorded.id, "exception", why=why)
    return Verdict(row, recorded.id, "failed" if problems else "equal", problems=tuple(problems))


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity.crossing", description=__doc__)
    parser.add_argument("--from", dest="source", default="", choices=["", *hub.NAMES])
    parser.add_argument("--to", default="", choices=["", *hub.NAMES])
    parser.add_argument("--kind", default="", choices=["", "requests", "replies"])
    parser.add_argument("--file", type=Path, default=SHARED if SHARED.exists() else FIXTURE)
    parser.add_argument("--only", default="", help="only exchanges whose id contains this")
    options = parser.parse_args(arguments)
    recordings = [one for one in read(options.file) if options.only in one.id]
    pairs = [
        (a, b) for a, b in hub.CROSSINGS if options.source in ("", a) and options.to in ("", b)
    ]
    found: list[Verdict] = []
    if options.kind in ("", "requests"):
        found += check_requests(recordings, pairs)
        print("\n".join(verdicts.lines("requests: client -> upstream", found)))
    if options.kind in ("", "replies"):
        replies = list(check_replies(recordings, pairs))
        print("\n".join(verdicts.lines("replies: upstream -> client", replies)))
        found += replies
    return 1 if verdicts.failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
