"""A request for pictures, read into the hub: one turn of the user's, the pictures before the text.

It comes as JSON, or as a form, whose texts stand for numbers and switches. What the two endpoints
can ask and nobody else can is kept with what its loss means: a mask is the point of a request, a
quality is not. Values that say what is usual anyway say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from relayd.errors import BadCall
from relayd.wire import checked, media
from relayd.wire.neutral import Message, Output, Picture, Request
from relayd.wire.parts import Document, Extra, Extras, Image, Loss, Text
from relayd.wire.paths import Target
from relayd.wire.pictures.sizes import Pixels, pixels

MOST: Final = 10  # pictures that a request may ask for
MOST_SHOWN: Final = 16  # that it may bring along
LOSSES: Final[Mapping[str, Loss]] = {
    "background": "refuse",
    "input_fidelity": "lenient",
    "markup": "refuse",
    "mask": "refuse",
    "moderation": "drop",
    "output_compression": "lenient",
    "output_format": "drop",
    "partial_images": "drop",
    "quality": "drop",
    "response_format": "lenient",
    "safety_identifier": "silent",
    "style": "drop",
    "user": "silent",
}
# What is so anyway.
_USUAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "background": ("auto", "opaque"),
    "input_fidelity": ("low",),
    "moderation": ("auto",),
    "output_compression": (100,),
    "output_format": ("png",),
    "partial_images": (0,),
    "quality": ("auto", "standard", "medium"),
    "response_format": ("b64_json",),
}
# Forms of a picture that no other provider draws.
_MOVING: Final = ("gif", "svg")
_BODY: Final = frozenset({"model", "prompt", "n", "size", "stream", "image", "image[]", "images"})
_NUMBERS: Final = frozenset({"n", "partial_images", "output_compression"})
_SWITCHES: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}
PLACES: Final = {"n": "n", "modalities": "model", "image": "size"}


class Upload(NamedTuple):
    """A file of a form: the field that it stands in, and its bytes."""

    name: str
    content_type: str
    data: bytes


def decode(document: Document, target: Target) -> Request:
    """The request in `document`. Raises BadCall."""
    edits = target.verb.endswith("edits")
    prompt = checked.needed(document, "prompt")
    count = checked.whole(document, "n", least=1) or 1
    if count > MOST:
        message = f"`n` must be at most {MOST}."
        raise BadCall(message, code="integer_above_max_value", param="n")
    shown = list(_shown(document)) if edits else []
    if edits and not shown:
        raise checked.missing("image")
    size = _size(document)
    return Request(
        source="chat",
        model=checked.string(document, "model") or "",
        messages=[Message("user", [*shown, Text(prompt, at="prompt")])],
        output=Output(
            modalities=["text", "image"],
            picture=Picture(count, edits, *(size or (0, 0))),
        ),
        stream=checked.flag(document, "stream") or False,
        places=dict(PLACES),
        extra=_extra(document),
    )


def _size(document: Document) -> Pixels | None:
    said = checked.string(document, "size")
    if said in (None, "", "auto"):
        return None
    found = pixels(said)
    if found is None:
        raise checked.wrong("size", "auto, or a width and a height such as 1024x1024")
    return found


def _extra(document: Document) -> Extras:
    found = checked.rest(document, _BODY, LOSSES)
    for name, (value, _) in found.items():
        if value in _USUAL.get(name, ()):
            found[name] = Extra(value, "silent")
        elif name == "output_format" and value in _MOVING:
            found[name] = Extra(value, "lenient")
    return found


# --- the pictures that are to be changed ----------------------------------------------------------


def _shown(document: Document) -> Iterator[Image]:
    for number, (at, value) in enumerate(_named(document)):
        if number >= MOST_SHOWN:
            raise BadCall(f"`{at}` is one picture too many.", code="invalid_value", param=at)
        yield _picture(value, at)


def _named(document: Document) -> Iterator[tuple[str, object]]:
    """The pictures of a JSON body, each with where it stands: `images`, or `image` as some hosts
    have it."""
    for name in ("images", "image", "image[]"):
        value = document.get(name)
        if isinstance(value, list):
            yield from ((f"{name}[{index}]", each) for index, each in enumerate(value))
        elif value is not None:
            yield name, value


def _picture(value: object, at: str) -> Image:
    """One picture: its bytes, a URL, or a file's id."""
    source = value
    if isinstance(value, Image):  # of a form
        return Image(_checked(value.mime, value.data, at), value.data, at=at)
    if isinstance(value, dict):
        if isinstance(value.get("file_id"), str):
            return Image(file_id=value["file_id"], at=at)
        source = value.get("image_url") or value.get("url")
        if isinstance(source, dict):  # as in chat
            source = source.get("url")
    if not isinstance(source, str) or not source:
        raise checked.wrong(at, "a picture: a URL or a data URL")
    if source[:8].lower().startswith(("http://", "https://")):
        return Image(url=source, at=at)
    inline = media.data_url(source)
    if inline is None:
        raise BadCall(f"`{at}` holds no valid base64.", code="invalid_base64_image", param=at)
    return Image(_checked(inline.mime, inline.data, at), inline.data, at=at)


def _checked(mime: str, data: str, at: str) -> str:
    """The type of a picture: what its first bytes show, before what anybody says of it."""
    shown = media.sniffed("", data) or mime
    if not shown.startswith("image/"):
        raise BadCall(f"`{at}` is no picture.", code="invalid_image_format", param=at)
    return shown


# --- forms ----------------------------------------------------------------------------------------


def spelled(fields: Mapping[str, str], uploads: Iterable[Upload]) -> Document:
    """The document that a form says, with the pictures in it as parts. Raises BadCall.

    Arguments:
        fields: its texts.
        uploads: its files; those that are no picture to be changed (a mask) are named only.
    """
    document: Document = {
        name: _value(name, text.strip()) for name, text in fields.items() if text.strip()
    }
    shown: list[Image] = []
    for name, content_type, data in uploads:
        if name.partition("[")[0] in ("image", "images"):
            shown.append(Image(_kind(content_type), media.encoded(data)))
        else:
            document.setdefault(name.partition("[")[0], True)
    if shown:
        document["image"] = shown
    return document


def _kind(content_type: str) -> str:
    """The type alone."""
    return content_type.partition(";")[0].strip().lower()


def _value(name: str, text: str) -> object:
    if name == "stream":
        if text.lower() not in _SWITCHES:
            raise checked.wrong(name, "true or false")
        return _SWITCHES[text.lower()]
    if name not in _NUMBERS:
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise checked.wrong(name, "a whole number")
    return int(text)
