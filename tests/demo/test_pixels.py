"""Pictures are real PNG files of the pixels and the bytes that were asked."""

from __future__ import annotations

import struct
import zlib

import pytest

from relayd.demo.pixels import is_picture, pixels_of, png


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1376, 768), (17, 33)])
def test_a_picture_has_the_pixels_that_were_asked(width: int, height: int) -> None:
    picture = png(width, height, "a1b2c3")
    assert pixels_of(picture) == (width, height)
    assert is_picture(picture)
    assert len(picture) < 2000


def test_a_picture_is_as_large_as_asked_and_never_smaller_than_it_needs() -> None:
    assert len(png(64, 64, "a1b2c3", 100_000)) == 100_000
    assert png(64, 64, "a1b2c3", 5) == png(64, 64, "a1b2c3")


@pytest.mark.parametrize("size", [0, 5000])
def test_its_pixels_are_all_there(size: int) -> None:
    picture = png(100, 50, "ff0000", size)
    start = picture.index(b"IDAT") + 4
    length = struct.unpack(">I", picture[start - 8 : start - 4])[0]
    rows = zlib.decompress(picture[start : start + length])
    # One byte for the row's filter, and one bit for each pixel.
    assert len(rows) == 50 * (1 + 13)


def test_other_bytes_are_no_pictures() -> None:
    assert not is_picture(b"hello")
    assert pixels_of(b"hello") == (0, 0)
