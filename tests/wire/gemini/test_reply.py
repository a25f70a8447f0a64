"""Usage of Gemini replies, and errors in Google's words."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall, BadStatus, NoUpstream, Refused, RelayError, UpstreamError
from relayd.model import Usage
from relayd.wire.gemini import reply


def modality(name: str, count: int) -> dict[str, object]:
    return {"modality": name, "tokenCount": count}


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 40,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 8,
                "toolUsePromptTokenCount": 5,
                "totalTokenCount": 133,
                "promptTokensDetails": [
                    modality("AUDIO", 1),
                    modality("AUDIO", 6),
                    modality("IMAGE", 2),
                    modality("VIDEO", 3),
                ],
                "candidatesTokensDetails": [modality("AUDIO", 4), modality("IMAGE", 5), None],
            },
            Usage(
                in_uncached=60,
                cache_read=40,
                out_total=28,
                reasoning=8,
                in_audio=7,
                in_image=2,
                in_video=3,
                out_audio=4,
                out_image=5,
                tool_prompt=5,
                total_reported=133,
                images=1,
            ),
        ),
        # Some surfaces count the thoughts as candidates: the total tells.
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 8,
                "totalTokenCount": 30,
            },
            Usage(in_uncached=10, out_total=20, reasoning=8, total_reported=30),
        ),
        # Zeros are left out.
        (
            {"promptTokenCount": 10, "totalTokenCount": 10},
            Usage(in_uncached=10, out_total=0, total_reported=10),
        ),
        (
            {"promptTokenCount": 10, "thoughtsTokenCount": 5, "totalTokenCount": 15},
            Usage(in_uncached=10, out_total=5, reasoning=5, total_reported=15),
        ),
        (
            {"promptTokenCount": 10, "thoughtsTokenCount": 5},
            Usage(in_uncached=10, out_total=5, reasoning=5),
        ),
        ({"candidatesTokenCount": 4}, Usage(out_total=4)),
        ({"promptTokenCount": 6, "promptTokenDetails": []}, Usage(in_uncached=6)),
        ({}, None),
        (None, None),
    ],
)
def test_thoughts_are_output_and_cached_tokens_are_not_uncached(
    raw: object, usage: Usage | None
) -> None:
    assert reply.usage_of(raw) == usage


def test_a_whole_reply_says_what_it_is() -> None:
    facts = reply.reply_usage(b'{"responseId":"r","usageMetadata":{"promptTokenCount":3}}', "embed")
    assert facts == (Usage(in_uncached=3), None, True, "r")
    assert reply.reply_usage(b'[{"error":{"message":"no"}}]', "generate").error == "no"
    assert not reply.reply_usage(b"<", "generate").is_json


def test_counting_tokens_consumes_none() -> None:
    body = b'{"totalTokens":5,"usageMetadata":{"promptTokenCount":5}}'
    assert reply.reply_usage(body, "count_tokens").usage is None


def test_usage_is_found_in_the_tail_of_a_reply_too_large_to_hold() -> None:
    tail = b'"}],"usageMetadata": {"promptTokenCount": 3},"modelVersion": "m"}'
    assert reply.tail_usage(tail) == Usage(in_uncached=3)


@pytest.mark.parametrize(
    ("exc", "status", "name"),
    [
        (BadCall("m"), 400, "INVALID_ARGUMENT"),
        (BadCall("m", status=413), 413, "INVALID_ARGUMENT"),
        (Refused("m"), 401, "UNAUTHENTICATED"),
        (Refused("m", status=402), 402, "RESOURCE_EXHAUSTED"),
        (Refused("m", status=403), 403, "PERMISSION_DENIED"),
        (Refused("m", status=404), 404, "NOT_FOUND"),
        (RelayError("m"), 500, "INTERNAL"),
        (UpstreamError("m"), 502, "UNAVAILABLE"),
        (NoUpstream("m"), 503, "UNAVAILABLE"),
        (BadStatus("m", upstream_status=529), 503, "UNAVAILABLE"),
    ],
)
def test_an_error_has_its_status_and_the_request_id(
    exc: RelayError, status: int, name: str
) -> None:
    worded = reply.error(exc, "req-1")
    assert worded.status == status
    assert worded.body.startswith(b'{"error":{"code":%d,' % status)
    body = orjson.loads(worded.body)["error"]
    assert (body["message"], body["status"]) == ("m", name)
    assert {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req-1"} in body[
        "details"
    ]


def test_retry_advice_is_a_detail() -> None:
    exc = Refused("m", status=429, retry_after=1.2)
    body = orjson.loads(reply.error(exc, "r").body)["error"]
    assert body["status"] == "RESOURCE_EXHAUSTED"
    assert body["details"][-1] == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": "2s",
    }


def test_pictures_that_came_out_are_counted() -> None:
    drawn = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    parts = [{"text": "Here:"}, drawn, {**drawn, "thought": True}, sound, drawn]
    details = [{"modality": "IMAGE", "tokenCount": 2580}]
    counts = {
        "promptTokenCount": 3,
        "candidatesTokenCount": 2580,
        "candidatesTokensDetails": details,
    }
    reply_ = {"candidates": [{"content": {"parts": parts}}], "usageMetadata": counts}

    usage = reply.reply_usage(orjson.dumps(reply_), "generate").usage
    assert usage is not None and (usage.images, usage.out_image) == (2, 2580)
    # Of a reply too large to hold, or a stream, only the tokens tell: at least one came.
    tail = b'"x"}],"usageMetadata":' + orjson.dumps(counts) + b"}"
    last = reply.tail_usage(tail)
    assert last is not None and last.images == 1
    spoken = {
        "candidates": [{"content": {"parts": [sound]}}],
        "usageMetadata": {"totalTokenCount": 9},
    }
    none = reply.reply_usage(orjson.dumps(spoken), "generate").usage
    assert none is not None and none.images is None
