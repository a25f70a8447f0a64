"""What a Gemini reply says that does not grow: calls, pictures, hosted tools; and logprobs."""

from __future__ import annotations

from typing import Final

import orjson

from relayd.wire import media
from relayd.wire.events import Logprob
from relayd.wire.facts import objects, section, text
from relayd.wire.parts import (
    Audio,
    Carrier,
    Document,
    File,
    Image,
    Media,
    Opaque,
    Part,
    ToolCall,
    Video,
)

_KINDS: Final[dict[str, type[Media]]] = {"image": Image, "audio": Audio, "video": Video}


def whole(part: Document) -> Part:
    """A part that does not grow. Raises OverflowError for arguments that are nested too deeply."""
    call = part.get("functionCall")
    signature = text(part.get("thoughtSignature"))
    carrier = Carrier("gemini-signature", signature) if signature else None
    if isinstance(call, dict) and text(call.get("name")):
        arguments = _dumped(section(call.get("args")))
        return ToolCall(text(call.get("id")), text(call["name"]), arguments, carrier=carrier)
    for name in ("inlineData", "fileData"):
        holder = part.get(name)
        if isinstance(holder, dict):
            found = _media(holder)
            found.carrier = carrier
            return found
    kind = next((name for name in part if name not in ("thought", "thoughtSignature")), "")
    bare = {name: value for name, value in part.items() if name != "thoughtSignature"}
    return Opaque("gemini", kind, bare, carrier=carrier)


def _dumped(arguments: Document) -> str:
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError:
        raise OverflowError("The upstream's tool call is nested too deeply.") from None


def _media(holder: Document) -> Media:
    data = media.standard(text(holder.get("data"))) or ""
    mime = media.sniffed(text(holder.get("mimeType")).lower(), data)
    made = _KINDS.get(mime.partition("/")[0], File)
    return made(mime, data, text(holder.get("fileUri")), name=text(holder.get("displayName")))


def logprobs_of(value: Document) -> list[Logprob]:
    """The tokens of a `logprobsResult`, each with what else it might have been."""
    tops = objects(value.get("topCandidates"))
    found = [_logprob(each) for each in objects(value.get("chosenCandidates"))]
    for each, top in zip(found, tops, strict=False):
        each.top = [_logprob(one) for one in objects(top.get("candidates"))]
    return found


def _logprob(value: Document) -> Logprob:
    said, likely = text(value.get("token")), value.get("logProbability")
    number = float(likely) if isinstance(likely, int | float) else 0.0
    return Logprob(said, number, list(said.encode("utf-8", "surrogatepass")))
