"""Messages streams: input from the start, totals from the deltas, the end from `message_stop`."""

from __future__ import annotations

import orjson

from relayd.errors import NoUpstream
from relayd.model import Usage
from tests.wire.cuts import every_way, observer, run


def event(kind: str, **more: object) -> bytes:
    return b"event: %b\ndata: " % kind.encode() + orjson.dumps({"type": kind, **more}) + b"\n\n"


START = event(
    "message_start", message={"id": "m1", "usage": {"input_tokens": 5, "output_tokens": 1}}
)
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word"})
TOTALS = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
STOP = event("message_stop")
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
READ = Usage(in_uncached=5, out_total=9)


def test_the_bytes_pass_and_the_usage_is_right_however_they_are_cut() -> None:
    stream = PING + START + DELTA + TOTALS + STOP
    for pieces in every_way(stream):
        watch = observer("messages")
        assert run(watch, pieces) == stream
        assert watch.usage == READ
        assert watch.complete
        assert watch.response_id == "m1"
        assert watch.failed is None


def test_usage_is_known_from_the_start_and_nothing_else_ends_the_stream() -> None:
    watch = observer("messages")
    watch.feed(START)
    assert watch.usage == Usage(in_uncached=5, out_total=1)
    watch.feed(DELTA + TOTALS)
    assert not watch.complete


def test_null_does_not_erase_and_a_total_does_not_fall_to_zero() -> None:
    watch = observer("messages")
    watch.feed(START)
    news = {"input_tokens": 0, "output_tokens": None, "cache_read_input_tokens": 0}
    watch.feed(event("message_delta", delta={"stop_reason": None}, usage=news))
    watch.feed(TOTALS)
    assert watch.usage == Usage(in_uncached=5, out_total=9, cache_read=0)


def test_several_passes_are_summed_in_streams_too() -> None:
    watch = observer("messages")
    watch.feed(START)
    passes = [{"input_tokens": 5, "output_tokens": 2}, {"input_tokens": 7, "output_tokens": 1}]
    watch.feed(event("message_delta", usage={"output_tokens": 1, "iterations": passes}))
    assert watch.usage == Usage(in_uncached=12, out_total=3)


def test_an_error_event_is_a_failure() -> None:
    bad = event("error", error={"type": "overloaded_error", "message": "busy"})
    for first in (b"", START):
        watch = observer("messages")
        run(watch, [first, bad])
        assert watch.failed == "busy"
        assert not watch.complete


def test_an_event_is_known_by_its_name_where_the_data_has_no_type() -> None:
    watch = observer("messages")
    watch.feed(b"event: message_stop\ndata: {}\n\n")
    assert watch.complete


def test_a_message_that_was_not_streamed_is_read_at_the_end() -> None:
    body = orjson.dumps({"type": "message", "id": "m", "usage": {"input_tokens": 3}})
    watch = observer("messages")
    assert run(watch, [body]) == body
    assert (watch.complete, watch.usage, watch.response_id) == (True, Usage(in_uncached=3), "m")


def test_the_relays_error_is_an_event_of_the_format() -> None:
    watch = observer("messages")
    watch.feed(START)
    written = watch.error_event(NoUpstream("none"), "req_1")
    name, data, *_ = written.split(b"\n")
    assert name == b"event: error"
    assert orjson.loads(data[6:])["error"] == {"type": "overloaded_error", "message": "none"}
    assert written.endswith(b"\n\n")


def test_a_ping_keeps_the_stream_alive() -> None:
    watch = observer("messages")
    assert run(watch, [watch.keepalive, START]).startswith(b"event: ping\ndata: ")
    assert watch.failed is None


def test_output_is_estimated_without_the_delta_types() -> None:
    watch = observer("messages")
    watch.feed(START)
    for _ in range(50):
        watch.feed(DELTA)
    assert watch.estimate_output() == 50
