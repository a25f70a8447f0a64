"""A request of the hub, written for a model that does nothing but draw.

All that the user says is the prompt, all pictures of the history are there to be changed: then it
is an edit. What such a model has no use for, because it is about words, is reported and left out;
a conversation that cannot be meant as an order for a picture is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

from relayd.wire import media
from relayd.wire.names import Names
from relayd.wire.neutral import Request, Sampling
from relayd.wire.parts import Document, Image, Media, Opaque, Part, Reasoning, Text
from relayd.wire.pictures import sizes
from relayd.wire.pictures.decode import MOST, MOST_SHOWN
from relayd.wire.setting import Going, Written

_SIZED: Final = frozenset({"aspectRatio", "imageSize"})
_PICTURELESS: Final = frozenset({"messages"})
_MIME: Final = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,40}")
SHOWN: Final = "image"  # the member, and the field of a form, that holds what is to be changed


def encode(request: Request, going: Going) -> Written:
    """The body for an image endpoint; where it has pictures, that of edits. Raises
    CannotTranslate."""
    going.losses.of_request(request)
    _check(request, going)
    document: Document = {"model": going.model, "prompt": _prompt(request, going)}
    count = request.sampling.n or 1
    if count > MOST:
        why = f"it draws {MOST} pictures at most"
        raise going.losses.refusal(request.param("n"), why, code="unsupported_value")
    if count > 1:
        document["n"] = count
    size = _size(request, going)
    if size:
        document["size"] = size
    shown = [_shown(part, going) for part in request.parts() if isinstance(part, Image)]
    if shown:
        document[SHOWN] = shown[-MOST_SHOWN:]
    return Written(document, Names([], "chat"))


def _check(request: Request, going: Going) -> None:
    """Ask for all that is about words, and not about a picture."""
    losses, output = going.losses, request.output
    if request.source in _PICTURELESS:
        why = f"this model only draws, and an answer in the {request.source} format has no pictures"
        raise losses.refusal("model", why, code="unsupported_value")
    if output.modalities and "image" not in output.modalities:
        raise losses.refusal(request.param("modalities"), "this model draws, and says nothing")
    if output.shape is not None:
        raise losses.refusal(request.param("shape"), "this model draws, and says nothing")
    for tool in request.all_tools():
        losses.lose("lenient", tool.at, "this model has no tools", code="unsupported_value")
    for name in Sampling.__slots__:
        if name != "n" and getattr(request.sampling, name) is not None:
            losses.lose("drop", request.param(name))
    if output.limit is not None:
        losses.lose("drop", request.param("output.limit"))
    if output.stop:
        losses.lose("drop", request.param("stop"))
    if request.thinking.mode is not None:
        losses.lose("drop", request.param("thinking"))


def _prompt(request: Request, going: Going) -> str:
    """What was said to the model; what it said itself is no order."""
    said = [*_texts(request.instructions, going)]
    for message in request.messages:
        found = list(_texts(message.parts, going))
        said += found if message.role != "assistant" else []
    if not said:
        raise going.losses.refusal("contents", "no text says what to draw", code="invalid_value")
    return "\n".join(said)


def _texts(parts: Iterable[Part], going: Going) -> Iterable[str]:
    for part in parts:
        match part:
            case Text():
                if part.text.strip():
                    yield part.text
            case Image() | Reasoning() | Opaque():
                continue  # pictures are shown; `Losses` was asked for what nobody else has
            case _:
                kind = "files" if isinstance(part, Media) else "calls of tools"
                why = f"this model takes texts and pictures, no {kind}"
                raise going.losses.refusal(part.at, why, code="unsupported_value")


def _shown(part: Image, going: Going) -> Image:
    if part.data:
        return part
    why = "a picture has to be inline for this model"
    raise going.losses.refusal(part.at, why, code="unsupported_value")


def _size(request: Request, going: Going) -> str:
    asked = request.output.image
    if asked is None:
        return ""
    at = request.param("image")
    for name, value in asked.items():
        if name not in _SIZED and value is not None:
            going.losses.lose("lenient", f"{at}.{name}")
    wanted = sizes.of_google(asked)
    if wanted is None:
        if asked.keys() & _SIZED:
            why = "it is no size that anybody knows"
            raise going.losses.refusal(at, why, code="invalid_value")
        return ""
    return sizes.for_openai(wanted, going.can)


# --- forms ----------------------------------------------------------------------------------------


def form(document: Document) -> tuple[bytes, bytes]:
    """An edit as a form, which all hosts of these endpoints read: its content type, its bytes. The
    same edit is the same bytes."""
    shown: list[Image] = document[SHOWN]
    name = SHOWN if len(shown) == 1 else f"{SHOWN}[]"
    parts = [_field(key, value) for key, value in document.items() if key != SHOWN]
    parts += [_file(name, number, part) for number, part in enumerate(shown)]
    digest = sha256()
    for _, content in parts:
        digest.update(content)
    boundary = b"relayd-" + digest.hexdigest()[:40].encode()
    pieces = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, content) for head, content in parts]
    body = b"".join([*pieces, b"--%b--\r\n" % boundary])
    return b"multipart/form-data; boundary=" + boundary, body


def _field(name: str, value: Any) -> tuple[bytes, bytes]:
    return b'content-disposition: form-data; name="%b"' % name.encode(), str(value).encode()


def _file(name: str, number: int, part: Image) -> tuple[bytes, bytes]:
    # What stands in a header is ours: a client may have written anything.
    mime = part.mime if _MIME.fullmatch(part.mime) else "image/png"
    ending = mime.partition("/")[2].partition("+")[0]
    head = (
        f'content-disposition: form-data; name="{name}"; filename="image-{number}.{ending}"\r\n'
        f"content-type: {mime}"
    )
    return head.encode(), media.decoded(part.data)
