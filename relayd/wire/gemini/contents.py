"""The contents of a Gemini request, read into messages and parts of the hub.

proto3's JSON has two spellings of every name, and clients mix them in one body: names are brought
to camelCase first, except where a client's own data begins (schemas, arguments, results). A list
may be written as its only element, and a part as its text. What another provider wants back came
to the client as a signature (`answer`); it becomes thinking again, where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from relayd.errors import BadCall
from relayd.wire import checked, envelope, media
from relayd.wire.checked import DEEPEST
from relayd.wire.neutral import Message, Role
from relayd.wire.parts import (
    Audio,
    Carrier,
    Document,
    Extras,
    File,
    Image,
    Media,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

ROLES: Final[dict[str, Role]] = {
    "": "user",
    "user": "user",
    "model": "assistant",
    "function": "tool",
    "system": "system",
}
# A client's own data: whatever the names in there look like, they stay.
DATA: Final = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "responseSchema",
        "labels",
    }
)
_KINDS: Final[dict[str, type[Media]]] = {"image": Image, "audio": Audio, "video": Video}
# Addresses that mean something to Google alone: of what was uploaded there, and of its videos.
_UPLOADED: Final = re.compile(r"files/|https?://generativelanguage\.googleapis\.com/", re.I)
_VIDEO: Final = re.compile(r"https?://(?:(?:www|m|music)\.)?(?:youtube\.com|youtu\.be)/", re.I)
_PAYLOADS: Final = frozenset(
    {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
    | {"thought", "thoughtSignature"}
)


def camel(value: Any, depth: int = 0) -> Any:
    """`value` with all names in camelCase, but for a client's own data. Raises BadCall for what is
    nested deeper than any request is."""
    if depth > DEEPEST:
        raise BadCall("The request is nested too deeply.", code="invalid_value")
    if isinstance(value, list):
        return [camel(each, depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, each in value.items():
        head, *more = name.split("_") if name[:1] != "_" else [name]
        key = head + "".join(word[:1].upper() + word[1:] for word in more)
        found[key] = each if key in DATA else camel(each, depth + 1)
    return found


def one_or_more(value: Document, name: str, at: str) -> Iterator[tuple[str, Document]]:
    """The objects of a list that may be written as one object."""
    said = value.get(name)
    if isinstance(said, dict):
        yield checked.path(at, name), said
    else:
        yield from checked.sections(value, name, at)


def messages(body: Document) -> list[Message]:
    """The messages of `contents`: objects, or bare texts and parts, which are the user's."""
    said = body.get("contents")
    if isinstance(said, str):
        return [Message("user", [Text(said, at="contents")], "contents")]
    if isinstance(said, list) and said and not any(_is_content(each) for each in said):
        return [Message("user", parts({"parts": said}, "contents", bare=True), "contents")]
    return [_message(value, at) for at, value in one_or_more(body, "contents", "")]


def instruction(said: object) -> list[Part]:
    """The parts of a `systemInstruction`: a content, or a bare text."""
    at = "systemInstruction"
    if isinstance(said, str):
        return [Text(said, at=at)]
    if said is not None and not isinstance(said, dict):
        raise checked.wrong(at, "an object")
    return parts(said, at) if isinstance(said, dict) else []


def _is_content(value: object) -> bool:
    return isinstance(value, dict) and ("parts" in value or "role" in value or not value)


def _message(value: Document, at: str) -> Message:
    spoken = checked.string(value, "role", at) or ""
    role = ROLES.get(spoken)
    if role is None:
        raise checked.wrong(f"{at}.role", "user or model")
    return Message(role, parts(value, at), at, spoken)


def parts(value: Document, at: str, *, bare: bool = False) -> list[Part]:
    """The parts of a content. `bare`: the content is nothing but its parts."""
    said = value.get("parts")
    found: list[Part] = []
    if isinstance(said, str):
        return [Text(said, at=f"{at}.parts")]
    if isinstance(said, list):
        value = value | {"parts": [{"text": p} if isinstance(p, str) else p for p in said]}
    for place, each in one_or_more(value, "parts", at):
        shown = at + place.removeprefix(f"{at}.parts") if bare else place
        found += _unsealed(part(each, shown), found)
    return found


def _unsealed(part: Part, before: list[Part]) -> list[Part]:
    """The part, behind what another provider's envelope on it says."""
    carrier = part.carrier
    if carrier is None or carrier.kind == "gemini-signature":
        return [part]
    if carrier.call_id:  # it is the call's own, not of thinking before it
        return [replace(part, carrier=replace(carrier, call_id=""))]
    if isinstance(part, Reasoning):
        part.text = _said(before, part.text)
        return [part]
    # Ciphertext goes with the call behind the thinking that it belongs to.
    said = _said(before, []) if carrier.kind == "openai-encrypted" else []
    alone = Reasoning(said, at=part.at, carrier=carrier)
    if isinstance(part, Text) and not part.text:
        return [alone]
    return [alone, replace(part, carrier=None)]


def _said(before: list[Part], text: list[str]) -> list[str]:
    """The thinking that came in pieces before `text`: it is one, as its carrier is of all of it."""
    while before and isinstance(last := before[-1], Reasoning) and last.carrier is None:
        text = ["".join([*last.text, *text])]
        before.pop()
    return text


def part(value: Document, at: str) -> Part:
    """One part: exactly one payload, and what modifies it."""
    found = _payload(value, at)
    signature = checked.string(value, "thoughtSignature", at)
    if signature:
        found.carrier = envelope.unwrap(signature)
        if found.carrier is None and not envelope.is_envelope(signature):
            found.carrier = Carrier("gemini-signature", signature)
    if not isinstance(found, Opaque):
        found.extra |= checked.rest(value, _PAYLOADS, {}, "drop")
    return found


def _payload(value: Document, at: str) -> Part:
    said = checked.string(value, "text", at)
    if said is not None:
        if checked.flag(value, "thought", at):
            return Reasoning([said] if said else [], at=at)
        return Text(said, at=at)
    for name in ("inlineData", "fileData"):
        holder = checked.section(value, name, at)
        if holder is not None:
            return _media(holder, f"{at}.{name}", at)
    call = checked.section(value, "functionCall", at)
    if call is not None:
        return _call(call, f"{at}.functionCall", at)
    result = checked.section(value, "functionResponse", at)
    if result is not None:
        return _result(result, f"{at}.functionResponse", at)
    kind = next((k for k in value if k not in ("thought", "thoughtSignature")), "")
    bare = {k: v for k, v in value.items() if k != "thoughtSignature"}
    return Opaque("gemini", kind, bare, at=at)


def _media(holder: Document, place: str, at: str) -> Part:
    mime = (checked.string(holder, "mimeType", place) or "").lower()
    data = checked.string(holder, "data", place)
    padded = media.standard(data) if data is not None else ""
    if padded is None:
        raise checked.wrong(f"{place}.data", "base64")
    mime = media.sniffed(mime, padded) if padded else mime
    uri = checked.string(holder, "fileUri", place) or ""
    kind = Video if _VIDEO.match(uri) else _KINDS.get(mime.partition("/")[0], File)
    found = kind(mime, padded, at=at)
    if _UPLOADED.match(uri):
        found.file_id = uri
    else:
        found.url = uri
    found.name = checked.string(holder, "displayName", place) or ""
    return found


def _call(value: Document, place: str, at: str) -> ToolCall:
    arguments = checked.section(value, "args", place) or {}
    return ToolCall(
        checked.string(value, "id", place) or "",
        checked.needed(value, "name", place),
        _dumped(arguments, f"{place}.args"),
        at=at,
        extra=_inside("functionCall", value, {"id", "name", "args"}),
    )


def _result(value: Document, place: str, at: str) -> ToolResult:
    structured = checked.section(value, "response", place) or {}
    said: object = structured
    if len(structured) == 1:  # beside others, neither name is all that the tool said
        said = structured.get("output", structured.get("error", structured))
    text = said if isinstance(said, str) else _dumped(said, f"{place}.response")
    return ToolResult(
        checked.string(value, "id", place) or "",
        checked.needed(value, "name", place),
        [Text(text, at=at), *parts(value, place)],
        structured,
        failed="error" in structured and "output" not in structured,
        at=at,
        extra=_inside("functionResponse", value, {"id", "name", "response", "parts"}),
    )


def _inside(name: str, value: Document, known: set[str]) -> Extras:
    """What else a payload says, by its path from the part."""
    found = checked.rest(value, known, {}, "drop")
    return {f"{name}.{key}": extra for key, extra in found.items()}


def _dumped(value: object, at: str) -> str:
    """The JSON text of a client's own data. Raises BadCall for what is nested too deeply."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise BadCall(f"`{at}` is nested too deeply.", code="invalid_value", param=at) from None
