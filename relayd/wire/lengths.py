"""How long a recording is, where nobody says it: by what its file tells, or by its subtitles.

Audio is sold by the minute, and a transcript in plain text does not tell how many there were. Files
are a client's to write, so only that counts which a decoder goes by as well: of WAV the sampling
(not the rate that its header claims), of MP3 the rates of frames all over the file; of FLAC and Ogg
the number of samples, as far as it is plausible for their size. Any other is taken for speech in
the usual quality. A transcript with time stamps tells better: when its last line ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

LOOKED_AT: Final = 4096  # bytes that are read in one place
PLACES: Final = 8  # of an MP3 file that are looked at
TAIL: Final = 65_536  # bytes at the end in which the last page of an Ogg file begins
USUAL: Final = 8000  # bytes a second: 64 kbit/s
QUICKEST_OGG: Final = 32_000
MOST_SAMPLES, MOST_CHANNELS, MOST_BITS = 192_000, 8, 32
_RATES: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, MPEG 1
_LOW_RATES: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG 2
_PLAIN_WAV: Final = (1, 3, 0xFFFE)  # whole numbers, floats, and either in the later form
_OPUS_SAMPLES: Final = 48_000
_LONGEST: Final = 7 * 86_400_000
# A frame's head: eleven bits, MPEG 2.5, 2 or 1, layer III, and a rate that is one.
_FRAME: Final = re.compile(rb"\xff([\xe2\xe3\xf2\xf3\xfa\xfb])([\x10-\xef])", re.DOTALL)
_ENDS: Final = re.compile(rb"--> *(?:(\d{1,3}):)?(\d\d):(\d\d)[.,](\d{3})")

Read = Callable[[int, int], bytes]  # the bytes of a file from one position up to another


class Told(NamedTuple):
    """What a file says of itself: its samples, how many of them and at most how many bytes make a
    second."""

    samples: int
    a_second: int
    most_bytes: int


def milliseconds(read: Read, size: int) -> int:
    """How long an audio file of `size` bytes probably is."""
    begin = read(0, min(size, LOOKED_AT))
    rate = _wav_rate(begin)
    if rate:
        return _bounded(size, rate)
    told = _flac(begin) or _ogg(begin, read, size)
    if told is None or not (told.samples and told.a_second):
        return _of_frames(begin, read, size)
    return max(_bounded(told.samples, told.a_second), _bounded(size, told.most_bytes))


def last_moment(transcript: bytes) -> int | None:
    """When the last line of subtitles (SRT, WebVTT) ends, in milliseconds; None in other texts."""
    ends = _ENDS.findall(transcript[-LOOKED_AT:])
    if not ends:
        return None
    hours, minutes, seconds, rest = (int(number or 0) for number in ends[-1])
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def _bounded(count: int, a_second: int) -> int:
    return min(-(-count * 1000 // a_second), _LONGEST)


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _wav_rate(begin: bytes) -> int:
    """Bytes a second, by the sampling; 0 for what is no such file, or compressed."""
    if begin[:4] != b"RIFF" or begin[8:12] != b"WAVE":
        return 0
    at = 12
    while begin[at : at + 4] not in (b"fmt ", b""):
        length = _little(begin, at + 4, 4)
        at += 8 + length + length % 2
    kind, channels, samples = (
        _little(begin, at + 8, 2),
        _little(begin, at + 10, 2),
        _little(begin, at + 12, 4),
    )
    bits = _little(begin, at + 22, 2)
    sane = channels <= MOST_CHANNELS and samples <= MOST_SAMPLES and bits <= MOST_BITS
    return samples * channels * bits // 8 if kind in _PLAIN_WAV and sane else 0


def _flac(begin: bytes) -> Told | None:
    """By the first block. Compressed, it is no larger than it was before."""
    if begin[:4] != b"fLaC" or len(begin) < 26:
        return None
    described = int.from_bytes(begin[18:26], "big")  # rate, channels, bits, samples
    a_second = min(described >> 44, MOST_SAMPLES)
    channels, bits = (described >> 41 & 7) + 1, (described >> 36 & 31) + 1
    return Told(described & 0xF_FFFF_FFFF, a_second, max(a_second * channels * bits // 8, 1))


def _ogg(begin: bytes, read: Read, size: int) -> Told | None:
    """By the last page: each says how many samples came until its end."""
    if begin[:4] != b"OggS":
        return None
    vorbis = begin.find(b"\x01vorbis")
    a_second = _OPUS_SAMPLES if vorbis < 0 else min(_little(begin, vorbis + 12, 4), MOST_SAMPLES)
    tail = read(max(size - TAIL, 0), size)
    return Told(_little(tail, tail.rfind(b"OggS") + 6, 8), a_second, QUICKEST_OGG)


def _of_frames(begin: bytes, read: Read, size: int) -> int:
    """Of an MP3 file, each place stands for its share of the file; of any other, the usual."""
    if not _mp3_rate(begin):
        return _bounded(size, USUAL)
    share, places = size / PLACES, range(PLACES)
    looks = [read(int(share * n), min(int(share * n) + LOOKED_AT, size)) for n in places]
    seconds = sum(share / (_mp3_rate(look) or USUAL) for look in looks)
    return min(int(seconds * 1000) + 1, _LONGEST)


def _mp3_rate(look: bytes) -> int:
    """Bytes a second of the first frame; 0 where none is in sight."""
    frame = _FRAME.search(look)
    if frame is None:
        return 0
    rates = _RATES if frame[1][0] >= 0xFA else _LOW_RATES
    return rates[frame[2][0] >> 4] * 125
