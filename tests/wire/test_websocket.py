"""Frames: read without touching them, whatever the packets, and held to the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire import websocket
from relayd.wire.websocket import Ended, FrameError, Frames
from tests.wire.cuts import every_way

MASK = b"\x01\x02\x03\x04"


def frame(
    opcode: int, payload: bytes = b"", *, mask: bytes = b"", final: bool = True, bits: int = 0
) -> bytes:
    """A frame, right or wrong."""
    size, flag = len(payload), 0x80 if mask else 0
    if size < 126:
        length = bytes([flag | size])
    elif size < 2**16:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes([(0x80 if final else 0) | bits | opcode]) + length + mask + masked


def server(largest: int = 10_000_000) -> Frames:
    return Frames(masked=False, largest=largest, keeps=True)


def client(largest: int = 10_000_000) -> Frames:
    return Frames(masked=True, largest=largest)


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_a_text_is_told_whole_whatever_its_size(size: int) -> None:
    data = frame(1, b"x" * size)

    assert server().feed(data) == [Ended("text", len(data), b"x" * size, size=size)]


def test_where_each_message_ends_is_told() -> None:
    one, two = frame(1, b"one"), frame(1, b"two")

    ended = server().feed(one + frame(9, b"ping") + two + frame(1, b"three")[:3])

    assert [(each.text, each.end) for each in ended] == [
        (b"one", len(one)),
        (b"two", len(one) + 6 + len(two)),
    ]


def test_a_message_in_pieces_is_one_with_a_ping_between_them() -> None:
    data = frame(1, b"he", final=False) + frame(9) + frame(0, b"llo", final=True)

    assert [each.text for each in server().feed(data)] == [b"hello"]


def test_binary_messages_are_told_of_but_not_kept() -> None:
    [ended] = server().feed(frame(2, b"bytes"))

    assert (ended.kind, ended.text, ended.size) == ("binary", b"", 5)


def test_nothing_is_kept_where_nobody_reads() -> None:
    [ended] = client().feed(frame(1, b"text", mask=MASK))

    assert (ended.kind, ended.text, ended.size) == ("text", b"", 4)


TALK = (
    frame(1, b'{"type":"response.created"}')
    + frame(1, b"a" * 200, final=False)
    + frame(10, b"pong")
    + frame(0, b"b" * 300)
    + frame(2, b"\x00")
    + frame(8, b"\x03\xe8bye")
)


def test_how_the_packets_are_cut_makes_no_difference() -> None:
    whole = [(each.kind, each.text, each.code) for each in server().feed(TALK)]

    for pieces in every_way(TALK):
        frames = server()
        ended = [each for piece in pieces for each in frames.feed(piece)]
        assert [(each.kind, each.text, each.code) for each in ended] == whole
        assert frames.closed


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_at_all_are_read_or_refused(data: bytes, masked: bool) -> None:
    frames = Frames(masked=masked, largest=300, keeps=True)
    try:
        frames.feed(data)
    except FrameError as exc:
        assert exc.code in (websocket.PROTOCOL_ERROR, websocket.TOO_LARGE)
        assert exc.at is None or 0 <= exc.at < len(data)


def test_of_a_very_long_text_the_start_and_the_end_are_kept() -> None:
    frames, text = server(), b"start" + b"x" * 3_000_000 + b"end"
    data = frame(1, text)
    ended: list[Ended] = []
    for at in range(0, len(data), 50_000):
        ended += frames.feed(data[at : at + 50_000])
        assert len(frames._kept) <= websocket.HELD

    [only] = ended
    assert only.size == len(text)
    assert only.start == text[: websocket.HEAD_KEPT]
    assert text.endswith(only.text) and len(only.text) >= websocket.TAIL_KEPT

    [after] = frames.feed(frame(1, b"next"))
    assert (after.text, after.start) == (b"next", b"")


def test_it_stops_after_so_many_frames_and_says_where() -> None:
    frames, piece = server(), frame(9) + frame(1, b"x")
    data = piece * 10

    assert len(frames.feed(data, 7)) == 3
    assert (frames.fed, frames.frames) == (len(piece) * 3 + 2, 7)
    assert len(frames.feed(data[frames.fed :], 100)) == 7
    assert (frames.fed, frames.frames) == (len(piece) * 7 - 2, 13)


# --- where something can be put in ----------------------------------------------------------------


def test_between_frames_and_between_messages_is_told_apart() -> None:
    frames, first, rest = server(), frame(1, b"ab", final=False), frame(0, b"cd")
    seen = []
    for byte in first + rest:
        frames.feed(bytes([byte]))
        seen.append((frames.at_frame, frames.at_message))

    # In the first frame, after it, in the second, after that.
    assert seen == [(False, False)] * 3 + [(True, False)] + [(False, False)] * 3 + [(True, True)]


# --- closing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [b"", MASK])
def test_the_close_code_is_read_masked_or_not(mask: bytes) -> None:
    frames = client() if mask else server()

    assert frames.feed(websocket.close_frame(4001, "why", mask))[0].code == 4001
    assert frames.closed


def test_a_close_frame_without_a_code_has_the_code_for_that() -> None:
    assert server().feed(frame(8))[0].code == 1005


def test_nothing_may_follow_the_close_frame() -> None:
    frames, last = server(), frame(8, b"\x03\xe8")

    with pytest.raises(FrameError) as caught:
        frames.feed(frame(1, b"text") + last + frame(1, b"more"))

    assert [each.kind for each in caught.value.ended] == ["text", "close"]
    assert caught.value.at == 6 + len(last)


# --- what is refused ------------------------------------------------------------------------------

WRONG = {
    "an extension's bit": (frame(1, b"x", bits=0x40), "extension"),
    "an unknown kind": (frame(3, b"x"), "unknown kind 3"),
    "an unknown control frame": (frame(11), "unknown kind 11"),
    "a mask where there is none": (frame(1, b"x", mask=MASK), "is masked"),
    "a long ping": (frame(9, b"x" * 126), "too long"),
    "a ping in pieces": (frame(9, b"x", final=False), "in pieces"),
    "a piece of nothing": (frame(0, b"x"), "out of order"),
    "a message in a message": (frame(1, b"x", final=False) + frame(1, b"y"), "out of order"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_rules_is_refused(name: str) -> None:
    data, why = WRONG[name]
    with pytest.raises(FrameError, match=why) as caught:
        server().feed(data)
    assert caught.value.code == 1002


def test_a_clients_frames_must_be_masked() -> None:
    with pytest.raises(FrameError, match="not masked"):
        client().feed(frame(1, b"x"))


def test_a_message_that_is_too_large_is_refused_by_its_head_alone() -> None:
    with pytest.raises(FrameError, match="larger than 1000 bytes") as caught:
        server(1000).feed(frame(1, b"x" * 1001)[:4])
    assert (caught.value.code, caught.value.at) == (1009, 0)


def test_the_pieces_of_a_message_count_together() -> None:
    frames = server(1000)
    frames.feed(frame(1, b"x" * 600, final=False))
    with pytest.raises(FrameError, match="larger"):
        frames.feed(frame(0, b"x" * 401))


def test_where_a_bad_frame_begins_is_told_unless_it_was_earlier() -> None:
    frames, good = server(), frame(1, b"good")
    with pytest.raises(FrameError) as caught:
        frames.feed(good + frame(3, b"bad"))
    assert (caught.value.at, len(caught.value.ended)) == (len(good), 1)

    frames = server()
    frames.feed(b"\x83")
    with pytest.raises(FrameError) as caught:
        frames.feed(b"\x00")
    assert caught.value.at is None


# --- what a relay says itself ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_text_frame_is_read_as_it_was_written(size: int) -> None:
    assert websocket.text_frame(b"x" * size) == frame(1, b"x" * size)


def test_a_close_frames_reason_is_cut_between_characters() -> None:
    whole = websocket.close_frame(1008, "ü" * 100)

    assert len(whole) <= 2 + websocket.LONGEST_CONTROL
    assert whole[4:].decode() == "ü" * 61


# --- the handshake --------------------------------------------------------------------------------


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    assert websocket.accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("text", ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "ü" * 24, "AAAA"])
def test_what_is_no_key_is_none(text: str) -> None:
    assert not websocket.is_key(text)


def test_sixteen_bytes_make_a_key() -> None:
    assert websocket.is_key(websocket.key_of(bytes(16)).decode())


@pytest.mark.parametrize(
    ("data", "state"),
    [(b"", "between"), (frame(1, b"abc")[:3], "in a frame"), (frame(8), "closed")],
)
def test_the_repr_says_where_it_is(data: bytes, state: str) -> None:
    frames = server()
    frames.feed(data)
    assert state in repr(frames)


@given(st.binary(max_size=200), st.integers(1, 7))
def test_a_clients_text_is_kept_unmasked_wherever_it_is_cut(text: bytes, step: int) -> None:
    frames = Frames(masked=True, largest=1000, keeps=True)
    data = frame(1, text, mask=MASK, final=False) + frame(0, text, mask=b"\x09\x08\x07\x06")
    ended = [one for at in range(0, len(data), step) for one in frames.feed(data[at : at + step])]
    assert [one.text for one in ended] == [text + text]
