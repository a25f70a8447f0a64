"""The official SDKs are happy with the demo's pictures, sounds, files and stored responses."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from relayd.demo.misbehave import ACTS
from relayd.demo.pixels import pixels_of, png
from relayd.demo.sound import sound
from tests.demo.serving import Serving, script_of, script_of_form

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PICTURE = png(64, 64, "abcdef")
WAV = b"".join(sound("wav", 0.5))


@pytest.fixture(scope="module")
def keyed() -> Iterator[Serving]:
    serving = Serving(uvloop.new_event_loop, "sk-demo")
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def client(keyed: Serving) -> Iterator[Any]:
    import openai

    with openai.OpenAI(api_key="sk-demo", base_url=keyed.url + "/v1", max_retries=0) as client:
        yield client


def test_openai_draws_and_edits(client: Any) -> None:
    drawn = client.images.generate(model="demo-image", prompt="a cat", n=2)
    assert pixels_of(base64.b64decode(drawn.data[1].b64_json)) == (1024, 1024)
    assert drawn.usage.total_tokens > 0
    sources = [("a.png", PICTURE), ("b.png", PICTURE)]
    edited = client.images.edit(model="demo-image", prompt="a hat", image=sources)
    assert edited.usage.input_tokens_details.image_tokens == 646
    varied = client.images.create_variation(model="dall-e-2", image=PICTURE)
    assert varied.data[0].url


def test_openai_streams_pictures(client: Any) -> None:
    stream = client.images.generate(
        model="demo-image", prompt="a cat", stream=True, partial_images=2
    )
    kinds = [event.type for event in stream]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    stream = client.images.edit(model="demo-image", prompt="a", image=PICTURE, stream=True)
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_openai_speaks_and_listens(client: Any) -> None:
    spoken = client.audio.speech.create(
        model="demo-tts", voice="alloy", input="Hello", response_format="wav"
    )
    assert spoken.read()[:4] == b"RIFF"
    heard = client.audio.transcriptions.create(model="demo-transcribe", file=("a.wav", WAV))
    assert heard.text.startswith(f"You sent a.wav, {len(WAV)} bytes")
    stream = client.audio.transcriptions.create(
        model="demo-transcribe", file=("a.wav", WAV), stream=True
    )
    assert list(stream)[-1].text == heard.text
    subtitles = client.audio.translations.create(
        model="demo-whisper", file=("a.wav", WAV), response_format="srt"
    )
    assert "-->" in subtitles


def test_openai_moderates_and_completes(client: Any) -> None:
    assert client.moderations.create(input="kill").results[0].flagged
    reply = client.completions.create(model="demo", prompt="Hi")
    assert reply.choices[0].text.startswith("You said: Hi.")
    stream = client.completions.create(model="demo", prompt="Hi", stream=True)
    assert "".join(event.choices[0].text for event in stream) == reply.choices[0].text


def test_openai_follows_up_on_responses(client: Any) -> None:
    made = client.responses.create(model="demo", input="Hi", background=True)
    waited = time.monotonic()
    while made.status in ("queued", "in_progress") and time.monotonic() - waited < 10:
        made = client.responses.retrieve(made.id)
    assert made.output_text.startswith("You said: Hi.")
    events = list(client.responses.retrieve(made.id, stream=True, starting_after=2))
    assert events[0].sequence_number == 3
    assert client.responses.input_items.list(made.id).data[0].content[0].text == "Hi"
    on = client.responses.create(model="demo", input="On", previous_response_id=made.id)
    assert "before that: Hi" in on.output_text
    assert client.responses.compact(model="demo", input="Hi").output[-1].type == "compaction"
    client.responses.delete(made.id)
    import openai

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_openai_keeps_files_and_batches(client: Any) -> None:
    lines = io.BytesIO(b"{}\n{}\n")
    file = client.files.create(file=("a.jsonl", lines), purpose="batch")
    assert client.files.content(file.id).read() == b"{}\n{}\n"
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
    )
    assert client.batches.retrieve(batch.id).request_counts.total == 2
    assert [listed.id for listed in client.files.list()] == [file.id]
    assert client.files.delete(file.id).deleted


def test_google_draws_and_searches(keyed: Serving) -> None:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=keyed.url)
    client = genai.Client(api_key="sk-demo", http_options=options)
    config = types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"],
        image_config=types.ImageConfig(aspect_ratio="16:9", image_size="2K"),
        tools=[types.Tool(google_search=types.GoogleSearch())],
    )
    reply = client.models.generate_content(model="demo-image", contents="a cat", config=config)
    candidate = (reply.candidates or [])[0]
    (picture,) = [part.inline_data for part in reply.parts or [] if part.inline_data]
    assert pixels_of(picture.data or b"") == (2752, 1536)
    assert candidate.grounding_metadata is not None
    client.close()


def test_every_misbehaviour_can_befall_every_kind_of_reply() -> None:
    good = script_of("/v1/audio/speech", {"model": "demo-tts", "input": "Hi"})
    for part in ACTS:
        for stream in (False, True):
            document = {"model": f"demo-image-{part}", "prompt": "x", "stream": stream}
            assert script_of("/v1/images/generations", document) != good
            kind = "sse" if stream else "audio"
            asked = {"model": f"demo-{part}", "input": "Hi", "stream_format": kind}
            assert script_of("/v1/audio/speech", asked) != good
            fields = {"model": f"demo-{part}", "stream": str(stream).lower()}
            script_of_form("/v1/audio/transcriptions", fields, ("file", "a.wav", WAV))
            script_of("/v1/completions", {"model": f"demo-{part}", "prompt": "x", "stream": stream})


def test_an_error_in_place_of_a_sound_is_json() -> None:
    asked = {"model": "demo-tts-error-first", "input": "Hi"}
    script = script_of("/v1/audio/speech", asked)
    assert (script.status, dict(script.headers)["content-type"]) == (200, "application/json")
    wrong = script_of("/v1/audio/speech", {**asked, "model": "demo-tts-wrong-type"})
    assert dict(wrong.headers)["content-type"] == "text/plain"
