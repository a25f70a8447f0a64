"""OpenAI's audio endpoints: speech, transcriptions, translations.

Speech is as long as its text; a transcription tells which file it heard, and how many bytes of it,
so that a file that was changed on the way shows. Usage is in tokens, and in seconds for names with
`whisper`, as at OpenAI.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

from relayd.demo.ask import Document, tokens_of
from relayd.demo.events import data_event
from relayd.demo.form import Upload
from relayd.demo.refusal import Refusal
from relayd.demo.script import Script
from relayd.demo.sound import TYPES, seconds_of, sound
from relayd.demo.task import Task, Work, usage_of

LONGEST_INPUT: Final = 4096
MOST_BYTES: Final = 256 * 1024 * 1024
SECONDS_A_CHARACTER: Final = 0.06
TOKENS_A_SECOND: Final = 10
_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")


def _speech(task: Task) -> Script:
    text = task.demand("input")
    if len(text) > LONGEST_INPUT:
        message = f"Invalid 'input': string too long. Expected at most {LONGEST_INPUT} characters."
        raise Refusal(400, message, code="string_above_max_length", param="input")
    kind = task.text("response_format", "mp3")
    if kind not in TYPES:
        raise Refusal(400, f"Invalid value: '{kind}'.", param="response_format")
    seconds = len(text) * SECONDS_A_CHARACTER
    pieces = list(sound(kind, seconds, int(task.name.number("size", 0, MOST_BYTES))))
    if task.text("stream_format") != "sse":
        return task.paced(pieces, TYPES[kind], "bytes", 0)
    usage = _tokens(tokens_of(len(text.encode())), 0, int(seconds * TOKENS_A_SECOND) + 1)
    events = [
        data_event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        for piece in pieces
    ]
    done = {"type": "speech.audio.done", **usage_of(task, usage)}
    return task.stream([*events, data_event(done)])


def _tokens(text: int, audio: int, output: int) -> Document:
    usage: Document = {
        "type": "tokens",
        "input_tokens": text + audio,
        "output_tokens": output,
        "total_tokens": text + audio + output,
    }
    if audio:
        usage["input_token_details"] = {"text_tokens": text, "audio_tokens": audio}
    return usage


def _transcription(task: Task) -> Script:
    return _heard(task, "transcribe")


def _translation(task: Task) -> Script:
    return _heard(task, "translate")


def _heard(task: Task, what: str) -> Script:
    file = next((upload for upload in task.files if upload.field == "file"), None)
    if file is None:
        raise Refusal(400, "Missing required parameter: 'file'.", param="file")
    if not file.data:
        message = "Audio file might be corrupted or unsupported"
        raise Refusal(400, message, code="invalid_value", param="file")
    format = task.text("response_format", "json")
    if format not in _FORMATS:
        raise Refusal(400, f"Invalid value: '{format}'.", param="response_format")
    text = _text(file)
    # The old models ignore the flag, and translations never stream.
    if task.flag("stream") and what == "transcribe" and "whisper" not in task.name.model:
        return _streamed(task, file, text)
    if format in _PLAIN:
        return task.plain(_PLAIN[format](text, seconds_of(file.data)))
    if format == "verbose_json":
        return task.whole(_verbose(task, file, text, what))
    return task.whole({"text": text, **usage_of(task, _usage(task, file, text))})


def _text(file: Upload) -> str:
    digest = hashlib.blake2b(file.data, digest_size=8).hexdigest()
    return f"You sent {file.filename}, {len(file.data)} bytes, digest {digest}."


def _usage(task: Task, file: Upload, text: str) -> Document:
    seconds = seconds_of(file.data)
    if "whisper" in task.name.model:
        return {"type": "duration", "seconds": max(1, round(seconds))}
    prompt = tokens_of(len(task.text("prompt").encode()))
    return _tokens(prompt, int(seconds * TOKENS_A_SECOND) + 1, tokens_of(len(text.encode())))


def _verbose(task: Task, file: Upload, text: str, what: str) -> Document:
    seconds = round(seconds_of(file.data), 3)
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": text,
        "tokens": [50364],
        "temperature": 0.0,
        "avg_logprob": -0.2,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }
    usage = {"type": "duration", "seconds": max(1, round(seconds))}
    return {
        "task": what,
        "language": "english",
        "duration": seconds,
        "text": text,
        "segments": [segment],
        **usage_of(task, usage),
    }


def _srt(text: str, seconds: float) -> str:
    return f"1\n{_clock(0, ',')} --> {_clock(seconds, ',')}\n{text}\n\n"


def _vtt(text: str, seconds: float) -> str:
    return f"WEBVTT\n\n{_clock(0, '.')} --> {_clock(seconds, '.')}\n{text}\n\n"


def _clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


_PLAIN: Final[dict[str, Callable[[str, float], str]]] = {
    "text": lambda text, seconds: text + "\n",
    "srt": _srt,
    "vtt": _vtt,
}


def _streamed(task: Task, file: Upload, text: str) -> Script:
    words = re.findall(r"\s*\S+", text)
    events = [data_event({"type": "transcript.text.delta", "delta": word}) for word in words]
    usage = usage_of(task, _usage(task, file, text))
    return task.stream(
        [*events, data_event({"type": "transcript.text.done", "text": text, **usage})]
    )


WORKS: Final[dict[str, Work]] = {
    "/v1/audio/speech": _speech,
    "/v1/audio/transcriptions": _transcription,
    "/v1/audio/translations": _translation,
}
