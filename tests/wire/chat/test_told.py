"""What a chat reply says of one thing."""

from __future__ import annotations

from relayd.model import Usage
from relayd.wire.chat.told import Told, usage_document
from relayd.wire.parts import Image


def test_usage_includes_what_the_cache_gave_and_took() -> None:
    usage = Usage(
        in_uncached=3,
        cache_read=10,
        cache_write_5m=2,
        cache_write_1h=1,
        tool_prompt=4,
        out_total=7,
        reasoning=5,
        in_audio=1,
    )

    assert usage_document(usage) == {
        "prompt_tokens": 20,
        "completion_tokens": 7,
        "total_tokens": 27,
        "prompt_tokens_details": {
            "cached_tokens": 10,
            "cache_write_tokens": 3,
            "audio_tokens": 1,
        },
        "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
    }


def test_thinking_is_a_part_of_the_output() -> None:
    details = usage_document(Usage(out_total=3, reasoning=9))["completion_tokens_details"]

    assert details["reasoning_tokens"] == 3


def test_unknown_counts_are_none_told() -> None:
    assert usage_document(Usage())["total_tokens"] == 0


def test_calls_and_pictures_are_counted_apart() -> None:
    told = Told(1)

    assert [told.call("a"), told.call("b")] == [0, 1]
    assert told.after == "b"
    assert [told.image(Image(url="https://x"))["index"] for _ in range(2)] == [0, 1]
    assert repr(told) == "<Told 1 calls=2 finished=False>"
