"""The head of a request for pictures, speech, a transcript, a moderation or a ranking.

Only what the relay itself relies on is looked at: the model, whether a stream is wanted, and what
the request will be billed by (`Head.asked`). All else is for the upstream to judge. In a form all
values are texts; the number of pictures and the switch for a stream are read from those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relayd.errors import BadCall
from relayd.model import Operation, Usage
from relayd.wire import lengths, units
from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    estimated_input,
    read_object,
)
from relayd.wire.multipart import File, Form
from relayd.wire.paths import Target

MOST_RECORDINGS = 4  # files in one request: a transcript is of one, and each has to be looked at
MOST_CHOICES = 1000  # pictures that are reserved for; whoever asks for more is refused elsewhere
_PICTURE_SHOWN = 1056  # tokens of a picture that a request brings along
_SWITCHES = {"true": True, "1": True, "false": False, "0": False, "": False}

Values = Mapping[str, Any]


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of a request in JSON; BadCall when the body is no request."""
    value = read_object(body)
    model = checked_model(value.get("model"))
    stream = checked_stream(value.get("stream")) or _speaks_in_events(value)
    head = Head(target, model, stream, body, (), True, estimated_input(body), value)
    _ASKED[target.operation](head, value)
    return head


def head_of_form(form: Form, target: Target, default: str | None = None) -> Head:
    """The same of a form; `default` is the model of one that names none."""
    model = checked_model(form.model or default)
    stream = _switch(form.fields.get("stream", ""))
    head = Head(target, model, stream, b"", (), True, 0, {}, form=form)
    _ASKED[target.operation](head, form.fields)
    return head


def _speaks_in_events(value: Values) -> bool:
    return value.get("stream_format") == "sse"


def _switch(text: str) -> bool:
    switch = _SWITCHES.get(text.strip().lower())
    if switch is None:
        message = "The field `stream` must be `true` or `false`."
        raise BadCall(message, code="invalid_type", param="stream")
    return switch


# --- what is asked for, by operation --------------------------------------------------------------


def _pictures(head: Head, value: Values) -> None:
    head.choices = _count(value.get("n"))
    head.asked = Usage(images=head.choices)
    if head.form is not None:
        shown = len(head.form.files)
    else:  # in base64 they would look like millions of tokens
        shown = sum(_entries(value.get(name)) for name in ("images", "image", "mask"))
    prompt = value.get("prompt")
    text = len(prompt) // 4 + 1 if isinstance(prompt, str) else 0
    head.input_estimate = text + _PICTURE_SHOWN * shown


def _entries(value: object) -> int:
    return len(value) if isinstance(value, list) else int(value is not None)


def _count(value: object) -> int:
    """How many pictures; BadCall for what is no whole number. One that is out of bounds is the
    upstream's to refuse."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text or None
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadCall("The field `n` must be a whole number.", code="invalid_type", param="n")
    return min(max(value, 1), MOST_CHOICES)


def _speech(head: Head, value: Values) -> None:
    text = value.get("input")
    if text is None:
        message = "The request has nothing to say: the field `input` is required."
        raise BadCall(message, code="missing_required_parameter", param="input")
    if not isinstance(text, str):
        raise BadCall("The field `input` must be a string.", code="invalid_type", param="input")
    head.asked = Usage(characters=len(text))
    head.max_output = units.spoken(len(text))


def _transcript(head: Head, value: Values) -> None:
    length = _length(head)
    head.asked = Usage(audio_ms=length)
    head.input_estimate = units.heard(length)
    head.max_output = units.written(length)


def _length(head: Head) -> int:
    """Milliseconds of all the audio that came along."""
    form = head.form
    if form is None:  # in some way of the upstream's own, such as base64
        return lengths.milliseconds(lambda start, end: b"", len(head.body) * 3 // 4)
    if not form.files:
        message = "The request has no recording: the file `file` is required."
        raise BadCall(message, code="missing_required_parameter", param="file")
    if len(form.files) > MOST_RECORDINGS:
        message = f"A request has at most {MOST_RECORDINGS} files."
        raise BadCall(message, code="too_many_files", param="file")
    return sum(lengths.milliseconds(_reader(form, file), file.size) for file in form.files)


def _reader(form: Form, file: File) -> Callable[[int, int], bytes]:
    return lambda start, end: form.spool.read(file.start + start, file.start + end)


def _moderation(head: Head, value: Values) -> None:
    head.asked, head.max_output = Usage(), 0


def _ranking(head: Head, value: Values) -> None:
    documents = value.get("documents")
    count = len(documents) if isinstance(documents, list) else 1
    head.asked = Usage(searches=max(-(-count // units.DOCUMENTS_OF_A_SEARCH), 1))
    head.max_output = 0


_ASKED: Mapping[Operation, Callable[[Head, Values], None]] = {
    "image": _pictures,
    "speech": _speech,
    "transcribe": _transcript,
    "moderate": _moderation,
    "rerank": _ranking,
}
OPERATIONS = frozenset(_ASKED)
