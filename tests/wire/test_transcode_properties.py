"""All twelve crossings of streams: however the bytes were cut, the client gets the same, in order.

Every stream of `upstreams` goes through `Transcode` into each other format, in the four ways of
the house (whole, byte by byte, cut anywhere, with trailing bytes), and hostile ones go through as
well: what comes out obeys the client's grammar whatever went in.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from relayd.errors import BadReply
from relayd.model import FormatName
from relayd.wire.codec import Codec
from relayd.wire.formats import FORMATS
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Tool
from relayd.wire.restore import Restore
from relayd.wire.transcode import Transcode
from tests.wire.cuts import cut, places
from tests.wire.grammar.frames import Ending
from tests.wire.grammar.table import STREAMS as CHECKS
from tests.wire.strategies import NAMES, Frames, coming, examples, hostile
from tests.wire.upstreams import STREAMS, sent

PAIRS = [(up, client) for up in NAMES for client in NAMES if up != client]
each_pair = pytest.mark.parametrize(("up", "client"), PAIRS, ids=lambda name: str(name))
each_upstream = pytest.mark.parametrize("up", NAMES)

# What may come behind a terminal event. Gemini's streams have none: their end is the body's.
TRAILING: dict[FormatName, bytes] = {
    "chat": b'data: {"choices":[{"index":0,"delta":{"content":"late"}}]}\n\ndata: [DONE]\n\nx',
    "responses": b"data: [DONE]\n\nx",
    "messages": b'event: ping\ndata: {"type":"ping"}\n\ndata: [DONE]\n\n: bye\n\nx',
    "gemini": b"\r\n\r\n: bye\n\n",
}


def codec(name: FormatName) -> Codec:
    found = FORMATS[name].codec
    if found is None:
        pytest.skip(f"{name} has no codec yet")
    return found


def pipe(up: FormatName, client: FormatName) -> Transcode:
    tools: list[Tool] = [Function(name="f")]
    if client in ("chat", "responses"):
        tools.append(Custom(name="patch"))
    restore = Restore(Names(tools, up), request_id="req_1")
    return Transcode(codec(up).reader(), codec(client).writer(coming(client)), restore)


def through(pipe: Transcode, pieces: Iterable[bytes]) -> tuple[bytes, Ending]:
    """What the client gets, the relay's word about an early end included."""
    out = b"".join([*(pipe.feed(piece) for piece in pieces), pipe.finish()])
    if not pipe.complete and pipe.failed is None:
        out += pipe.error_event(BadReply("The upstream's stream ended too early."), "req_1")
    return out, "complete" if pipe.complete else "failed"


@each_pair
def test_a_crossing_does_not_depend_on_the_reads(up: FormatName, client: FormatName) -> None:
    """wire-formats, traps 2, 5, 8."""
    for case, frames in STREAMS[up].items():
        for newline in (b"\n", b"\r\n", b"\r"):
            data = sent(frames, newline)
            whole, ending = through(pipe(up, client), [data])
            assert CHECKS[client](whole) == ending, case
            if newline == b"\r\n":
                each = [data[at : at + 1] for at in range(len(data))]
                assert through(pipe(up, client), each) == (whole, ending), case
            if case != "cut":
                assert through(pipe(up, client), [data, TRAILING[up]]) == (whole, ending), case
            if not data.endswith(b"\r\r"):
                bare = data.removesuffix(newline * 2)
                assert through(pipe(up, client), [bare]) == (whole, ending), case


@each_pair
def test_a_crossing_may_be_cut_anywhere(up: FormatName, client: FormatName) -> None:
    codec(up), codec(client)

    @examples(15)
    @given(case=st.sampled_from(sorted(STREAMS[up])), where=places)
    def holds(case: str, where: list[int]) -> None:
        data = sent(STREAMS[up][case])
        stretched = [place * max(1, len(data) // 400) for place in where]
        whole = through(pipe(up, client), [data])
        assert through(pipe(up, client), cut(data, stretched)) == whole

    holds()


@each_pair
def test_a_crossing_cut_short_ends_with_a_failure(up: FormatName, client: FormatName) -> None:
    """wire-formats, traps 44, 96, 150."""
    for frames in STREAMS[up].values():
        for end in range(len(frames)):
            out, ending = through(pipe(up, client), [sent(frames[:end])])
            assert CHECKS[client](out, arguments=False) == ending


@each_pair
def test_hostile_streams_are_told_in_the_clients_grammar(
    up: FormatName, client: FormatName
) -> None:
    codec(up), codec(client)

    @examples(40)
    @given(frames=hostile(list(STREAMS[up].values())))
    def holds(frames: Frames) -> None:
        data = sent(frames)
        note(data.decode(errors="replace"))
        watch = pipe(up, client)
        out, ending = through(watch, [data])
        note(out.decode(errors="replace"))
        assert CHECKS[client](out, arguments=False) == ending
        again = pipe(up, client)
        pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
        assert through(again, pieces) == (out, ending)
        assert (again.usage, again.failed, again.opened) == (
            watch.usage,
            watch.failed,
            watch.opened,
        )

    holds()
