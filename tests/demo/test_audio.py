"""Speech, transcriptions and translations answer as OpenAI's do."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from relayd.demo.script import Script
from relayd.demo.sound import TYPES, sound
from tests.demo.serving import data_of, script_of, script_of_form

SECOND = b"".join(sound("wav", 1.0))


def speak(**asked: Any) -> Script:
    return script_of("/v1/audio/speech", {"model": "demo-tts", "input": "Hello there", **asked})


def hear(path: str = "transcriptions", data: bytes = SECOND, **fields: Any) -> Script:
    asked = {"model": "demo-transcribe", **fields}
    return script_of_form(f"/v1/audio/{path}", asked, ("file", "a.wav", data))


@pytest.mark.parametrize("kind", TYPES)
def test_speech_is_bytes_of_the_kind_that_was_asked(kind: str) -> None:
    script = speak(response_format=kind)
    assert dict(script.headers)["content-type"] == TYPES[kind]
    assert script.framing == "chunked"
    assert script.whole == b"".join(sound(kind, len("Hello there") * 0.06))


def test_speech_may_come_as_events_with_usage() -> None:
    events = data_of(speak(stream_format="sse", response_format="pcm").whole)
    data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert data == speak(response_format="pcm").whole
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] == 3


def test_speech_of_a_size_is_exact() -> None:
    assert len(speak(model="demo-tts-size-123456").whole) == 123_456


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"input": ""}, "input"), ({"input": "x" * 4097}, "input"), ({"response_format": "x"}, None)],
)
def test_what_cannot_be_spoken_is_refused(asked: dict[str, Any], param: str | None) -> None:
    script = speak(**asked)
    assert script.status == 400
    assert orjson.loads(script.whole)["error"]["param"] == (param or "response_format")


def test_a_transcription_names_the_file_that_it_heard() -> None:
    reply = orjson.loads(hear().whole)
    assert reply["text"].startswith(f"You sent a.wav, {len(SECOND)} bytes")
    assert reply["usage"]["type"] == "tokens"
    assert reply["usage"]["input_token_details"]["audio_tokens"] == 11
    other = orjson.loads(hear(data=SECOND[:-1] + b"x").whole)
    assert other["text"] != reply["text"]


def test_the_old_model_counts_seconds() -> None:
    assert orjson.loads(hear(model="demo-whisper").whole)["usage"] == {
        "type": "duration",
        "seconds": 1,
    }


@pytest.mark.parametrize(
    ("format", "opening"), [("text", "You sent"), ("srt", "1\n00:00:00,000 -->"), ("vtt", "WEBVTT")]
)
@pytest.mark.parametrize("path", ["transcriptions", "translations"])
def test_other_formats_are_plain_text(path: str, format: str, opening: str) -> None:
    script = hear(path, response_format=format)
    assert script.whole.decode().startswith(opening)
    assert dict(script.headers)["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["transcriptions", "translations"])
def test_verbose_json_has_segments_and_a_duration(path: str) -> None:
    reply = orjson.loads(hear(path, response_format="verbose_json").whole)
    assert reply["duration"] == 1.0
    assert reply["segments"][0]["text"] == reply["text"]
    assert reply["usage"] == {"type": "duration", "seconds": 1}


def test_a_stream_adds_up_to_its_last_event() -> None:
    events = data_of(hear(stream="true").whole)
    assert events[-1]["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"]
    assert events[-1]["usage"]["total_tokens"] > 0


def test_old_models_and_translations_do_not_stream() -> None:
    assert hear(stream="true", model="demo-whisper").kind == "json"
    assert hear("translations", stream="true").kind == "json"


def test_a_missing_or_empty_file_is_refused() -> None:
    assert hear(data=b"").status == 400
    script = script_of_form("/v1/audio/transcriptions", {"model": "demo"})
    assert orjson.loads(script.whole)["error"]["param"] == "file"
    assert hear(response_format="doc").status == 400
