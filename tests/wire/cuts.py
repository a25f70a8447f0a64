"""The ways in which a stream may reach an observer: whole, byte by byte, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from relayd.model import FormatName
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.paths import Target


def head(name: FormatName, *, asked_usage: bool = True, sse: bool = True) -> Head:
    target = Target(name, "generate", sse=sse)
    return Head(target, "m", True, b"{}", asked_usage=asked_usage)


def observer(name: FormatName, *, asked_usage: bool = True, sse: bool = True) -> Passthrough:
    return FORMATS[name].sniffer(head(name, asked_usage=asked_usage, sse=sse))


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces, cut at `places`."""
    start = 0
    for place in sorted({min(place, len(data)) for place in places}):
        yield data[start:place]
        start = place
    yield data[start:]


def every_way(data: bytes) -> Iterator[list[bytes]]:
    """Whole, one byte at a time, in two at each place, and with a read that is empty."""
    yield [data]
    yield list(cut(data, range(1, len(data))))
    for place in range(1, len(data)):
        yield [data[:place], b"", data[place:]]


def run(watch: Passthrough, pieces: Iterable[bytes]) -> bytes:
    """All that `watch` gives out for `pieces`, its end included."""
    return b"".join([*(watch.feed(piece) for piece in pieces), watch.finish()])


places = st.lists(st.integers(0, 400), max_size=12)
