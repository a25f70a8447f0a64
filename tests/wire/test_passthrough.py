"""What all observers share: nothing is altered, nothing raises, memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BrokenStream
from relayd.model import FormatName
from relayd.wire.chat.stream import ChatPassthrough
from relayd.wire.formats import FORMATS
from relayd.wire.passthrough import Passthrough, merge_counts, string_bytes
from tests.wire.cuts import cut, observer, places

PARTS = [
    b"data: ",
    b"data:[DONE]",
    b"event: message_stop",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b": c",
    b'{"type":"message_delta","usage":3}',
    b'{"choices":[3,{"finish_reason":1,"delta":7}],"usage":{"prompt_tokens":"x"},"error":[]}',
    b'{"response":7,"candidates":{"a":1},"error":{"message":[]}}',
    b'{"usageMetadata":[],"message":"m","promptFeedback":"p","delta":null,"parts":1}',
    b'{"torn',
    b"[1]",
    b"\xff\xef\xbb\xbf",
]


@pytest.mark.parametrize("sse", [True, False])
@pytest.mark.parametrize("name", FORMATS)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=30), cuts=places)
def test_whatever_comes_passes_unaltered(
    name: FormatName, sse: bool, parts: list[bytes], cuts: list[int]
) -> None:
    watch = observer(name, sse=sse)
    data = b"".join(parts)
    for piece in cut(data, cuts):
        assert watch.feed(piece) is piece
    closing = watch.finish()
    assert closing.strip(b"\n") == b""
    assert watch.error_event(BrokenStream("gone"), "r") or not sse
    assert watch.estimate_output() >= 0
    assert watch.seen == len(data)
    assert watch.usage is None or watch.usage.total >= 0


def test_an_event_beyond_the_limit_passes_unread_and_the_next_is_read() -> None:
    observed = ChatPassthrough(limit=100)
    long = b'data: {"usage":{"prompt_tokens":1},"x":"' + b"x" * 500 + b'"}\n\n'
    for piece in cut(long, range(50, 500, 50)):
        assert observed.feed(piece) is piece
    assert observed.usage is None
    observed.feed(b'data: {"usage":{"prompt_tokens":2}}\n\n')
    assert observed.usage is not None


def test_keep_alives_fit_only_between_two_events() -> None:
    watch = observer("chat")
    states = []
    for piece in (b"data: 1", b"\n", b"\n", b": c\n\n", b"da"):
        watch.feed(piece)
        states.append(watch.at_boundary)
    assert states == [False, False, True, True, False]


def test_finish_after_a_clean_end_adds_nothing() -> None:
    watch = observer("chat")
    watch.feed(b"data: {}\n\n")
    assert watch.finish() == b""


def test_a_format_must_say_what_its_events_mean() -> None:
    watch = Passthrough()
    with pytest.raises(NotImplementedError):
        _ = watch.usage
    with pytest.raises(NotImplementedError):
        watch.feed(b"data: {}\n\n")
    with pytest.raises(NotImplementedError):
        watch.error_event(BrokenStream("gone"), "r")
    watch.feed(b"data: [DONE]\n\n")
    assert not watch.complete


def test_counts_are_merged_field_by_field() -> None:
    known = {"a": 1, "b": None}
    merge_counts(known, {"a": None, "b": 0, "c": 2})
    assert known == {"a": 1, "b": 0, "c": 2}
    merge_counts(known, {"c": 0})
    assert known["c"] == 2


def test_the_bytes_of_a_delta_are_those_of_its_strings() -> None:
    assert string_bytes({"a": "é", "b": [{"c": "xy"}, 3], "d": None}) == 4
