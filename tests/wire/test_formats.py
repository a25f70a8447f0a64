"""The table: every format offers the same, in its own words."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.events import End, Failure
from relayd.wire.formats import FORMATS
from relayd.wire.neutral import Request
from relayd.wire.paths import Target
from relayd.wire.setting import Coming
from tests.wire.cuts import observer


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_does_a_whole_round(name: FormatName) -> None:
    row = FORMATS[name]
    assert row.name == name
    in_path = "a" if name == "gemini" else None
    target = Target(name, "generate", in_path, False)
    head = row.read_head(b'{"model":"a"}', target)
    assert orjson.loads(b"".join(row.outgoing(head, "b"))) == {"model": "b"}
    assert row.sniffer(head).usage is None
    assert row.tail_usage(b"") is None
    assert row.error(BadCall("m"), "r").status == 400
    assert row.stream_headers[0][0] == b"content-type"


@pytest.mark.parametrize("name", FORMATS)
def test_no_stream_may_be_buffered_on_its_way(name: FormatName) -> None:
    for watch in (observer(name), observer(name, sse=False)):
        headers = dict(watch.stream_headers)
        assert headers[b"cache-control"] == b"no-cache"
        assert headers[b"x-accel-buffering"] == b"no"
    assert (
        dict(observer("gemini", sse=False).stream_headers)[b"content-type"] == b"application/json"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_translated_both_ways(name: FormatName) -> None:
    codec = FORMATS[name].codec
    assert codec is not None
    asked = Request(source=name, model="m", messages=[])
    writer = codec.writer(Coming(asked, "m", "r", 0))
    assert dict(writer.stream_headers)[b"cache-control"] == b"no-cache"
    assert writer.keepalive
    ended = codec.reader().end()
    assert ended and isinstance(ended[-1], Failure | End)


def test_who_can_count_can_be_asked_and_answered_in_it() -> None:
    for row in FORMATS.values():
        codec = row.codec
        assert codec is not None
        can = (codec.decode_count, codec.encode_count, codec.count_reply, codec.count_document)
        assert all(can) or not any(can)
        if codec.count_document is not None and codec.count_reply is not None:
            assert codec.count_reply(codec.count_document(7)) == 7
            assert codec.count_reply({}) is None
