"""Turns and parts of the hub, written as the contents of a Gemini request.

A request that stays in its format keeps its shape, part by part. Any other becomes what Google
demands: user and model in alternation, nothing empty, one result for each call and in the calls'
order, each under its function's name, and the model's signatures where they stood. A signature
that a client lost is looked up; where nobody has it, the newest models take a word that stands for
it, at the first call of each step of the turn that is going on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final

import orjson

from relayd.wire import checked, media
from relayd.wire.names import Names
from relayd.wire.neutral import Message, Request
from relayd.wire.parts import (
    Audio,
    Carrier,
    Document,
    File,
    Image,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from relayd.wire.setting import Going
from relayd.wire.turns import Turn, spoken

# What Google documents for histories that another model made: it is not checked.
UNSIGNED: Final = base64.b64encode(b"skip_thought_signature_validator").decode()
_MEDIA: Final[dict[type[Part], str]] = {
    Image: "image",
    File: "file",
    Audio: "audio",
    Video: "video",
}
# Where a format has the arguments of a call.
_ARGUMENTS: Final = {"chat": ".function.arguments", "responses": ".arguments"}


# --- the same format ----------------------------------------------------------------------------


def kept(messages: Iterable[Message], going: Going) -> list[Document]:
    """The contents as they came, without what another provider wants back. Calls that another
    provider made have no signature; they are signed as those of any other format are."""
    found = []
    for message in messages:
        role = {"role": message.spoken} if message.spoken else {}
        found.append(role | {"parts": kept_parts(message.parts, going)})
    if going.can.signatures:
        _sign(found)
    return found


def kept_parts(parts: Iterable[Part], going: Going) -> list[Document]:
    """Parts as they came. What came in an envelope is left out where this account cannot read it:
    a signature alone, or thinking with it; a call gets the word that stands for a signature."""
    found = []
    for part in parts:
        own = going.own(part.carrier)
        lost = part.carrier is not None and own is None
        if lost and (
            isinstance(part, Reasoning) or part == Text("", at=part.at, carrier=part.carrier)
        ):
            continue
        document = _kept(part, going)
        if own is not None:
            document["thoughtSignature"] = own.payload
        elif lost and isinstance(part, ToolCall) and going.can.signatures:
            document["thoughtSignature"] = UNSIGNED
        for path, (value, _) in part.extra.items():
            place(document, path, value)
        found.append(document)
    return found


def _kept(part: Part, going: Going) -> Document:
    match part:
        case Text():
            return {"text": part.text}
        case Reasoning():
            return {"text": "\n\n".join(part.text), "thought": True}
        case Media():
            return blob(part)
        case ToolCall():
            call = {"name": part.name, "args": orjson.loads(part.arguments)}
            return {"functionCall": call | ({"id": part.id} if part.id else {})}
        case ToolResult():
            said: Document = {"name": part.name, "response": part.structured}
            said |= {"id": part.id} if part.id else {}
            more = kept_parts(part.parts[1:], going)
            return {"functionResponse": said | ({"parts": more} if more else {})}
    assert isinstance(part, Opaque), f"{part!r} is of no Gemini client"
    return dict(part.document)


def place(document: Document, path: str, value: object) -> None:
    """Put what only this format says where it was, unless something else says it already."""
    *above, name = path.split(".")
    for step in above:
        document = document.setdefault(step, {})
    document.setdefault(name, value)


def blob(part: Media) -> Document:
    """A part that is no text: inline, or where it is."""
    mime = {"mimeType": part.mime} if part.mime else {}
    name = {"displayName": part.name} if part.name else {}
    if part.url or part.file_id:
        return {"fileData": mime | {"fileUri": part.url or part.file_id} | name}
    return {"inlineData": mime | {"data": part.data} | name}


# --- another format -----------------------------------------------------------------------------


class History:
    """The history of one request of another format. Owns nothing but what it was given."""

    __slots__ = ("_calls", "_going", "_names", "_request")

    def __init__(self, request: Request, going: Going, names: Names) -> None:
        self._request = request
        self._calls = request.calls()
        self._going = going
        self._names = names

    def __repr__(self) -> str:
        return f"<History of a {self._request.source} request>"

    def contents(self) -> tuple[list[Document], list[Document]]:
        """The parts of the instruction, and the contents. Raises CannotTranslate."""
        instructions, messages = self._request.opening()
        going = self._going
        found = spoken(
            self._request, messages, going.losses, going.rules, prefill=going.can.prefill
        )
        said = self._parts(instructions)
        contents: list[Document] = []
        for turn in found:
            self._add(turn, contents)
        if going.can.signatures:
            _sign(contents)
        if not contents and said:
            return [], [{"role": "user", "parts": said}]  # nobody answers an instruction alone
        return said, contents

    def _add(self, turn: Turn, contents: list[Document]) -> None:
        """Add a turn; a later system message is the user's, in a tag that says what it is."""
        role = "model" if turn.role == "assistant" else "user"
        parts = self._parts(turn.parts)
        if turn.role == "system" and parts:
            tag = self._going.rules.system_tag
            texts = "\n\n".join(part["text"] for part in parts if "text" in part)
            parts = [part for part in parts if "text" not in part]
            parts = [{"text": f"<{tag}>\n{texts}\n</{tag}>"}, *parts]
        calls = [part for part in turn.parts if isinstance(part, ToolCall)]
        if calls and role == "model" and not contents:
            why = "the history begins with a tool call that nobody asked for"
            raise self._going.losses.refusal(calls[0].at, why, code="invalid_value")
        if parts and contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})

    # --- parts ----------------------------------------------------------------------------------

    def _parts(self, parts: Iterable[Part]) -> list[Document]:
        found: list[Document] = []
        for part in parts:
            match part:
                case Text() | Refusal():
                    found += [{"text": part.text}] if part.text else []
                case Reasoning():
                    self._thought(part, found)
                case ToolCall():
                    found.append(self._call(part))
                case ToolResult():
                    found += self._result(part)
                case Media():
                    found.append(self._media(part))
        # `Losses.of_request` was asked for all else, and tools are declared with all others.
        return found

    def _thought(self, part: Reasoning, found: list[Document]) -> None:
        """Thinking that this account can read: as it was, or as a signature of the text before."""
        carrier = self._going.own(part.carrier)
        if carrier is None:
            return
        signature = {"thoughtSignature": carrier.payload}
        said = "\n\n".join(part.text)
        before = found[-1] if found else {}
        if said:
            found.append({"text": said, "thought": True} | signature)
        elif "text" in before and "thoughtSignature" not in before:
            before |= signature
        else:
            found.append({"text": ""} | signature)

    def _call(self, part: ToolCall) -> Document:
        arguments = {"input": part.arguments} if part.custom else self._arguments(part)
        call: Document = {"name": self._names.there(part.name, part.namespace), "args": arguments}
        if self._going.can.call_ids and part.id:
            call["id"] = part.id
        document: Document = {"functionCall": call}
        carrier = self._signature(part)
        return document | ({"thoughtSignature": carrier.payload} if carrier is not None else {})

    def _signature(self, part: ToolCall) -> Carrier | None:
        own = self._going.own(part.carrier)
        if own is None and part.id:
            own = self._going.own(self._going.remembered(part.id))
        return own

    def _arguments(self, part: ToolCall) -> Document:
        if not part.arguments.strip():
            return {}
        value = checked.json_object(part.arguments)
        if value is None:
            at = part.at + _ARGUMENTS.get(self._request.source, "")
            raise self._going.losses.refusal(at, "it is no JSON object", code="invalid_value")
        return value

    def _result(self, part: ToolResult) -> list[Document]:
        """The result, with its pictures inside where the model takes them there, else behind."""
        called = self._calls.get(part.id)
        name, group = (part.name, "") if called is None else (called.name, called.namespace)
        texts = [each.text for each in part.parts if isinstance(each, Text | Refusal)]
        more = self._parts(each for each in part.parts if isinstance(each, Media))
        said = "\n".join(texts)
        document: Document = {
            "name": self._names.there(name, group),
            "response": {"error" if part.failed else "output": said},
        }
        if self._going.can.call_ids and part.id:
            document["id"] = part.id
        inside = self._going.can.result_media and all("text" not in each for each in more)
        if more and inside:
            return [{"functionResponse": document | {"parts": more}}]
        return [{"functionResponse": document}, *more]

    def _media(self, part: Media) -> Document:
        going = self._going
        kind = _MEDIA[type(part)]
        if isinstance(part, File) and part.plain:
            return {"text": part.plain}
        if part.file_id:
            why = "a file of another provider cannot be read here"
            raise going.losses.refusal(part.at, why, code="unsupported_value")
        if kind not in going.can.inputs:
            why = f"this model takes no {kind}"
            raise going.losses.refusal(part.at, why, code="unsupported_value")
        if part.url and not (going.can.image_urls or part.url.startswith("gs://")):
            why = "this model fetches nothing; the file has to be inline"
            raise going.losses.refusal(part.at, why, code="unsupported_value")
        return blob(_nameless(part))


def _nameless(part: Media) -> Media:
    """The same without its name, which only one of Google's two services takes."""
    mime = part.mime or media.sniffed("", part.data) or "application/octet-stream"
    return Media(mime, part.data, part.url)


def _sign(contents: list[Document]) -> None:
    """The first call of each step of the turn that is going on must be signed. That turn begins
    where the user spoke last: results are no words of the user's, nor is what stands beside them.
    """
    for content in reversed(contents):
        call = _first(content["parts"], "functionCall")
        if content.get("role") == "model":
            if call is not None:
                call.setdefault("thoughtSignature", UNSIGNED)
        elif _first(content["parts"], "functionResponse") is None:
            return


def _first(parts: list[Document], name: str) -> Document | None:
    return next((part for part in parts if name in part), None)
