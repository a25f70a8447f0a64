"""Heads of requests for pictures, audio, moderations and rankings, from JSON and from forms."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.errors import BadCall
from relayd.model import Usage
from relayd.wire import units
from relayd.wire.chat.media import MOST_CHOICES, head_of_form, read_head
from relayd.wire.head import Head
from relayd.wire.multipart import Form, form_of
from relayd.wire.paths import TAILS

SECOND = bytes(8000)  # of audio that says nothing of itself


def of(tail: str, **fields: Any) -> Head:
    return read_head(orjson.dumps({"model": "m", **fields}), TAILS[tail])


def form(*files: tuple[str, bytes], **fields: str) -> Form:
    parts = [
        b'--x\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (name.encode(), value.encode())
        for name, value in fields.items()
    ]
    parts += [
        b'--x\r\ncontent-disposition: form-data; name="%b"; filename="f"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return form_of("multipart/form-data; boundary=x", b"".join(parts) + b"--x--\r\n")


def of_form(tail: str, *files: tuple[str, bytes], **fields: str) -> Head:
    return head_of_form(form(*files, model="m", **fields), TAILS[tail])


@pytest.mark.parametrize(
    ("n", "pictures"), [(None, 1), (1, 1), (4, 4), (0, 1), (-3, 1), (10**9, MOST_CHOICES)]
)
def test_as_many_pictures_are_reserved_as_are_asked_for(n: object, pictures: int) -> None:
    head = of("images/generations", prompt="a cat", n=n)

    assert (head.asked, head.choices) == (Usage(images=pictures), pictures)
    assert (head.model, head.stream, head.max_output) == ("m", False, None)


@pytest.mark.parametrize("n", ["two", True, 1.5, [1], "1.5", "1" * 30])
def test_a_number_of_pictures_that_is_none_is_refused(n: object) -> None:
    with pytest.raises(BadCall) as caught:
        of("images/generations", n=n)

    assert (caught.value.status, caught.value.param) == (400, "n")


def test_a_stream_is_asked_for_in_json() -> None:
    assert of("images/generations", stream=True).stream
    assert of("audio/speech", input="Hi", stream_format="sse").stream
    assert not of("audio/speech", input="Hi", stream_format="audio").stream
    with pytest.raises(BadCall, match="stream"):
        of("images/generations", stream="yes")


@pytest.mark.parametrize(
    ("text", "stream"), [("true", True), ("True", True), ("1", True), ("false", False), ("", False)]
)
def test_a_stream_is_asked_for_in_a_form(text: str, stream: bool) -> None:
    assert of_form("images/edits", ("image", b"png"), stream=text).stream is stream


def test_a_switch_that_is_none_is_refused() -> None:
    with pytest.raises(BadCall) as caught:
        of_form("images/edits", ("image", b"png"), stream="maybe")

    assert caught.value.param == "stream"


def test_a_form_of_pictures_has_its_pictures_and_its_text() -> None:
    head = of_form("images/edits", ("image[]", b"one"), ("image[]", b"two"), prompt="x" * 39, n="3")

    assert (head.asked, head.choices, head.body) == (Usage(images=3), 3, b"")
    assert head.input_estimate == 2 * 1056 + 39 // 4 + 1
    assert head.form is not None and len(head.form.files) == 2


def test_a_picture_in_base64_is_a_picture_and_not_its_letters() -> None:
    picture = {"image_url": "data:image/png;base64," + "A" * 100_000}

    edit = of("images/edits", prompt="a cat", images=[picture, picture], mask=picture)
    assert edit.input_estimate == 3 * 1056 + 2
    assert of("images/generations", prompt=["a"]).input_estimate == 0


@pytest.mark.parametrize("n", ["", " 2 ", "x"])
def test_a_number_in_a_form_is_a_text(n: str) -> None:
    if n == "x":
        with pytest.raises(BadCall):
            of_form("images/edits", ("image", b"png"), n=n)
    else:
        assert of_form("images/edits", ("image", b"png"), n=n).choices == int(n.strip() or 1)


def test_a_form_without_a_model_is_refused() -> None:
    with pytest.raises(BadCall) as caught:
        head_of_form(form(("file", SECOND)), TAILS["audio/transcriptions"])

    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "model")


def test_a_form_that_names_no_model_may_have_a_default() -> None:
    pictures = form(("image", b"png"))

    assert head_of_form(pictures, TAILS["images/edits"], "usual").model == "usual"
    named = form(("image", b"png"), model="own")
    assert head_of_form(named, TAILS["images/edits"], "usual").model == "own"


def test_speech_is_counted_in_characters() -> None:
    head = of("audio/speech", input="Grüße!")

    assert head.asked == Usage(characters=6)
    assert head.max_output == units.spoken(6)


@pytest.mark.parametrize(
    ("said", "code"), [(None, "missing_required_parameter"), (["a"], "invalid_type")]
)
def test_speech_needs_a_text(said: object, code: str) -> None:
    with pytest.raises(BadCall) as caught:
        of("audio/speech", input=said)

    assert (caught.value.code, caught.value.param) == (code, "input")


def test_a_transcript_is_as_long_as_its_recordings() -> None:
    head = of_form("audio/transcriptions", ("file", SECOND), ("file", SECOND))

    assert head.asked == Usage(audio_ms=2000)
    assert (head.input_estimate, head.max_output) == (units.heard(2000), units.written(2000))


def test_a_transcript_needs_a_recording() -> None:
    with pytest.raises(BadCall) as caught:
        of_form("audio/transcriptions")

    assert caught.value.param == "file"


def test_a_recording_in_json_is_measured_as_base64() -> None:
    asked = of("audio/transcriptions", file="A" * 16_000).asked

    assert asked is not None and asked.audio_ms is not None
    assert 1500 <= asked.audio_ms < 1510


@pytest.mark.parametrize(("documents", "searches"), [(1, 1), (100, 1), (101, 2), (0, 1)])
def test_a_ranking_is_a_search_for_every_hundred_texts(documents: int, searches: int) -> None:
    head = of("rerank", query="a", documents=["b"] * documents)

    assert (head.asked, head.max_output) == (Usage(searches=searches), 0)


def test_a_ranking_of_nothing_known_and_a_moderation_have_no_reply_to_pay_for() -> None:
    assert of("rerank", documents="b").asked == Usage(searches=1)
    head = of("moderations", input="a")
    assert (head.asked, head.max_output, head.input_estimate) == (Usage(), 0, len(head.body) // 4)


def test_recordings_are_few_because_each_is_looked_at() -> None:
    """Before: 127 files of 0xff, 4 kB each, held everybody up for a quarter of a second."""
    files = b"".join(
        b'--B\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n\xff\xff\r\n'
        for _ in range(5)
    )
    named = b'--B\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    form = form_of("multipart/form-data; boundary=B", named + files + b"--B--\r\n")
    with pytest.raises(BadCall) as caught:
        head_of_form(form, TAILS["audio/transcriptions"])
    assert (caught.value.status, caught.value.param) == (400, "file")
