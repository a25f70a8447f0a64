"""Server-sent events: line ends of all kinds, cut anywhere, each byte looked at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire import sse
from relayd.wire.sse import Event, Framer
from tests.wire.cuts import cut, every_way, places


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b'data: {"a":1}\n\n', Event(b"", b'{"a":1}')),
        (b'data:{"a":1}\r\n\r\n', Event(b"", b'{"a":1}')),
        (b"data:  two\r\r", Event(b"", b" two")),
        (b"event: ping\ndata: 1\ndata: 2\n\n", Event(b"ping", b"1\n2")),
        (b": comment\nid: 3\nretry: 5\ndata: 1\n: more\n\n", Event(b"", b"1")),
        (b"\xef\xbb\xbfdata: 1\n\n", Event(b"", b"1")),
        (
            "data: \u2028\x0b\x0c\x85 \u2029\n\n".encode(),
            Event(b"", "\u2028\x0b\x0c\x85 \u2029".encode()),
        ),
        (b"data\n\n", Event(b"", b"")),
        (b": only a comment\n\n", Event(b"", b"")),
    ],
)
def test_an_event_is_read_liberally(block: bytes, event: Event) -> None:
    assert sse.parse(block) == event


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"data: 1\n\n", b" 1"),
        (b"data:1\r\n\r\n", b"1"),
        (b"data: 1\ndata: 2\n\n", b""),
        (b"data: 1\rdata: 2\n\n", b""),
        (b"event: x\ndata: 1\n\n", b""),
        (b": x\n\n", b""),
        (b"data: 1\n", b""),
        (b"data: 1", b""),
    ],
)
def test_only_line_knows_the_usual_event(block: bytes, data: bytes) -> None:
    assert sse.only_line(block) == data


BLOCKS = [b"data: a\n\n", b"data: b\r\n\r\n", b"data: c\r\r", b"data: d\n\r\n", b": e\r\n\n"]


@given(st.lists(st.sampled_from(BLOCKS)), places)
def test_events_are_the_same_wherever_the_reads_were_cut(
    some: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(some)
    framer = Framer()
    whole = [framer.feed(piece) for piece in cut(data, cuts)]
    assert b"".join([*whole, framer.rest()]) == data
    found = [sse.parse(b).data for part in [*whole, framer.rest()] for b in sse.blocks(part)]
    assert [data for data in found if data] == [b[6:7] for b in some if b[:1] == b"d"]


def test_blocks_joined_are_the_data_again() -> None:
    for data in (b"", b"data: 1\n\ndata: 2", b"data: 1\r\n\r\ndata: 2\r\n\r\n\r\n"):
        assert b"".join(sse.blocks(data)) == data


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"data: 1\n\nda", 9),
        (b"data: 1", 0),
        (b"data: 1\r\n", 0),
        (b"data: 1\r\n\r\nd", 11),
        # The second CR may be half of a CRLF...
        (b"data: 1\r\n\r", 0),
        # ... but not where lines end with CR alone.
        (b"data: 1\r\r", 9),
    ],
)
def test_a_boundary_is_behind_a_blank_line(data: bytes, end: int) -> None:
    assert sse.last_boundary(data) == end


def test_blank_lines_between_events_leave_nothing_pending() -> None:
    framer = Framer()
    for chunk in (b"\n", b"\r\n", b"\r", b"\n\n"):
        assert framer.feed(chunk) == chunk
        assert not framer.pending


def test_an_event_beyond_the_limit_is_let_go_and_the_next_is_found() -> None:
    for pieces in every_way(b"data: 0123456789\n\ndata: 2\n\ndata: 3\n\nda"):
        framer = Framer(limit=12)
        found = b"".join(framer.feed(piece) for piece in pieces)
        # In one read the long event is never pending, so it does not count against the limit.
        assert found.endswith(b"data: 2\n\ndata: 3\n\n")
        assert framer.rest() == b"da"


def test_while_a_long_event_is_skipped_nothing_of_it_is_kept() -> None:
    framer = Framer(limit=10)
    for _ in range(100):
        framer.feed(b"data: 1234")
    assert framer.skipping
    assert framer.rest() == b""
    assert framer.pending == 1000
    framer.clear()
    assert not framer.skipping
    assert framer.feed(b"data: 1\n\n") == b"data: 1\n\n"
