"""What all observers share: nothing is altered, nothing raises, memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BrokenStream
from relayd.model import FormatName
from relayd.wire.chat.stream import ChatPassthrough
from relayd.wire.formats import FORMATS
from relayd.wire.passthrough import LONGEST_ERROR, Passthrough, merge_counts, string_bytes
from tests.support.speech import SPEECHES
from tests.wire.cuts import cut, every_way, observer, places, run

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


# What each format's stream begins with when the upstream fails at once.
FAILS_AT_ONCE = {
    "chat": b'data: {"error":{"message":"no"}}\n\n',
    "responses": b'event: response.failed\ndata: {"type":"response.failed","response":{}}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n',
    "gemini": b'data: {"error":{"code":503}}\r\n\r\n',
    "gemini-array": b'[{"error":{"code":503}}\n]',
}


def of_speech(name: str) -> Passthrough:
    speech = SPEECHES[name]
    return observer(speech.format, sse=name != "gemini-array")


@pytest.mark.parametrize("name", SPEECHES)
def test_a_stream_is_opened_by_its_first_event_however_it_is_cut(name: str) -> None:
    for pieces in every_way(SPEECHES[name].opening):
        watch = of_speech(name)
        assert not watch.opened
        run(watch, pieces)
        assert watch.opened


@pytest.mark.parametrize("name", SPEECHES)
def test_an_error_that_comes_first_opens_nothing_whatever_follows(name: str) -> None:
    failing = FAILS_AT_ONCE[name]
    for pieces in every_way(failing):
        watch = of_speech(name)
        run(watch, pieces)
        assert (watch.opened, bool(watch.failed)) == (False, True)
        assert watch.first_error_event in failing
    watch.feed(SPEECHES[name].stream)
    assert not watch.opened


@pytest.mark.parametrize("name", FAILS_AT_ONCE)
def test_an_error_behind_the_first_event_came_too_late(name: str) -> None:
    opening = SPEECHES[name].opening
    failing = FAILS_AT_ONCE[name].removeprefix(b"[")
    comma = b"," if name == "gemini-array" else b""
    for pieces in ([opening + comma + failing], [opening, comma, failing]):
        watch = of_speech(name)
        run(watch, pieces)
        assert (watch.opened, bool(watch.failed)) == (True, True)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "quiet",
    [
        b": OPENROUTER PROCESSING\n\n",
        b"\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"event: ping\ndata: {}\n\n",
        b'data: {"type":"keepalive","sequence_number":0}\n\n',
        b"event: x\n\n",
        b"data:\n\n",
        b"data:   \n\n",
    ],
)
def test_what_only_keeps_the_connection_alive_opens_nothing(name: FormatName, quiet: bytes) -> None:
    watch = observer(name)
    watch.feed(quiet * 3)
    assert not watch.opened
    failing = FAILS_AT_ONCE[name]
    watch.feed(failing)
    assert (watch.opened, bool(watch.failed)) == (False, True)
    other = observer(name)
    other.feed(quiet)
    other.feed(SPEECHES[name].opening)
    assert other.opened


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("strange", [b"data: [DONE]\n\n", b"data: {torn\n\n", b"data: [1]\n\n"])
def test_data_that_nobody_understands_opens_the_stream(name: FormatName, strange: bytes) -> None:
    watch = observer(name)
    watch.feed(strange)
    assert watch.opened


@pytest.mark.parametrize("asked_usage", [True, False])
@pytest.mark.parametrize("sse", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_an_event_too_long_for_an_error_opens_the_stream_before_its_end(
    name: FormatName, sse: bool, asked_usage: bool
) -> None:
    """Whoever waits for the first event need not hold a picture of many megabytes."""
    watch = observer(name, sse=sse, asked_usage=asked_usage)
    watch.feed(b'data: {"x":"' if sse else b'[{"x":"')
    watch.feed(b"x" * (LONGEST_ERROR - 100))
    assert not watch.opened
    watch.feed(b"x" * 200)
    assert watch.opened


def test_events_are_read_until_the_stream_has_opened() -> None:
    """A ping shows nothing of how a host writes JSON."""
    watch = observer("messages")
    watch.feed(b'event: ping\ndata: {"type" : "ping"}\n\n')
    watch.feed(b'data: {"type":"message_start","message":{"id":"m"}}\n\n')
    assert (watch.opened, watch.response_id) == (True, "m")


def test_an_event_that_the_end_completes_opens_the_stream() -> None:
    watch = observer("chat")
    watch.feed(b'data: {"choices":[]}')
    assert not watch.opened
    watch.finish()
    assert watch.opened
