"""What a reply's head tells of its body."""

from __future__ import annotations

import pytest

from relayd.wire import reply_head


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([(b"content-length", b"17")], 17),
        ([(b"content-type", b"audio/mpeg"), (b"content-length", b"x")], None),
        ([], None),
    ],
)
def test_the_length_is_said_or_not(headers: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert reply_head.length(headers) == length


@pytest.mark.parametrize(
    ("status", "kind", "stream", "opaque"),
    [
        (200, b"text/event-stream; charset=utf-8", True, False),
        (201, b"text/event-stream", False, False),
        (200, b"audio/mpeg", False, True),
        (206, b" Application/Octet-Stream", False, True),
        (500, b"audio/mpeg", False, False),
        (304, b"image/png", False, False),
        (200, b"application/json", False, False),
        (200, b"application/x-ndjson", False, False),
        (200, b"text/html", False, False),
        (200, b"application/xhtml+xml", False, False),
        (200, b"", False, False),
    ],
)
def test_the_type_tells_a_stream_and_what_says_nothing_to_us(
    status: int, kind: bytes, stream: bool, opaque: bool
) -> None:
    headers = [(b"date", b"now"), (b"content-type", kind)]
    assert reply_head.promises_stream(status, headers) is stream
    assert reply_head.is_opaque(status, headers) is opaque


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (206, True), (304, False), (404, False)]
)
def test_an_answer_is_told_by_the_status_alone(status: int, answers: bool) -> None:
    assert reply_head.is_answer(status, [(b"content-type", b"text/html")]) is answers


@pytest.mark.parametrize(
    ("data", "first"), [(b"\xef\xbb\xbf \r\n{}", b"{"), (b"data", b"d"), (b" ", b""), (b"", b"")]
)
def test_the_first_byte_is_the_first_that_says_something(data: bytes, first: bytes) -> None:
    assert reply_head.first_of(data) == first


def test_what_passes_unread_is_a_question_of_what_was_asked_for() -> None:
    assert reply_head.opaque_to("generate") is None
    assert reply_head.opaque_to("speech") is reply_head.is_opaque
    assert reply_head.opaque_to("other") is reply_head.is_answer
