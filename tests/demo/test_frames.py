"""The demo provider's own frames, against those of a library."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from relayd.demo import frames
from relayd.demo.frames import Broken, Incoming, Message
from tests.support.sessions import frame

MASK = b"\x11\x22\x33\x44"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_frame_is_written_as_the_library_writes_it(size: int) -> None:
    theirs = Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)

    assert frames.frame(frames.TEXT, b"x" * size) == theirs


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 126, 70_000])
def test_a_masked_frame_is_read_whatever_its_size(size: int) -> None:
    payload = bytes(at % 256 for at in range(size))

    assert Incoming().feed(frame(2, payload, mask=MASK)) == [Message(2, payload)]


def test_a_message_in_pieces_and_packets_is_put_together() -> None:
    incoming, found = Incoming(), []
    first = bytes([0x01, 0x82]) + MASK + bytes(a ^ b for a, b in zip(b"he", MASK, strict=False))
    data = first + frame(9, b"?", mask=MASK) + frame(0, b"llo", mask=MASK)
    for byte in data:
        found += incoming.feed(bytes([byte]))

    assert found == [Message(9, b"?"), Message(1, b"hello")]
    assert repr(incoming) == "Incoming(0 bytes wait, 0 of a message)"


@pytest.mark.parametrize(
    "bad",
    [
        frame(1, b"not masked"),
        b"\xf1\x80" + MASK,
        frame(3, b"x", mask=MASK),
        frame(0, b"x", mask=MASK),
        b"\x81\xff" + (2**40).to_bytes(8, "big") + MASK,
    ],
)
def test_what_breaks_the_rules_is_refused(bad: bytes) -> None:
    with pytest.raises(Broken):
        Incoming().feed(bad)


def test_a_close_frame_names_its_code() -> None:
    assert frames.closing(1000, "bye") == b"\x88\x05\x03\xe8bye"
