"""Whatever an upstream sends, each reader makes of it events that obey the hub's order.

Only OverflowError may be raised, where an upstream sends more than is kept.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from relayd.model import FormatName
from relayd.wire.codec import Reader
from relayd.wire.events import Events, fold
from relayd.wire.formats import FORMATS
from tests.wire.grammar import events as order
from tests.wire.strategies import NAMES, Frames, examples, hostile, mutated, short
from tests.wire.upstreams import STREAMS, WHOLES

each_format = pytest.mark.parametrize("name", NAMES)


def reader(name: FormatName) -> Reader:
    codec = FORMATS[name].codec
    if codec is None:
        pytest.skip(f"{name} has no codec yet")
    return codec.reader()


def read(name: FormatName, frames: Frames) -> Events:
    """The events of a stream up to its end, or up to where it is too large."""
    found = reader(name)
    events: Events = []
    try:
        for each in frames:
            events += found.read(*each)
        return events + found.end()
    except OverflowError:
        return events


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in NAMES for case in STREAMS[name]]
)
def test_what_hosts_send_ends_in_order(name: FormatName, case: str) -> None:
    """wire-formats, trap 161."""
    events = read(name, STREAMS[name][case])
    failing = case in ("failure", "failed", "error", "cut", "malformed")
    assert order.check(events) == ("failed" if failing else "complete"), short(events)
    fold(events)


@each_format
def test_hostile_streams_make_events_in_order(name: FormatName) -> None:
    reader(name)

    @examples(80)
    @given(frames=hostile(list(STREAMS[name].values())))
    def holds(frames: Frames) -> None:
        note(str(frames))
        events = read(name, frames)
        note(short(events))
        order.check(events)
        fold(events)

    holds()


@each_format
def test_a_stream_always_ends_or_fails(name: FormatName) -> None:
    found = reader(name)
    assert order.check(found.end()) == "failed"
    for stream in STREAMS[name].values():
        for end in range(len(stream)):
            assert order.check(read(name, stream[:end])) in ("complete", "failed")


@each_format
def test_hostile_replies_make_events_in_order(name: FormatName) -> None:
    reader(name)

    @examples(50)
    @given(document=st.sampled_from(WHOLES[name]).flatmap(mutated))
    def holds(document: Any) -> None:
        if not isinstance(document, dict):
            return
        note(str(document))
        try:
            events = reader(name).whole(document)
        except OverflowError:
            return
        note(short(events))
        assert order.check(events) in ("complete", "failed")
        fold(events)

    holds()


@each_format
def test_any_bytes_at_all_are_read(name: FormatName) -> None:
    reader(name)

    @examples(30)
    @given(frames=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=30)), max_size=4))
    def holds(frames: Frames) -> None:
        order.check(read(name, frames))

    holds()


@each_format
@pytest.mark.parametrize("junk", [None, -1, 2**64 - 1, 1.5, "x", [None], {"a": {}}], ids=repr)
def test_junk_in_every_place_is_survived(name: FormatName, junk: Any) -> None:
    """Each member of each event in turn is replaced by the same thing."""
    for stream in STREAMS[name].values():
        for at, (event, data) in enumerate(stream):
            if data == b"[DONE]":
                continue
            for changed in _replaced(orjson.loads(data), junk):
                events = read(name, [*stream[:at], (event, changed), *stream[at + 1 :]])
                order.check(events)


def _replaced(document: Any, junk: Any) -> list[bytes]:
    found = []
    for key, value in document.items():
        found.append(orjson.dumps({**document, key: junk}))
        if isinstance(value, dict):
            found += [orjson.dumps({**document, key: {**value, k: junk}}) for k in value]
    return found
