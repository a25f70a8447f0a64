"""Sounds are as long as asked, in bytes or in seconds, and a WAV is one that a library reads."""

from __future__ import annotations

import io
import wave

import pytest

from relayd.demo.sound import RATE, TYPES, WRITE, seconds_of, sound


def test_a_wav_is_read_by_the_standard_library() -> None:
    data = b"".join(sound("wav", 1.5))
    with wave.open(io.BytesIO(data)) as opened:
        assert opened.getframerate() == RATE
        assert opened.getnframes() / RATE == pytest.approx(1.5)
    assert seconds_of(data) == pytest.approx(1.5)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("size", [1, 1000, 100_001])
def test_a_size_is_exact_and_comes_in_small_pieces(kind: str, size: int) -> None:
    pieces = list(sound(kind, 1.0, size))
    assert sum(map(len, pieces)) == size
    assert max(map(len, pieces)) <= WRITE


def test_an_mp3_begins_like_one_and_other_bytes_have_a_guessed_length() -> None:
    assert next(iter(sound("mp3", 1.0)))[:2] == b"\xff\xfb"
    assert seconds_of(bytes(32_000)) == 2
