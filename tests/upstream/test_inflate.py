"""Bodies that come compressed: decoded in steps, as far as they are wanted."""

from __future__ import annotations

import gzip
import zlib

import pytest

from relayd.errors import BadReply
from relayd.upstream.inflate import Inflating, inflating_of


def all_of(inflating: Inflating) -> bytes:
    came: list[bytes] = []
    while inflating.waiting:
        inflating.run(came.append, lambda: True)
    return b"".join(came)


PACKED = {"gzip": gzip.compress(b"hello"), "zlib": zlib.compress(b"hello")}


# By name: a gzip has the second of its making in it, and each worker would know another test.
@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("encoding", [b"gzip", b" X-GZip ", b"deflate"])
def test_either_wrapper_is_decoded_whatever_it_is_called(encoding: bytes, packed: bytes) -> None:
    inflating = inflating_of(encoding)
    assert inflating is not None
    inflating.waiting = packed

    assert all_of(inflating) == b"hello"
    assert inflating.ended


@pytest.mark.parametrize("encoding", [b"", b"identity"])
def test_what_is_not_encoded_is_not_decoded(encoding: bytes) -> None:
    assert inflating_of(encoding) is None


def test_what_nobody_can_decode_is_refused() -> None:
    with pytest.raises(BadReply):
        inflating_of(b"br")


def test_so_much_is_decoded_at_once_and_no_more() -> None:
    size, came, inflating = 10_000_000, list[int](), Inflating()
    inflating.waiting = gzip.compress(bytes(size))
    inflating.run(lambda plain: came.append(len(plain)), lambda: True)

    assert inflating.waiting and max(came) <= 256 * 1024 and sum(came) <= 16 * 256 * 1024
    assert sum(came) + len(all_of(inflating)) == size


def test_it_stops_where_no_more_is_wanted_and_goes_on_there() -> None:
    came: list[bytes] = []
    inflating = Inflating()
    inflating.waiting = gzip.compress(bytes(1_000_000))
    inflating.run(came.append, lambda: not came)

    assert len(came) == 1 and not inflating.ended
    assert len(came[0]) + len(all_of(inflating)) == 1_000_000


def test_who_asks_for_more_while_taking_some_gets_it_in_order() -> None:
    text = b"".join(b"%7d" % number for number in range(200_000))
    came: list[bytes] = []
    inflating = Inflating()

    def take(plain: bytes) -> None:
        came.append(plain)
        inflating.run(take, lambda: True)

    inflating.waiting = gzip.compress(text)
    inflating.run(take, lambda: True)

    assert b"".join(came) == text


def test_a_damaged_body_is_the_upstreams_failure_and_nothing_waits_any_more() -> None:
    inflating = Inflating()
    inflating.waiting = b"0123456789"

    with pytest.raises(BadReply, match="damaged"):
        inflating.run(lambda plain: None, lambda: True)
    assert not inflating.waiting
