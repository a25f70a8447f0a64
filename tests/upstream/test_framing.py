"""What a reply's head says of its body."""

from __future__ import annotations

import pytest

from relayd.errors import BadReply
from relayd.upstream.framing import MAX_HEAD, check_size, framing
from relayd.upstream.sink import RawHeaders

KEPT = (b"x-kept", b"yes")


@pytest.mark.parametrize(
    ("status", "headers", "has_end"),
    [
        (200, [], False),
        (200, [(b"content-length", b"7")], True),
        (200, [(b"transfer-encoding", b"Chunked")], True),
        (200, [(b"transfer-encoding", b"identity")], False),
        (200, [(b"transfer-encoding", b"x"), (b"content-length", b"7")], True),
        (204, [], True),
        (304, [], True),
    ],
)
def test_the_head_says_whether_the_body_has_an_end_of_its_own(
    status: int, headers: RawHeaders, has_end: bool
) -> None:
    assert framing(status, [*headers, KEPT]) == (has_end, None, [*headers, KEPT])


def test_of_a_compressed_body_neither_length_nor_encoding_is_told() -> None:
    headers = [(b"content-length", b"7"), KEPT, (b"content-encoding", b"gzip")]
    has_end, inflating, kept = framing(200, headers)

    assert (has_end, kept) == (True, [KEPT])
    assert repr(inflating) == "<Inflating ended=False, 0 bytes wait>"


def test_a_head_is_bounded_by_its_headers_where_the_body_came_along() -> None:
    check_size(200, [KEPT])
    with pytest.raises(BadReply, match="too large"):
        check_size(0, [KEPT])
    with pytest.raises(BadReply, match="too large"):
        check_size(200, [(b"x", bytes(MAX_HEAD))])
