"""The endpoints for pictures, audio, moderations, rankings and legacy completions, through the
official OpenAI SDK against the daemon with its demo provider: what comes back, and what the usage
log says of it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest

from relayd.money import DOLLAR
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.running import Running

pytestmark = pytest.mark.sdk

CENT = DOLLAR // 100
CONFIG = """\
demo: "on"
defaults:
  chat: {model: demo, max_tokens: 12}
  image: {model: demo-image}
  moderation: {model: demo-moderation}
groups:
  pictureless: {endpoints: [chat]}
  blind: {endpoints: [chat], hide_endpoints: true}
prices:
  demo-image: {image: 0.01}
  demo-image-text: {input: 1, output: 2, image_out: 40}
  "demo-tts*": {characters: 10}
  demo-whisper: {minute: 0.06}
  demo-transcribe: {input: 1, output: 2}
  demo-rerank: {search: 0.01}
  demo-moderation: {request: 0.01}
  demo: {input: 0, output: 0}
"""
# A second of silence: 8000 samples of 16 bits each second.
WAV = (
    b"RIFF" + (36 + 16000).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    + b"\x01\x00\x01\x00" + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little")
    + b"\x02\x00\x10\x00data" + (16000).to_bytes(4, "little") + bytes(16000)
)  # fmt: skip


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture
def client(relay: Running) -> Iterator[openai.OpenAI]:
    with make_client(relay) as client:
        yield client


def make_client(relay: Running, **more: Any) -> openai.OpenAI:
    options = {"base_url": relay.url + "/v1", "api_key": relay.key, "max_retries": 0, "timeout": 30}
    return openai.OpenAI(**{**options, **more})


def recording() -> tuple[str, io.BytesIO]:
    return "speech.wav", io.BytesIO(WAV)


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_come_back_and_cost_by_the_piece(relay: Running, client: openai.OpenAI) -> None:
    answer = client.images.generate(model="demo-image", prompt="a cat", n=2, size="256x256")

    pictures = [base64.b64decode(picture.b64_json or "") for picture in answer.data or []]
    assert len(pictures) == 2 and all(png.startswith(b"\x89PNG") for png in pictures)
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage_source) == ("image", "ok", "reported")
    assert (row.usage.images, row.cost) == (2, 2 * CENT)


def test_pictures_may_cost_by_the_token(relay: Running, client: openai.OpenAI) -> None:
    answer = client.images.generate(model="demo-image-text", prompt="a cat", size="256x256")

    usage, row = answer.usage, relay.rows()[0]
    assert usage is not None
    assert row.usage.out_total == row.usage.out_image == usage.output_tokens
    assert row.cost == usage.input_tokens * DOLLAR // 10**6 + usage.output_tokens * 40 * 10**6


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse"])
def test_pictures_of_geminis_own_format_cost_by_the_piece_too(relay: Running, verb: str) -> None:
    body = {
        "contents": [{"role": "user", "parts": [{"text": "a cat"}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
    }

    answer = relay.ask(f"/v1beta/models/demo-image:{verb}", orjson.dumps(body))

    assert b'"inlineData"' in answer.body
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage.images, row.cost) == ("generate", "ok", 1, CENT)


def test_pictures_stream_with_partial_ones_before(relay: Running, client: openai.OpenAI) -> None:
    with client.images.generate(
        model="demo-image", prompt="a cat", size="256x256", stream=True, partial_images=2
    ) as stream:
        kinds = [event.type for event in stream]

    assert kinds == [*["image_generation.partial_image"] * 2, "image_generation.completed"]
    row = relay.rows()[0]
    assert (row.outcome, row.stream, row.usage_source) == ("ok", True, "reported")
    assert (row.usage.images, row.cost) == (1, CENT)
    assert row.usage.out_total


def test_a_picture_is_edited_as_a_form(relay: Running, client: openai.OpenAI) -> None:
    made = client.images.generate(model="demo-image", prompt="a cat", size="256x256")
    png = base64.b64decode((made.data or [])[0].b64_json or "")

    answer = client.images.edit(
        model="demo-image",
        prompt="now a dog",
        image=[("one.png", png, "image/png"), ("two.png", png, "image/png")],
        mask=("mask.png", png, "image/png"),
        n=2,
        size="256x256",
    )

    assert len(answer.data or []) == 2
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage.images, row.cost) == ("image", "ok", 2, 2 * CENT)


def test_an_edit_streams_as_a_form(relay: Running, client: openai.OpenAI) -> None:
    made = client.images.generate(model="demo-image", prompt="a cat", size="256x256")
    png = base64.b64decode((made.data or [])[0].b64_json or "")

    with client.images.edit(
        model="demo-image", prompt="a dog", image=("a.png", png), stream=True, partial_images=1
    ) as stream:
        kinds = [event.type for event in stream]

    assert kinds == ["image_edit.partial_image", "image_edit.completed"]
    row = relay.rows()[0]
    assert (row.outcome, row.stream, row.usage.images) == ("ok", True, 1)


def test_the_model_of_a_picture_may_be_left_out(relay: Running) -> None:
    answer = relay.ask("/v1/images/generations", b'{"prompt":"a cat","size":"256x256"}')

    assert answer.status == 200
    assert relay.rows()[0].model_asked == "demo-image"


def test_the_model_of_an_edit_may_be_left_out(relay: Running, client: openai.OpenAI) -> None:
    made = client.images.generate(model="demo-image", prompt="a cat", size="256x256")
    png = base64.b64decode((made.data or [])[0].b64_json or "")

    answer = client.images.edit(prompt="a dog", image=("a.png", png), size="256x256")

    assert len(answer.data or []) == 1
    assert relay.rows()[0].model_used == "demo-image"


def test_a_picture_is_edited_as_json(relay: Running, client: openai.OpenAI) -> None:
    made = client.images.generate(model="demo-image", prompt="a cat", size="256x256")
    picture = f"data:image/png;base64,{(made.data or [])[0].b64_json}"
    body = {"model": "demo-image", "prompt": "a", "n": 2, "images": [{"image_url": picture}]}

    answer = relay.ask("/v1/images/edits", orjson.dumps(body))

    assert answer.status == 200
    assert len(answer.document["data"]) == relay.rows()[0].usage.images == 2


def test_several_pictures_stream_and_each_is_paid(relay: Running) -> None:
    body = {"model": "demo-image", "prompt": "a", "n": 2, "size": "256x256", "stream": True}

    answer = relay.ask("/v1/images/generations", orjson.dumps(body))

    assert answer.body.count(b"event: image_generation.completed") == 2
    row = relay.rows()[0]
    assert (row.outcome, row.usage.images, row.cost) == ("ok", 2, 2 * CENT)


@pytest.mark.parametrize("kind", ["image", "transcript"])
def test_what_does_not_stream_is_made_a_stream(
    relay: Running, client: openai.OpenAI, kind: str
) -> None:
    stream: Any
    if kind == "image":
        stream = client.images.generate(
            model="demo-image-json-on-stream", prompt="a", size="256x256", stream=True
        )
    else:
        stream = client.audio.transcriptions.create(
            model="demo-transcribe-json-on-stream", file=recording(), stream=True
        )
    last = list(stream)[-1]

    ends = {"image": "image_generation.completed", "transcript": "transcript.text.done"}
    assert last.type == ends[kind]
    assert last.usage.input_tokens
    row = relay.rows()[0]
    assert (row.outcome, row.usage_source) == ("ok", "reported")


def test_a_reply_without_a_picture_is_a_failure(relay: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        client.images.generate(model="demo-image-error-first", prompt="a cat")

    row = relay.rows()[0]
    assert (row.outcome, row.cost, row.usage_source) == ("upstream_error", 0, "none")


def test_a_stream_of_pictures_that_is_cut_ends_with_an_error(
    relay: Running, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.APIError):
        with client.images.generate(
            model="demo-image-cut", prompt="a", size="256x256", stream=True, partial_images=2
        ) as stream:
            list(stream)

    row = relay.rows()[0]
    assert row.outcome not in ("ok", "client_gone")
    assert row.usage_source in ("partial", "estimated")


# --- audio ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wav", "mp3", "pcm"])
def test_speech_comes_as_it_is_and_costs_by_the_character(
    relay: Running, client: openai.OpenAI, kind: Any
) -> None:
    answer = client.audio.speech.create(
        model="demo-tts", voice="alloy", input="Good morning!", response_format=kind
    )

    assert len(answer.content) > 100
    if kind == "wav":
        assert answer.content.startswith(b"RIFF")
    assert answer.response.headers["content-type"].startswith("audio/")
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage.characters) == ("speech", "ok", 13)
    assert row.cost == 13 * 10 * 10**6
    assert row.usage_source == "estimated"  # of the tokens nothing is known


def test_speech_comes_as_events_with_its_usage(relay: Running) -> None:
    body = orjson.dumps(
        {"model": "demo-tts", "voice": "alloy", "input": "Hi!", "stream_format": "sse"}
    )
    answer = relay.ask("/v1/audio/speech", body)

    assert b"speech.audio.delta" in answer.body and b"speech.audio.done" in answer.body
    row = relay.rows()[0]
    assert (row.outcome, row.stream, row.usage_source) == ("ok", True, "reported")
    assert (row.usage.characters, row.usage.out_audio) == (3, row.usage.out_total)


def test_a_page_is_no_speech(relay: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        client.audio.speech.create(model="demo-tts-wrong-type", voice="alloy", input="Hi")

    assert relay.rows()[0].outcome == "upstream_error"


def test_a_transcript_is_paid_by_the_token_or_by_the_minute(
    relay: Running, client: openai.OpenAI
) -> None:
    by_token = client.audio.transcriptions.create(model="demo-transcribe", file=recording())
    rows = relay.rows()
    assert "speech.wav" in by_token.text
    assert (rows[0].operation, rows[0].usage_source) == ("transcribe", "reported")
    assert rows[0].cost == (rows[0].usage.in_uncached or 0) * 10**6 + (
        (rows[0].usage.out_total or 0) * 2 * 10**6
    )

    client.audio.transcriptions.create(model="demo-whisper", file=recording())
    row = relay.rows()[0]
    assert row.usage.audio_ms
    assert row.cost == -(-row.usage.audio_ms * 6 * CENT // 60_000)


@pytest.mark.parametrize("kind", ["text", "srt", "vtt", "verbose_json"])
def test_every_form_of_a_transcript_is_paid(
    relay: Running, client: openai.OpenAI, kind: Any
) -> None:
    answer: Any = client.audio.transcriptions.create(
        model="demo-whisper", file=recording(), response_format=kind
    )

    text = answer.text if kind == "verbose_json" else answer
    assert "speech.wav" in text
    row = relay.rows()[0]
    assert (row.outcome, row.error_code) == ("ok", "")
    assert row.usage.audio_ms and row.cost > 0


def test_a_transcript_streams(relay: Running, client: openai.OpenAI) -> None:
    stream = client.audio.transcriptions.create(
        model="demo-transcribe", file=recording(), stream=True
    )
    events = list(stream)

    assert events[-1].type == "transcript.text.done"
    assert "speech.wav" in events[-1].text
    row = relay.rows()[0]
    assert (row.outcome, row.stream, row.usage_source) == ("ok", True, "reported")
    assert row.usage.out_total


def test_a_translation_is_a_transcript(relay: Running, client: openai.OpenAI) -> None:
    with pytest.deprecated_call():
        answer = client.audio.translations.create(model="demo-whisper", file=recording())

    assert "speech.wav" in answer.text
    assert relay.rows()[0].operation == "transcribe"


# --- moderations, rankings, legacy completions ----------------------------------------------------


def test_a_moderation_needs_no_model(relay: Running, client: openai.OpenAI) -> None:
    answer = client.moderations.create(input="I will kill you")

    assert answer.results[0].flagged
    row = relay.rows()[0]
    assert (row.operation, row.model_asked, row.cost) == ("moderate", "demo-moderation", CENT)


def test_a_ranking_costs_by_the_search(relay: Running) -> None:
    documents = [f"text {n}" for n in range(120)]
    body = orjson.dumps({"model": "demo-rerank", "query": "a", "documents": documents, "top_n": 3})

    answer = relay.ask("/v1/rerank", body)

    assert len(answer.document["results"]) == 3
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage_source) == ("rerank", "ok", "reported")
    assert row.usage.searches and row.cost == row.usage.searches * CENT


@pytest.mark.parametrize("stream", [False, True])
def test_a_legacy_completion_answers(relay: Running, client: openai.OpenAI, stream: bool) -> None:
    answer: Any = client.completions.create(model="demo", prompt="Once", stream=stream)

    chunks = list(answer) if stream else [answer]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices)
    row = relay.rows()[0]
    assert (row.operation, row.outcome, row.usage_source) == ("generate", "ok", "reported")
    assert row.usage.out_total


def test_the_short_chat_endpoint_has_defaults(relay: Running) -> None:
    body = orjson.dumps({"messages": [{"role": "user", "content": "word " * 50}]})

    answer = relay.ask("/api/v1/chat", body)

    document = answer.document
    assert (document["object"], document["model"]) == ("chat.completion", "demo")
    assert document["choices"][0]["finish_reason"] == "length"
    assert relay.rows()[0].usage.out_total == 12


# --- who may, and what is wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "error", "code"),
    [
        ("pictureless", openai.PermissionDeniedError, "endpoint_not_allowed"),
        ("blind", openai.NotFoundError, "unknown_url"),
    ],
)
def test_a_group_without_pictures_says_so(
    relay: Running, group: str, error: type[openai.APIStatusError], code: str
) -> None:
    with (
        make_client(relay, api_key=Customer(relay, group).secret) as client,
        pytest.raises(error) as caught,
    ):
        client.images.generate(model="demo-image", prompt="a cat")

    assert caught.value.code == code
    assert "image" in caught.value.message or group == "blind"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/images/generations", {"model": "demo-image", "prompt": "a", "n": "two"}, "n"),
        ("/v1/images/generations", {"model": 7, "prompt": "a"}, "model"),
        ("/v1/images/generations", {"model": "demo-image", "stream": "yes"}, "stream"),
        ("/v1/audio/speech", {"model": "demo-tts", "voice": "a"}, "input"),
        ("/v1/audio/speech", {"model": "demo-tts", "input": ["a"]}, "input"),
        ("/v1/audio/speech", {"input": "a"}, "model"),
        ("/v1/rerank", {"query": "a", "documents": []}, "model"),
    ],
)
def test_what_cannot_be_understood_is_a_400_with_its_param(
    relay: Running, path: str, body: dict[str, Any], param: str
) -> None:
    answer = relay.ask(path, orjson.dumps(body))

    assert answer.status == 400
    assert answer.document["error"]["param"] == param
