"""A conversation, written as an order for a picture."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.gemini.decode import decode
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.multipart import form_of
from relayd.wire.neutral import Message, Request
from relayd.wire.parts import Document, Image, Text
from relayd.wire.paths import Target
from relayd.wire.pictures.decode import MOST_SHOWN
from relayd.wire.pictures.encode import encode, form
from relayd.wire.setting import Going

ASKED = Target("gemini", "generate", "m", verb="generateContent")
PNG = "iVBORw0KGgo="
DRAWN = {"inlineData": {"mimeType": "image/png", "data": PNG}}
CAT = {"text": "A cat"}


def written(
    *parts: Document, can: Capability = UNKNOWN, lenient: bool = False, **more: Any
) -> tuple[Document, tuple[str, ...]]:
    body = {"contents": [{"role": "user", "parts": list(parts)}]} | more
    going = Going("chat", "up", can, Losses("chat", lenient=lenient))
    return encode(decode(body, ASKED), going).document, going.losses.dropped


def refused(*parts: Document, **more: Any) -> str | None:
    with pytest.raises(CannotTranslate) as caught:
        written(*parts, **more)
    return caught.value.param


def config(**more: Any) -> Document:
    return {"generationConfig": more}


def test_all_that_the_user_says_is_the_prompt() -> None:
    contents = [
        {"role": "user", "parts": [CAT]},
        {"role": "model", "parts": [{"text": "Here."}, DRAWN, {"text": "hm", "thought": True}]},
        {"role": "user", "parts": [{"text": "More"}, {"text": " "}]},
    ]
    document, dropped = written(contents=contents, systemInstruction={"parts": [{"text": "Nice"}]})
    assert document.pop("image") == [
        Image("image/png", PNG, at="contents[1].parts[1]"),
    ]
    assert document == {"model": "up", "prompt": "Nice\nA cat\nMore"}
    assert dropped == ()


def test_how_many_and_how_large_is_said() -> None:
    image = {"aspectRatio": "16:9", "imageSize": "2K"}
    document, _ = written(CAT, **config(candidateCount=2, imageConfig=image))
    assert document == {"model": "up", "prompt": "A cat", "n": 2, "size": "2752x1536"}
    sizes = Capability(picture_sizes=("1024x1024", "1536x1024"))
    document, _ = written(CAT, can=sizes, **config(imageConfig=image, candidateCount=1))
    assert document == {"model": "up", "prompt": "A cat", "size": "1536x1024"}
    document, _ = written(CAT, **config(imageConfig={}))
    assert "size" not in document


def test_what_is_about_words_is_reported() -> None:
    more = config(
        temperature=1.0,
        maxOutputTokens=9,
        stopSequences=["x"],
        thinkingConfig={"thinkingBudget": 0},
        responseModalities=["TEXT", "IMAGE"],
    )
    document, dropped = written(CAT, **more)
    assert document == {"model": "up", "prompt": "A cat"}
    at = "generationConfig."
    names = ("temperature", "maxOutputTokens", "stopSequences", "thinkingConfig")
    assert dropped == tuple(at + name for name in names)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        (config(responseModalities=["TEXT"]), "generationConfig.responseModalities"),
        (config(responseMimeType="application/json"), "generationConfig.responseJsonSchema"),
        (config(candidateCount=11), "generationConfig.candidateCount"),
        (config(imageConfig={"imageSize": "9K"}), "generationConfig.imageConfig"),
        (
            config(imageConfig={"personGeneration": "x"}),
            "generationConfig.imageConfig.personGeneration",
        ),
        ({"tools": [{"googleSearch": {}}]}, "tools[0]"),
        ({"contents": [{"parts": [DRAWN]}]}, "contents"),
        ({"cachedContent": "x"}, "cachedContent"),
    ],
)
def test_what_is_no_order_for_a_picture_is_refused(more: Document, param: str) -> None:
    assert refused(CAT, **more) == param


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        {"functionCall": {"name": "f", "args": {}}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.png"}},
    ],
)
def test_what_cannot_be_shown_is_refused(part: Document) -> None:
    assert refused(CAT, part) == "contents[0].parts[1]"


def test_who_could_not_be_shown_a_picture_is_refused_one() -> None:
    said = Message("user", [Text("A cat")])
    with pytest.raises(CannotTranslate) as caught:
        encode(
            Request(source="messages", model="m", messages=[said]),
            Going("chat", "up", UNKNOWN, Losses("chat")),
        )
    assert caught.value.param == "model"


def test_where_it_is_lenient_tools_are_left_out() -> None:
    document, dropped = written(CAT, lenient=True, tools=[{"googleSearch": {}}])
    assert document == {"model": "up", "prompt": "A cat"}
    assert dropped == ("tools[0]",)


def test_the_last_pictures_are_the_ones_to_be_changed() -> None:
    document, _ = written(CAT, *[DRAWN] * (MOST_SHOWN + 2))
    assert len(document["image"]) == MOST_SHOWN
    assert document["image"][0].at == "contents[0].parts[3]"


@pytest.mark.parametrize(("number", "name"), [(1, "image"), (2, "image[]")])
def test_an_edit_is_a_form(number: int, name: str) -> None:
    document, _ = written(CAT, *[DRAWN] * number, **config(candidateCount=3))
    kind, body = form(document)
    assert form(document) == (kind, body)
    found = form_of(kind.decode(), body)
    assert found.fields == {"model": "up", "prompt": "A cat", "n": "3"}
    assert [file.name for file in found.files] == [name] * number
    for index, file in enumerate(found.files):
        assert (file.filename, file.content_type) == (f"image-{index}.png", "image/png")
        assert found.read(file) == b64decode(PNG)


def test_a_form_may_hold_any_text() -> None:
    prompt = 'Ä "cat"\r\n--relayd-\r\n'
    document = {"model": "m", "prompt": prompt, "image": [Image("image/svg+xml", "AAAA")]}
    kind, body = form(document)
    found = form_of(kind.decode(), body)
    assert found.fields["prompt"] == prompt
    assert found.files[0].filename == "image-0.svg"


@pytest.mark.parametrize("mime", ["", "text/plain", "image/png\r\nx: y", "image/"])
def test_what_a_client_calls_a_picture_does_not_stand_in_a_header(mime: str) -> None:
    _, body = form({"model": "m", "prompt": "p", "image": [Image(mime, "AAAA")]})
    assert b"content-type: image/png\r\n\r\n" in body


def test_a_wrong_request_is_wrong_here_too() -> None:
    with pytest.raises(BadCall):
        written({"text": 7})
