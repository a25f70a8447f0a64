"""Sizes of pictures, from pixels to shapes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.parts import Document
from relayd.wire.pictures.sizes import (
    CLASSES,
    SHAPES,
    Pixels,
    for_google,
    for_openai,
    of_google,
    pixels,
)

ALL = Capability(picture_sizes=tuple(CLASSES))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024x1536", Pixels(1024, 1536)),
        ("16X9", Pixels(16, 9)),
        ("auto", None),
        ("0x9", None),
        ("9x-9", None),
        ("999999x1", None),
        ("1024x1024 ", None),
    ],
)
def test_a_size_is_two_numbers(text: str, size: Pixels | None) -> None:
    assert pixels(text) == size
    assert size is None or str(size) == text.lower()


@pytest.mark.parametrize(
    ("size", "can", "config"),
    [
        ("1024x1024", UNKNOWN, {"aspectRatio": "1:1"}),
        ("1536x1024", UNKNOWN, {"aspectRatio": "3:2"}),
        ("1024x1536", UNKNOWN, {"aspectRatio": "2:3"}),
        ("1792x1024", UNKNOWN, {"aspectRatio": "16:9"}),
        ("512x2048", UNKNOWN, {"aspectRatio": "1:4"}),
        ("512x2048", Capability(aspects=("1:1", "9:16")), {"aspectRatio": "9:16"}),
        ("256x256", ALL, {"aspectRatio": "1:1", "imageSize": "512"}),
        ("256x256", UNKNOWN, {"aspectRatio": "1:1"}),
        ("1449x1449", ALL, {"aspectRatio": "1:1", "imageSize": "2K"}),
        ("2048x2048", UNKNOWN, {"aspectRatio": "1:1", "imageSize": "2K"}),
        ("2048x2048", Capability(picture_sizes=("1K",)), {"aspectRatio": "1:1"}),
        ("99999x99999", ALL, {"aspectRatio": "1:1", "imageSize": "4K"}),
        (
            "4096x4096",
            Capability(picture_sizes=("1K", "2K")),
            {"aspectRatio": "1:1", "imageSize": "2K"},
        ),
        ("256x256", Capability(aspects=("wide",)), {"aspectRatio": "1:1"}),
    ],
)
def test_a_size_becomes_the_nearest_shape_and_class_that_there_is(
    size: str, can: Capability, config: Document
) -> None:
    wanted = pixels(size)
    assert wanted is not None
    assert for_google(wanted, can) == config


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", CLASSES)
def test_every_size_of_googles_comes_back_as_it_was(shape: str, size: str) -> None:
    config = {"aspectRatio": shape, "imageSize": size}
    found = of_google(config)
    assert found is not None
    assert of_google(for_google(found, ALL)) == found


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, None),
        ({"personGeneration": "x"}, None),
        ({"imageSize": "2k"}, Pixels(2048, 2048)),
        ({"imageSize": "2M"}, None),
        ({"aspectRatio": "16:9"}, Pixels(1376, 768)),
        ({"aspectRatio": "2:1"}, Pixels(1448, 724)),
        ({"aspectRatio": "wide"}, None),
        ({"aspectRatio": 3}, None),
        ({"imageSize": 512}, Pixels(512, 512)),
    ],
)
def test_what_google_calls_a_size_has_pixels(config: Document, size: Pixels | None) -> None:
    assert of_google(config) == size


def test_of_the_sizes_that_a_model_has_the_nearest_is_taken() -> None:
    can = Capability(picture_sizes=("1024x1024", "1536x1024", "1024x1536"))
    assert for_openai(Pixels(1376, 768), can) == "1536x1024"
    assert for_openai(Pixels(384, 3072), can) == "1024x1536"
    assert for_openai(Pixels(4096, 4096), can) == "1024x1024"
    two = Capability(picture_sizes=("256x256", "1024x1024"))
    assert for_openai(Pixels(900, 900), two) == "1024x1024"


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (Pixels(1024, 1024), "1024x1024"),
        (Pixels(1376, 768), "1376x768"),
        (Pixels(848, 1264), "848x1264"),
        (Pixels(4096, 4096), "2880x2880"),
        (Pixels(1, 1), "16x16"),
    ],
)
def test_a_free_size_is_as_it_was_as_far_as_that_goes(wanted: Pixels, size: str) -> None:
    assert for_openai(wanted, UNKNOWN) == size


SIDES = st.integers(1, 99_999)


@given(SIDES, SIDES)
def test_a_free_size_keeps_all_bounds(width: int, height: int) -> None:
    found = pixels(for_openai(Pixels(width, height), UNKNOWN))
    assert found is not None
    assert found.width % 16 == found.height % 16 == 0
    assert max(found) <= 3840
    assert max(found) <= 3 * min(found)
    assert found.width * found.height <= 3840 * 2160
