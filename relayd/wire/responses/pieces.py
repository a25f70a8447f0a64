"""Small readings of a Responses reply, and what is known of one of its items while it comes.

Nothing here raises, whatever an upstream sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from relayd.wire import media
from relayd.wire.events import Failure, Logprob, Start
from relayd.wire.facts import error_text, objects, section, text
from relayd.wire.parts import Citation, Document, Extra, Image, Item, Opaque, Part

# What OpenAI calls a failure -> the status that it would have been; a word that is not here says
# something about the request, if it begins like the second ones.
_STATUSES: Final = {"rate_limit_exceeded": 429, "insufficient_quota": 429, "invalid_prompt": 400}
_OF_REQUEST: Final = ("invalid_", "image_", "unsupported_", "empty_", "failed_to_download_")
# Members of a response that have a place in the events.
_RESPONSE: Final = frozenset({"id", "object", "created_at", "model", "output", "usage", "status"})
LATEST: Final = 2**53
_TIERS: Final = {"default": "standard"}
# Members of an item that have a place in the events, by its type.
_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "message": frozenset({"type", "id", "role", "content"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content"}),
    "function_call": frozenset({"type", "id", "call_id", "name", "arguments", "namespace"}),
    "custom_tool_call": frozenset({"type", "id", "call_id", "name", "input", "namespace"}),
    "image_generation_call": frozenset({"id", "result"}),
}
NO_REASON: Final = "The upstream says that the response failed."


class Growing:
    """One open block: how much of it was said.

    Attributes:
        said: characters, of the paragraph `place`.
        cited: sources.
    """

    __slots__ = ("block", "cited", "closed", "place", "said")

    def __init__(self, block: int, place: int = 0) -> None:
        self.block = block
        self.place = place
        self.said = self.cited = 0
        self.closed = False

    def heard(self, said: str, counts: bytes) -> None:
        """More of it was said, in an event that nobody had to read."""
        self.said += len(said)

    def __repr__(self) -> str:
        return f"<Growing block={self.block} said={self.said} closed={self.closed}>"


class Entry:
    """One output item. `kind` is "" until somebody says it."""

    __slots__ = ("call", "done", "index", "item", "kind", "parts", "thoughts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.kind = ""
        self.item = Item()
        self.parts: dict[int, Growing] = {}  # of a message, by content_index
        self.thoughts: dict[bool, Growing] = {}  # the thinking itself, and its summary
        self.call: Growing | None = None
        self.done = False

    def __repr__(self) -> str:
        return f"<Entry {self.index} {self.kind} done={self.done}>"

    def describe(self, item: Document) -> None:
        """What an item says of itself; the first id counts, and of all else the last word."""
        self.kind = self.kind or text(item.get("type"))
        self.item.id = self.item.id or text(item.get("id"))
        known = _ITEMS.get(self.kind, frozenset())
        said = {k: v for k, v in item.items() if k not in known and v is not None}
        if not self.done:
            said.pop("status", None)
        elif self.kind == "reasoning" and item.get("content") == []:
            said["content"] = []  # hosts that show no thinking write it, or do not
        self.item.extra |= {name: Extra(value, "silent") for name, value in said.items()}


def failure(error: object) -> Failure:
    """What an upstream says of its failure."""
    code = text(section(error).get("code"))
    status = 400 if code.startswith(_OF_REQUEST) else _STATUSES.get(code, 502)
    return Failure(error_text(error) or NO_REASON, status, code or "upstream_error")


def started(response: Document) -> Start:
    """What a response says of itself before it says anything else."""
    created, tier = response.get("created_at"), text(response.get("service_tier"))
    number = isinstance(created, int | float) and not isinstance(created, bool)
    known = number and 0 <= (created or 0) < LATEST
    return Start(
        text(response.get("id")),
        text(response.get("model")),
        created if known else None,
        tier=_TIERS.get(tier, tier),
        rest=rest(response),
    )


def rest(response: Document) -> Document:
    """The members of a response that have no place in the events."""
    return {k: v for k, v in response.items() if k not in _RESPONSE}


def hosted(entry: Entry, item: Document) -> Part:
    """A picture that a tool of the provider's drew; any other tool of the provider's."""
    drawn = text(item.get("result")) if entry.kind == "image_generation_call" else ""
    if not drawn:
        return Opaque("responses", entry.kind, item)
    form = text(item.get("output_format"))
    mime = media.sniffed(f"image/{form}" if form else "", drawn) or "image/png"
    return Image(mime, drawn, item=entry.item)


def citation(value: Document) -> Citation:
    """An annotation."""
    start, end = value.get("start_index"), value.get("end_index")
    return Citation(
        text(value.get("url")),
        text(value.get("title")) or text(value.get("filename")),
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
        native=value,
    )


def logprobs(value: Document) -> list[Logprob] | None:
    """How probable the tokens of a delta or of a part were, where that is told."""
    found = [_logprob(each) for each in objects(value.get("logprobs"))]
    return found or None


def _logprob(value: Document) -> Logprob:
    found = _token(value)
    found.top = [_token(each) for each in objects(value.get("top_logprobs"))]
    return found


def _token(value: Document) -> Logprob:
    said, raw = value.get("logprob"), value.get("bytes")
    size = said if isinstance(said, int | float) else 0.0
    return Logprob(text(value.get("token")), size, raw if isinstance(raw, list) else None)
