"""Counts of tokens and embeddings, translated: what asks for no answer.

A count's request is written within its format and for every other that has a counter; its reply is
one number, which must come through. An embedding's request and vectors are taken to each format
that has them and read back: the texts, the dimensions and every value must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import orjson

from benchmarks.fidelity import hub, verdicts
from benchmarks.fidelity.equality import REQUEST
from benchmarks.fidelity.recording import Recorded
from benchmarks.fidelity.roundtrip import compared
from benchmarks.fidelity.verdicts import Verdict
from relayd.errors import BadCall, BadReply
from relayd.model import FormatName
from relayd.wire import counting
from relayd.wire.codec import Codec, Embed
from relayd.wire.paths import Target

Json = dict[str, Any]
PATHS: Final = {
    "chat": "/v1/embeddings",
    "gemini": f"/v1beta/models/{hub.MODEL}:batchEmbedContents",
}


def check_all(recordings: Sequence[Recorded]) -> Iterator[Verdict]:
    """The verdicts on all counts and embeddings."""
    for recorded in recordings:
        aim = hub.target(recorded.path)
        if recorded.counts_tokens:
            for to in hub.NAMES:
                row = f"count {aim.format} -> {to}"
                yield verdicts.judged(row, recorded.id, partial(_count, row, recorded, aim, to))
        elif recorded.embeds:
            for to in hub.NAMES:
                if hub.codec(to).embed is not None:
                    row = f"embed {aim.format} -> {to}"
                    yield verdicts.judged(row, recorded.id, partial(_embed, row, recorded, aim, to))


def _count(row: str, recorded: Recorded, aim: Target, to: FormatName) -> Verdict:
    ours, theirs = hub.codec(aim.format), hub.codec(to)
    document: Json = orjson.loads(recorded.request)
    assert ours.decode_count is not None
    request = ours.decode_count(document, aim)
    problems = list(_number(recorded, ours, theirs))
    if problems:
        return Verdict(row, recorded.id, "failed", problems=tuple(problems))
    if theirs.encode_count is None:
        estimated = counting.estimate(request) > 0
        return Verdict(row, recorded.id, "equal" if estimated else "failed", why="estimated")
    way = hub.going(to, request.model, native=to == aim.format, lenient=True)
    try:
        written = theirs.encode_count(request, way).document
    except BadCall as exc:
        return Verdict(row, recorded.id, "refused", why=exc.message)
    if to != aim.format:
        return Verdict(row, recorded.id, "equal")
    return compared(row, recorded.id, document, written, REQUEST[to])


def _number(recorded: Recorded, ours: Codec, theirs: Codec) -> Iterator[str]:
    """The count of a recorded reply, told in another format and read there."""
    if recorded.status != 200 or theirs.count_document is None or theirs.count_reply is None:
        return
    assert ours.count_reply is not None
    count = ours.count_reply(orjson.loads(recorded.body))
    if count is None or theirs.count_reply(theirs.count_document(count)) != count:
        yield f"the count {count} is not told"


def _embed(row: str, recorded: Recorded, aim: Target, to: FormatName) -> Verdict:
    ours, theirs = hub.codec(aim.format).embed, hub.codec(to).embed
    assert ours is not None and theirs is not None
    texts = ours.decode(orjson.loads(recorded.request), aim)
    way = hub.going(to, hub.MODEL, native=to == aim.format, lenient=True)
    try:
        written = orjson.loads(orjson.dumps(theirs.encode(texts, way)))
    except BadCall as exc:
        return Verdict(row, recorded.id, "refused", why=exc.message)
    back = theirs.decode(written, hub.target(PATHS[to]))
    problems = []
    if (back.inputs, back.dimensions) != (texts.inputs, texts.dimensions):
        problems.append(f"texts: {texts!r:.120} became {back!r:.120}")
    try:
        problems += _vectors(recorded, ours, theirs, aim)
    except BadReply as exc:
        return Verdict(row, recorded.id, "malformed", why=exc.message)
    return Verdict(row, recorded.id, "failed" if problems else "equal", problems=tuple(problems))


def _vectors(recorded: Recorded, ours: Embed, theirs: Embed, aim: Target) -> Iterator[str]:
    """The recorded vectors, told to a client of another format, and read there."""
    if recorded.status != 200:
        return
    texts = ours.decode(orjson.loads(recorded.request), aim)
    vectors = ours.reply(orjson.loads(recorded.body))
    document = orjson.loads(orjson.dumps(theirs.document(vectors, texts, hub.MODEL, 1)))
    again = theirs.reply(document)
    if again.values != vectors.values:
        yield f"vectors: {vectors!r:.120} became {again!r:.120}"
