"""What messages and replies are made of: texts, pictures, tool calls, thinking.

A part holds the meaning, not a format's way of writing it. What only the format of origin can say
is kept beside it in `extra`, each with what its loss would mean (`Loss`): the same format writes it
again, any other asks `losses.Losses` whether it may be left out. What no other format has at all (a
hosted tool's call, a type that nobody knows) is an `Opaque` part, and is never turned into text.
`at` is where a part stood in the client's document: the `param` of a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from relayd.model import FormatName

Document = dict[str, Any]


# --- what only one format says ------------------------------------------------------------------

# What it means when a field cannot be said to the upstream:
#   silent   nothing that anybody would miss: documented in docs/translation.md, not reported
#   drop     left out and reported in `x-relayd-dropped`, strict or not
#   lenient  a 400 in strict mode; where the key or the upstream is lenient, left out and reported
#   refuse   always a 400
Loss = Literal["silent", "drop", "lenient", "refuse"]


class Extra(NamedTuple):
    """A value as the client wrote it, and what its loss would mean."""

    value: Any
    loss: Loss


Extras = dict[str, Extra]  # by the member's name in the format of origin


# --- parts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cache:
    """A mark: the prompt up to here is worth caching.

    Attributes:
        ttl: "5m", "30m", "1h", "12h"; "" is the provider's usual one.
        native: the member that it was, for its own format: hosts of one format write it in two
            ways.
    """

    ttl: str = ""
    native: Document = field(default_factory=dict, compare=False)


CarrierKind = Literal[
    "anthropic-signature",  # of a thinking block
    "anthropic-redacted",  # the data of a redacted thinking block
    "gemini-signature",  # of a part: a function call, a text, an image
    "openai-encrypted",  # the encrypted content of a reasoning item
    "chat-details",  # a reasoning detail of an OpenAI-compatible host, as JSON
]


@dataclass(frozen=True, slots=True)
class Carrier:
    """State of the model's that its provider wants back, unread: a signature, a ciphertext.

    Attributes:
        payload: exactly what the provider wrote.
        scope: who can read it: a hash of the upstream account; "" where the client spoke natively,
            so that it is the upstream's own whatever account that is.
        id: the id that it is bound to (OpenAI's reasoning items).
        call_id: the tool call that it stands on, where it does not stand on its own part.
    """

    kind: CarrierKind
    payload: str
    scope: str = ""
    id: str = ""
    call_id: str = ""


@dataclass(slots=True)
class Item:
    """An item of the Responses API. Neighbouring texts with the very same `Item` are one message
    item; every other part is an item of its own. `extra`: its status, its phase."""

    id: str = ""
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Citation:
    """A source of a stretch of text.

    Attributes:
        start, end: in characters of the text it belongs to; None where the format does not say.
        native: as the format of origin wrote it, for the way back.
    """

    url: str = ""
    title: str = ""
    quoted: str = ""
    start: int | None = None
    end: int | None = None
    native: Document = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Part:
    """What all parts have. `at` is the JSON path in the client's document."""

    at: str = ""
    cache: Cache | None = None
    item: Item | None = None
    carrier: Carrier | None = None
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Text(Part):
    """Text. `citations` are the sources named for it."""

    text: str
    citations: list[Citation] = field(default_factory=list)


@dataclass(slots=True)
class Refusal(Part):
    """The model's words for refusing."""

    text: str


@dataclass(slots=True)
class Reasoning(Part):
    """Thinking that was shown, and the carrier of what was not.

    Without text and with a carrier it is a redacted block, an encrypted item, or a signature that
    came on an empty part. Where a format shows the thinking and a summary of it, they are two parts
    of one `Item`, the summary first.

    Attributes:
        text: the paragraphs; a summary may have several.
        raw: whether this is the thinking itself rather than a summary of it.
    """

    text: list[str]
    raw: bool = False


@dataclass(slots=True)
class Media(Part):
    """What an image, a file, an audio or a video has: one of three sources.

    Attributes:
        mime: its type, lower case; "" where nobody said and the first bytes do not show it.
        data: inline, as standard padded base64.
        url: where it is, http or https or a provider's own scheme; never a data URL.
        file_id: at the provider that issued it, and nowhere else.
        name: of a file.
        detail: of an image: low, high, auto, original.
    """

    mime: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""


@dataclass(slots=True)
class Image(Media):
    """A picture."""


@dataclass(slots=True)
class File(Media):
    """A document: PDF, text and their like. `context` is what a client says about it; `plain` is
    the text of a document that is nothing but text, which then has no `data`."""

    plain: str = ""
    context: str = ""


@dataclass(slots=True)
class Audio(Media):
    """Sound. `mime` is always known: formats that name `wav` mean `audio/wav`. `transcript`: of an
    answer that was spoken."""

    transcript: str = ""


@dataclass(slots=True)
class Video(Media):
    """Moving pictures; only Gemini takes them."""


@dataclass(slots=True)
class ToolCall(Part):
    """The model calls a tool.

    Attributes:
        id: what the result refers to; "" where the format has none (older Gemini).
        arguments: the JSON text as it was written, or the free text of a custom tool.
        custom: free text rather than JSON.
        namespace: of the tool (Responses).
    """

    id: str
    name: str
    arguments: str = ""
    custom: bool = False
    namespace: str = ""


@dataclass(slots=True)
class ToolResult(Part):
    """What a tool came to.

    Attributes:
        id: of the call; "" where the format goes by order and name.
        name: of the tool, where the format says it.
        parts: texts, images, files; empty is an empty result, which is allowed.
        structured: the object that Gemini's results are; None elsewhere. `parts` then holds its
            text as well, so that nobody else needs to look here.
        failed: it is an error.
        custom: of a custom tool.
    """

    id: str
    name: str = ""
    parts: list[Part] = field(default_factory=list)
    structured: Document | None = None
    failed: bool = False
    custom: bool = False


@dataclass(slots=True)
class Opaque(Part):
    """What only its own format can say: a hosted tool's call or result, or a type that nobody
    knows. Another format refuses it (`loss`), and never writes it as text.

    Attributes:
        format: that of `document`.
        kind: its type there, for the message of a refusal.
    """

    format: FormatName
    kind: str
    document: Document
    loss: Loss = "refuse"
