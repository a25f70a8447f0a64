"""How long a recording is taken to be: by what decoders go by, or by the stamps of a transcript."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.lengths import TAIL, USUAL, Read, last_moment, milliseconds


def of(data: bytes) -> Read:
    return lambda start, end: data[start:end]


def wav(
    samples: int, channels: int = 1, bits: int = 16, *, kind: int = 1, claimed: int = 0
) -> bytes:
    """The first bytes of a WAV file."""
    fields = [(kind, 2), (channels, 2), (samples, 4), (claimed, 4), (2, 2), (bits, 2)]
    fmt = b"".join(number.to_bytes(size, "little") for number, size in fields)
    return b"fmt \x10\x00\x00\x00" + fmt


def riff(*chunks: bytes) -> bytes:
    return b"RIFF\xff\xff\xff\xffWAVE" + b"".join(chunks)


def padded(begin: bytes, size: int) -> bytes:
    return begin + bytes(size - len(begin))


@pytest.mark.parametrize(
    ("begin", "rate"),
    [
        (riff(wav(8000)), 16_000),
        (riff(wav(44_100, 2)), 176_400),
        (riff(wav(48_000, 2, 32, kind=3)), 384_000),
        (riff(wav(8000, claimed=0xFFFFFFFF)), 16_000),  # no decoder goes by the rate that it says
        (riff(b"JUNK\x05\x00\x00\x00abcde\x00", wav(8000)), 16_000),
        # What stands inside another chunk is not the description.
        (riff(b"JUNK\x18\x00\x00\x00" + wav(192_000, 8, 32), wav(8000)), 16_000),
        (riff(wav(8000, kind=2)), USUAL),  # compressed
        (riff(wav(4_000_000_000)), USUAL),
        (riff(wav(8000, 60_000)), USUAL),
        (riff(wav(8000, bits=60_000)), USUAL),
        (riff(wav(0)), USUAL),
        (riff(b"data\xff\xff\xff\xff"), USUAL),
        (b"RIFF\xff\xff\xff\xffAVI " + wav(8000), USUAL),
        (b"\x1aE\xdf\xa3", USUAL),
        (b"\xff", USUAL),
    ],
)
def test_a_file_is_as_long_as_its_sampling_says(begin: bytes, rate: int) -> None:
    assert milliseconds(of(padded(begin, rate * 3)), rate * 3) == 3000


def test_nothing_is_free_and_nothing_is_endless() -> None:
    assert milliseconds(of(b""), 1) == 1
    assert milliseconds(of(b""), 2**50) == 7 * 86_400_000


def frames(rate: int, *, low: bool = False) -> bytes:
    """Bytes that hold frames of one rate, by its number in the table."""
    return (b"\xff" + (b"\xf3" if low else b"\xfb") + bytes([rate << 4, 0]) + bytes(412)) * 100


def test_an_mp3_is_as_long_as_its_frames_say() -> None:
    even = b"ID3" + frames(9)  # 128 kbit/s
    assert milliseconds(of(even), len(even)) == pytest.approx(len(even) / 16, abs=2)
    slow = frames(1, low=True)  # 8 kbit/s
    assert milliseconds(of(slow), len(slow)) == pytest.approx(len(slow), abs=2)


def test_a_quick_first_frame_does_not_make_an_mp3_short() -> None:
    lying = frames(14)[:416] + frames(1, low=True)
    honest = len(lying) - 416  # milliseconds, at a byte each

    assert milliseconds(of(lying), len(lying)) > honest * 0.8


@pytest.mark.parametrize(
    "begin",
    [
        b"\xff\x00\x00\xff\xfb\xf0",
        b"\xff\xfb\x00\x00",  # a rate of its own
        b"\xff\xeb\x90\x00",  # a version that there is not
        b"\xff\xfd\x90\x00",  # another layer
    ],
)
def test_what_is_no_frame_is_no_mp3(begin: bytes) -> None:
    assert milliseconds(of(padded(begin, USUAL)), USUAL) == 1000


def test_flac_says_how_many_samples_it_has() -> None:
    described = (44_100 << 44 | 1 << 41 | 15 << 36 | 88_200).to_bytes(8, "big")
    begin = b"fLaC\x00\x00\x00\x22" + bytes(10) + described

    assert milliseconds(of(begin), 10**5) == 2000
    assert milliseconds(of(begin), 88_200 * 2 * 5) == 5000, "it is not larger than its samples"
    assert milliseconds(of(begin[:20]), USUAL) == 1000  # cut short
    unknown = b"fLaC\x00\x00\x00\x22" + bytes(18)
    assert milliseconds(of(unknown), USUAL) == 1000


def page(samples: int, content: bytes = b"") -> bytes:
    return b"OggS\x00\x00" + samples.to_bytes(8, "little") + bytes(13) + content


def test_the_last_page_of_an_ogg_file_tells_its_end() -> None:
    opus = page(0, b"OpusHead") + bytes(TAIL) + page(48_000) + page(144_000, b"end")
    assert milliseconds(of(opus), len(opus)) == 3000

    head = b"\x01vorbis" + bytes(5) + (16_000).to_bytes(4, "little")
    vorbis = page(0, head) + page(16_000)
    assert milliseconds(of(vorbis), len(vorbis)) == 1000


def test_an_ogg_file_is_not_shorter_than_its_size_allows() -> None:
    lying = page(0, b"OpusHead") + bytes(320_000) + page(1)

    assert milliseconds(of(lying), len(lying)) >= 10_000


@given(st.sampled_from([b"", b"RIFF1234WAVE", b"OggS", b"fLaC", b"\xff\xfb"]), st.binary())
def test_no_file_fails(begin: bytes, rest: bytes) -> None:
    data = begin + rest
    assert 0 <= milliseconds(of(data), len(data)) <= 7 * 86_400_000


@pytest.mark.parametrize(
    ("transcript", "length"),
    [
        (
            b"1\n00:00:00,000 --> 00:00:02,500\nHi\n\n2\n00:00:02,500 --> 01:02:03,004\nHo\n",
            3_723_004,
        ),
        (b"WEBVTT\n\n00:00.000 --> 00:07.400\nHi\n", 7400),
        (b"WEBVTT\n\n00:00:00.000 --> 100:00:07.400 align:start\nHi\n", 360_007_400),
        (b"Hi --> there", None),
        (b"", None),
    ],
)
def test_a_transcript_ends_when_its_last_line_does(transcript: bytes, length: int | None) -> None:
    assert last_moment(transcript) == length
