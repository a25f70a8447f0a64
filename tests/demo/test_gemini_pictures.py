"""Gemini's image models draw what the image config asks, and refuse what Google refuses."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from relayd.demo.pixels import pixels_of
from tests.demo.serving import streamed, whole


def draw(model: str = "demo-image", **config: Any) -> Any:
    return whole("gemini", model, generationConfig=config)


def pictures(reply: Any) -> list[bytes]:
    parts = reply["candidates"][0]["content"]["parts"]
    return [base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]


@pytest.mark.parametrize(
    ("ratio", "size", "pixels"),
    [
        ("1:1", "1K", (1024, 1024)),
        ("1:1", "2K", (2048, 2048)),
        ("16:9", "1K", (1376, 768)),
        ("9:16", "4K", (3072, 5504)),
        ("1:1", "512", (512, 512)),
    ],
)
def test_a_picture_has_the_pixels_of_the_table(
    ratio: str, size: str, pixels: tuple[int, int]
) -> None:
    reply = draw(imageConfig={"aspectRatio": ratio, "imageSize": size})
    assert [pixels_of(picture) for picture in pictures(reply)] == [pixels]


def test_usage_tells_the_pictures_tokens() -> None:
    usage = draw(responseModalities=["IMAGE"])["usageMetadata"]
    (details,) = usage["candidatesTokensDetails"]
    assert details == {"modality": "IMAGE", "tokenCount": 1120}
    assert usage["candidatesTokenCount"] == 1120
    assert draw(imageConfig={"imageSize": "4K"})["usageMetadata"]["candidatesTokenCount"] > 2000


def test_modalities_say_what_comes() -> None:
    both = draw("demo", responseModalities=["TEXT", "IMAGE"])
    parts = both["candidates"][0]["content"]["parts"]
    assert [next(iter(part)) for part in parts] == ["text", "inlineData"]
    only = draw("demo", responseModalities=["IMAGE"])
    assert len(only["candidates"][0]["content"]["parts"]) == 1
    assert not pictures(draw(responseModalities=["TEXT"]))
    assert not pictures(draw("demo"))


def test_a_stream_has_the_picture_in_one_chunk_after_the_text() -> None:
    chunks = streamed("gemini", "demo", generationConfig={"responseModalities": ["TEXT", "IMAGE"]})
    drawn = [n for n, chunk in enumerate(chunks) if pictures(chunk)]
    assert drawn == [len(chunks) - 2]
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert chunks[-1]["usageMetadata"]["candidatesTokensDetails"]


@pytest.mark.parametrize(
    "config", [{"imageSize": "2k"}, {"imageSize": "8K"}, {"aspectRatio": "2:1"}]
)
def test_what_google_does_not_know_is_refused(config: dict[str, str]) -> None:
    error = draw(imageConfig=config)["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert "image_config" in error["message"]


def test_a_blocked_picture_has_its_own_finish_reason() -> None:
    (candidate,) = draw("demo-image-blocked")["candidates"]
    assert candidate["finishReason"] == "IMAGE_SAFETY"
    assert not candidate["content"]["parts"]


def test_a_search_is_told() -> None:
    reply = whole("gemini", tools=[{"googleSearch": {}}])
    assert reply["candidates"][0]["groundingMetadata"]["groundingChunks"]
    assert "groundingMetadata" not in whole("gemini")["candidates"][0]
    chunks = streamed("gemini", tools=[{"google_search": {}}])
    assert "groundingMetadata" in chunks[-1]["candidates"][0]
