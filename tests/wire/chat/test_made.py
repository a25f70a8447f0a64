"""Usage and errors in whole replies of pictures, audio, moderations and rankings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Operation, Usage
from relayd.wire.chat.made import spoken
from relayd.wire.chat.reply import reply_usage, tail_usage
from relayd.wire.head import ReplyFacts


def of(operation: Operation, value: object) -> ReplyFacts:
    return reply_usage(orjson.dumps(value), operation)


def picture_usage() -> dict[str, Any]:
    return {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40, "cached_tokens": 20},
        "output_tokens": 300,
        "total_tokens": 350,
    }


COUNTED = Usage(
    in_uncached=30,
    cache_read=20,
    out_total=300,
    in_image=40,
    out_image=300,
    total_reported=350,
    images=2,
)


def test_pictures_are_counted_and_so_are_their_tokens() -> None:
    reply = {"created": 1, "data": [{"b64_json": "A"}, {"url": "u"}], "usage": picture_usage()}

    assert of("image", reply) == ReplyFacts(COUNTED, None, True, "")


def test_details_of_the_output_are_believed() -> None:
    usage = {**picture_usage(), "output_tokens_details": {"image_tokens": 280, "text_tokens": 20}}
    facts = of("image", {"data": [{}], "usage": usage})

    assert facts.usage is not None and facts.usage.out_image == 280


def test_pictures_without_any_usage_are_still_counted() -> None:
    assert of("image", {"data": [{"url": "u"}]}).usage == Usage(images=1)


@pytest.mark.parametrize("data", [None, [], "none"])
def test_a_reply_without_a_picture_is_an_error(data: object) -> None:
    assert of("image", {"created": 1, "data": data}).error == "there is no picture in the reply"


def test_an_error_of_its_own_is_kept() -> None:
    assert of("image", {"error": {"message": "No."}}).error == "No."
    assert of("transcribe", {"error": "No."}).error == "No."


def test_a_transcript_is_counted_in_tokens_or_in_seconds() -> None:
    by_token = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 45,
        "total_tokens": 59,
    }
    counted = Usage(in_uncached=14, out_total=45, in_audio=10, total_reported=59)
    assert of("transcribe", {"text": "Hi", "usage": by_token}).usage == counted

    by_time = {"type": "duration", "seconds": 1.2341}
    assert of("transcribe", {"text": "Hi", "usage": by_time}).usage == Usage(audio_ms=1235)


def test_the_verbose_form_tells_the_length_where_the_usage_does_not() -> None:
    assert of("transcribe", {"duration": 2.5, "text": ""}).usage == Usage(audio_ms=2500)
    both = {"duration": 2.5, "usage": {"seconds": 3}}
    assert of("transcribe", both).usage == Usage(audio_ms=3000)
    assert of("transcribe", {"duration": 2.5, "usage": {"input_tokens": 1}}).usage == Usage(
        in_uncached=1, audio_ms=2500
    )
    for absurd in (-1, True, "2", 1e300, None):
        assert of("transcribe", {"text": "Hi", "duration": absurd}).usage is None


def test_a_transcript_in_text_tells_its_length_by_its_time_stamps() -> None:
    srt = b"1\n00:00:00,000 --> 00:00:02,500\nHi\n"
    assert reply_usage(srt, "transcribe") == ReplyFacts(Usage(audio_ms=2500), None, False, "")
    assert reply_usage(b"Hi\n", "transcribe") == ReplyFacts(None, None, False, "")
    assert reply_usage(srt, "speech").usage is None


@pytest.mark.parametrize(
    ("reply", "usage"),
    [
        ({"meta": {"billed_units": {"search_units": 2}}}, Usage(searches=2)),
        (
            {"meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 9}}},
            Usage(in_uncached=9, searches=1),
        ),
        ({"usage": {"total_tokens": 8}}, Usage(in_uncached=8, total_reported=8)),
        (
            {"usage": {"prompt_tokens": 8, "total_tokens": 8}},
            Usage(in_uncached=8, total_reported=8),
        ),
        ({"results": []}, None),
    ],
)
def test_a_ranking_says_what_it_bills(reply: dict[str, Any], usage: Usage | None) -> None:
    assert of("rerank", reply).usage == usage


def test_a_moderation_mostly_counts_nothing() -> None:
    assert of("moderate", {"id": "modr-1", "results": []}) == ReplyFacts(None, None, True, "modr-1")


def test_all_output_of_speech_is_audio_unless_it_says_otherwise() -> None:
    assert spoken(None) is None
    assert spoken(Usage(out_total=5)) == Usage(out_total=5, out_audio=5)
    assert spoken(Usage(out_total=5, out_audio=3)) == Usage(out_total=5, out_audio=3)


def test_the_usage_at_the_end_of_a_large_reply_is_found() -> None:
    tail = b'AAAA"}],"usage":' + orjson.dumps(picture_usage()) + b"}"
    usage = tail_usage(tail)

    assert usage is not None and (usage.in_uncached, usage.out_total) == (30, 300)
