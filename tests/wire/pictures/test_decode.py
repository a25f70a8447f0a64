"""A request for pictures, as JSON and as a form."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import Picture, Request
from relayd.wire.parts import Image, Text
from relayd.wire.paths import Target
from relayd.wire.pictures.decode import MOST_SHOWN, Upload, decode, spelled

GENERATIONS = Target("chat", "image", verb="images/generations")
EDITS = Target("chat", "image", verb="images/edits")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(9)
DATA = b64encode(PNG).decode()
URL = f"data:image/png;base64,{DATA}"


def asked(target: Target = GENERATIONS, **more: Any) -> Request:
    return decode({"model": "m", "prompt": "A cat"} | more, target)


def edited(**more: Any) -> Request:
    return asked(EDITS, **more)


def lost(request: Request, *, lenient: bool = False) -> tuple[str, ...]:
    losses = Losses("gemini", lenient=lenient)
    losses.of_request(request)
    return losses.dropped


def test_the_prompt_is_one_turn_of_the_users() -> None:
    request = asked(n=3, size="1536x1024", stream=True)
    (message,) = request.messages
    assert message.role == "user"
    assert message.parts == [Text("A cat", at="prompt")]
    assert request.output.picture == Picture(3, False, 1536, 1024)
    assert request.output.modalities == ["text", "image"]
    assert (request.model, request.stream, request.sampling.n) == ("m", True, None)


@pytest.mark.parametrize("size", [None, "", "auto"])
def test_a_size_may_be_left_to_the_model(size: object) -> None:
    assert asked(size=size).output.picture == Picture()


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["A cat"]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": "2"}, "n"),
        ({"size": "large"}, "size"),
        ({"size": 1024}, "size"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadCall) as caught:
        asked(**more)
    assert (caught.value.status, caught.value.param) == (400, param)


USUAL: dict[str, Any] = {
    "background": "opaque",
    "input_fidelity": "low",
    "moderation": "auto",
    "output_compression": 100,
    "output_format": "png",
    "partial_images": 0,
    "quality": "medium",
    "response_format": "b64_json",
    "user": "me",
    "safety_identifier": "me",
}


def test_what_is_usual_anyway_is_lost_in_silence() -> None:
    assert lost(asked(**USUAL)) == ()


def test_what_is_about_how_well_is_reported() -> None:
    more: dict[str, Any] = {
        "quality": "high",
        "style": "vivid",
        "moderation": "low",
        "partial_images": 2,
    }
    assert lost(asked(**more, output_format="webp")) == (*more, "output_format")


@pytest.mark.parametrize(
    ("more", "always"),
    [
        ({"background": "transparent"}, True),
        ({"markup": "x"}, True),
        ({"mask": {"image_url": URL}}, True),
        ({"input_fidelity": "high"}, False),
        ({"output_compression": 50}, False),
        ({"output_format": "svg"}, False),
        ({"response_format": "url"}, False),
        ({"complexity": "high"}, False),
        ({"frame_count": 3}, False),
    ],
)
def test_what_is_the_point_of_a_request_is_refused(more: dict[str, Any], always: bool) -> None:
    (name,) = more
    request = asked(**more)
    with pytest.raises(CannotTranslate) as caught:
        lost(request)
    assert caught.value.param == name
    if always:
        with pytest.raises(CannotTranslate):
            lost(request, lenient=True)
    else:
        assert lost(request, lenient=True) == (name,)


# --- pictures that are to be changed --------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "ats"),
    [
        ({"images": [{"image_url": URL}, {"image_url": URL}]}, ["images[0]", "images[1]"]),
        ({"images": [{"image_url": {"url": URL}}]}, ["images[0]"]),
        ({"image": URL}, ["image"]),
        ({"image": [URL, {"url": URL}]}, ["image[0]", "image[1]"]),
        ({"image[]": [URL]}, ["image[][0]"]),
    ],
)
def test_pictures_come_in_all_spellings(more: dict[str, Any], ats: list[str]) -> None:
    request = edited(**more)
    *shown, text = request.messages[0].parts
    assert shown == [Image("image/png", DATA, at=at) for at in ats]
    assert text == Text("A cat", at="prompt")
    assert request.output.picture == Picture(edits=True)


def test_a_picture_may_be_somewhere_else() -> None:
    images = [{"image_url": "https://a.example/b.png"}, {"file_id": "file-1"}]
    *shown, _ = edited(images=images).messages[0].parts
    assert shown == [
        Image(url="https://a.example/b.png", at="images[0]"),
        Image(file_id="file-1", at="images[1]"),
    ]


def test_the_first_bytes_say_what_a_picture_is() -> None:
    *shown, _ = edited(image=f"data:image/webp;base64,{DATA}").messages[0].parts
    assert shown == [Image("image/png", DATA, at="image")]
    *shown, _ = edited(image="data:image/heic;base64,AAAA").messages[0].parts
    assert shown == [Image("image/heic", "AAAA", at="image")]


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("data:text/plain;base64,AAAA", "invalid_image_format"),
        ("data:image/png;base64,$$", "invalid_base64_image"),
        ("AAAA", "invalid_base64_image"),
        ("", "invalid_type"),
        ({}, "invalid_type"),
        (7, "invalid_type"),
        ({"file_id": 7}, "invalid_type"),
    ],
)
def test_what_is_no_picture_is_refused(image: object, code: str) -> None:
    with pytest.raises(BadCall) as caught:
        edited(image=image)
    assert (caught.value.code, caught.value.param) == (code, "image")


def test_an_edit_without_a_picture_is_refused() -> None:
    with pytest.raises(BadCall) as caught:
        edited()
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "image")


def test_too_many_pictures_are_refused() -> None:
    assert len(edited(image=[URL] * MOST_SHOWN).messages[0].parts) == MOST_SHOWN + 1
    with pytest.raises(BadCall) as caught:
        edited(image=[URL] * (MOST_SHOWN + 1))
    assert caught.value.param == f"image[{MOST_SHOWN}]"


def test_pictures_are_of_no_interest_to_who_wants_new_ones() -> None:
    assert asked(image=URL).messages[0].parts == [Text("A cat", at="prompt")]


# --- forms ----------------------------------------------------------------------------------------


def test_a_form_says_the_same_as_json() -> None:
    fields = {
        "model": "m",
        "prompt": "A cat",
        "n": " 2 ",
        "stream": "true",
        "partial_images": "0",
        "size": "1024x1024",
        "quality": "",
        "svg[model]": "x",
    }
    uploads = [Upload("image[]", "image/jpeg; a=b", PNG), Upload("image[]", "text/plain", PNG)]
    assert spelled(fields, uploads) == {
        "model": "m",
        "prompt": "A cat",
        "n": 2,
        "stream": True,
        "partial_images": 0,
        "size": "1024x1024",
        "svg[model]": "x",
        "image": [Image("image/jpeg", DATA), Image("text/plain", DATA)],
    }
    *shown, _ = decode(spelled(fields, uploads), EDITS).messages[0].parts
    assert shown == [Image("image/png", DATA, at=f"image[{index}]") for index in range(2)]


def test_a_file_that_is_no_picture_is_refused() -> None:
    document = spelled({"prompt": "x"}, [Upload("image", "text/plain", b"No picture.")])
    with pytest.raises(BadCall) as caught:
        decode(document, EDITS)
    assert (caught.value.code, caught.value.param) == ("invalid_image_format", "image[0]")


def test_another_file_is_named_only() -> None:
    assert spelled({}, [Upload("mask", "image/png", PNG)]) == {"mask": True}


@pytest.mark.parametrize(
    ("name", "text"), [("n", "two"), ("n", "-1"), ("n", "9" * 19), ("stream", "maybe")]
)
def test_a_text_that_stands_for_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadCall) as caught:
        spelled({name: text}, [])
    assert caught.value.param == name
