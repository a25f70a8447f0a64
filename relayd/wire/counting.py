"""About how many tokens a request has, where no upstream of ours can count them.

An estimate, and told as one (`x-relayd-estimated`): four bytes of text are a token, which is true
of English within a fifth and says too little of code, too much of nothing. Pictures, documents and
sounds count by what their providers say of an ordinary one, for nobody opens them here. Clients
that ask want to know when to shorten a history: they need the size, not the number.
"""

from __future__ import annotations

from typing import Final

import orjson

from relayd.wire.neutral import Custom, Function, Hosted, Request, Tool
from relayd.wire.parts import (
    Audio,
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

BYTES_PER_TOKEN: Final = 4
MESSAGE: Final = 4  # tokens around each message
TOOL: Final = 12  # tokens around each tool
SCHEMA: Final = 16  # tokens that ask for an answer by a schema
IMAGE: Final = 1100  # tokens; about a megapixel
PAGE: Final = 2000  # tokens of a page of a document
PAGE_SIZE: Final = 60_000  # bytes of such a page
SECOND: Final = 30  # tokens of a second of sound
SOUND_SIZE: Final = 16_000  # bytes of such a second
MOMENT: Final = 300  # tokens of a second of moving pictures
VIDEO_SIZE: Final = 250_000  # bytes of such a second
UNSEEN: Final = 3000  # tokens of what is only named: a file or a sound at its provider


def estimate(request: Request) -> int:
    """The tokens of a whole prompt, at least 1."""
    tokens = sum(map(_part, request.parts())) + MESSAGE * (len(request.messages) + 1)
    tokens += sum(map(_tool, request.all_tools()))
    shape = request.output.shape
    if shape is not None:
        tokens += SCHEMA + _json(shape.schema or {})
    return max(tokens, 1)


def _part(part: Part) -> int:
    """Of one part. What stands inside a result comes on its own (`Request.parts`)."""
    match part:
        case Text() | Refusal():
            return _text(part.text)
        case Reasoning():
            sealed = part.carrier.payload if part.carrier is not None and not part.text else ""
            return _text("".join(part.text) + sealed)
        case ToolCall():
            return TOOL + _text(part.name) + _text(part.arguments)
        case ToolResult():
            return MESSAGE
        case Media():
            return _media(part)
        case Opaque():
            return _json(part.document)
    return 0


def _media(part: Media) -> int:
    if isinstance(part, Image):
        return IMAGE
    size = len(part.data) * 3 // 4
    match part:
        case File(plain=plain) if plain:
            return _text(plain)
        case File() if part.mime.startswith("text/") and size:
            return size // BYTES_PER_TOKEN
        case File() if size:
            return PAGE * -(-size // PAGE_SIZE)
        case Audio() if size:
            return SECOND * -(-size // SOUND_SIZE)
        case Video() if size:
            return MOMENT * -(-size // VIDEO_SIZE)
    return UNSEEN


def _tool(tool: Tool) -> int:
    tokens = TOOL + _text(tool.name) + _text(tool.description or "")
    match tool:
        case Function():
            return tokens + _json(tool.schema or {})
        case Custom():
            return tokens + _text(tool.grammar)
        case Hosted():
            return tokens + _json(tool.document)
    return tokens


def _json(document: object) -> int:
    return len(orjson.dumps(document)) // BYTES_PER_TOKEN


def _text(text: str) -> int:
    # By its bytes: what is not Latin has more tokens for a character.
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
