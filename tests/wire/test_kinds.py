"""What a request takes besides the endpoint that it asks."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.accounts import Endpoint
from relayd.model import FormatName
from relayd.wire.kinds import needed, usable


def gemini(*modalities: Any, config: str = "generationConfig") -> dict[str, Any]:
    return {config: {"responseModalities": [*modalities]}}


@pytest.mark.parametrize(
    ("format", "request_", "endpoints"),
    [
        ("chat", {}, set()),
        ("chat", {"modalities": ["text"]}, set()),
        ("chat", {"modalities": ["text", "audio"]}, {"audio"}),
        ("chat", {"modalities": ["TEXT", "Image"]}, {"images"}),
        ("gemini", {}, set()),
        ("gemini", gemini("TEXT", "IMAGE"), {"images"}),
        ("gemini", gemini("AUDIO", config="generation_config"), {"audio"}),
        ("gemini", {"generationConfig": {"response_modalities": ["IMAGE"]}}, {"images"}),
        ("gemini", gemini(1, 2, 3, 9), {"images", "audio"}),
        ("responses", {"tools": [{"type": "image_generation"}]}, {"images"}),
        ("responses", {"tools": [{"type": "function"}], "modalities": ["image"]}, set()),
        ("messages", {"modalities": ["image"]}, set()),
    ],
)
def test_what_is_to_be_made_takes_its_endpoint(
    format: FormatName, request_: dict[str, Any], endpoints: set[str]
) -> None:
    for tasks in ((), ("chat",)):
        assert needed(tasks, request_, format) == endpoints


@pytest.mark.parametrize("format", ["chat", "gemini"])
@pytest.mark.parametrize(
    "odd",
    [
        {"modalities": 5, "generationConfig": [], "tools": "x"},
        {"modalities": [None, {}], "generationConfig": {"responseModalities": 1}, "tools": [3]},
        {"tools": [{"type": ["image_generation"]}, {}]},
    ],
)
def test_what_is_wrong_with_a_request_is_not_looked_at(format: FormatName, odd: Any) -> None:
    assert needed((), odd, format) == set()


def test_a_model_of_another_kind_takes_its_endpoint_whatever_is_asked() -> None:
    assert needed(("images",), {}, "gemini") == {"images"}
    assert needed(("embeddings",), {"modalities": ["text"]}, "chat") == {"embeddings"}


def test_a_model_that_makes_pictures_makes_them_unless_text_alone_is_asked_for() -> None:
    tasks: tuple[Endpoint, ...] = ("chat", "images")
    assert needed(tasks, {}, "gemini") == {"images"}
    assert needed(tasks, {}, "messages") == {"images"}
    assert needed(tasks, gemini("TEXT"), "gemini") == set()
    assert needed(tasks, gemini("TEXT", "AUDIO"), "gemini") == {"images", "audio"}


def test_a_model_is_used_for_what_the_caller_has_and_not_chatted_with_for_pictures() -> None:
    assert usable((), ("chat",)) == ()
    assert usable(("chat",), ("chat",)) == ("chat",)
    assert usable(("chat", "images"), ("chat", "images")) == ("chat", "images")
    assert usable(("chat", "images"), ("chat",)) == ()
    assert usable(("chat", "images"), ("images",)) == ("images",)
    assert usable(("embeddings",), ("chat",)) == ()
