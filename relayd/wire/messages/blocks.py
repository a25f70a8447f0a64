"""What the parts of a reply are as blocks of a message: whole, for streams and whole replies alike.

What another provider wants back goes into an envelope, where clients of this format keep such
things: the signature of a thinking block, or, where nothing was thought aloud, the data of a
redacted one, right before the call or behind the text that it belongs to, where more follows. Who
did not ask for thinking sees none, because programs read the first block for the answer, or the
last; what goes on with tools still has to bring the carriers back. Pictures and sound have no block
here; a text says that they were there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from relayd.model import Usage
from relayd.wire import checked, envelope, ids
from relayd.wire.events import Finish, Reason, Rest, Start
from relayd.wire.parts import (
    Audio,
    Carrier,
    Document,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.setting import Coming

REASONS: Final[dict[Reason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_full": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "filter": "refusal",
    "pause": "pause_turn",
}
GAP: Final = "\n\n"  # between two paragraphs of thinking
UNREADABLE: Final = "unreadable_arguments"  # the member that holds what is no JSON object
_STOPS: Final = ("stop_details", "container")  # what stands beside the reason, natively
_TIERS: Final = frozenset({"standard", "priority", "batch"})


class ReplyBlocks:
    """Makes blocks of parts, for one client.

    Arguments:
        coming: whether carriers go into envelopes, and whose they are.
    """

    __slots__ = ("_carries", "_coming", "_native", "shows_thinking")

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._native = not coming.sealed
        asked = coming.request.thinking
        wanted = asked.mode not in (None, "off") or asked.show not in (None, "none")
        self.shows_thinking = self._native or wanted
        self._carries = self.shows_thinking or bool(coming.request.all_tools())

    def __repr__(self) -> str:
        return f"<ReplyBlocks native={self._native}>"

    def of_all(self, parts: Iterable[Part]) -> list[Document]:
        """The blocks of a whole message. Carriers behind a text go where nothing follows."""
        content: list[Document] = []
        owed: list[Document] = []
        for part in parts:
            blocks = self.of(part)
            content += [*owed, *blocks] if blocks else []
            owed = [*([] if blocks else owed), *self.behind(part)]
        return content if content and content[-1]["type"] == "text" else content + owed

    def of(self, part: Part) -> list[Document]:
        """The blocks that a whole part is, without what stands `behind` it; none for what cannot be
        told."""
        match part:
            case Text():
                cited = self.cited(part)
                block = text(part.text) | ({"citations": cited} if cited else {})
                return [block] if part.text or cited else []
            case Refusal():
                return [text(part.text)] if part.text else []
            case ToolCall():
                return [*self.carried(part), self.call(part) | {"input": _input(part)}]
            case Reasoning():
                return [] if self._is_hidden(part) else self._thought(part)
            case Image() | Audio():
                return [text(_instead(part))]
            case Opaque() if part.format == "messages":
                return [part.document]
        return []

    def call(self, part: ToolCall) -> Document:
        """The block of a call as it opens."""
        own = {name: extra.value for name, extra in part.extra.items()} if self._native else {}
        call = {"type": "tool_use", "id": self._call_id(part), "name": part.name, "input": {}}
        return own | call

    def behind(self, part: Part) -> list[Document]:
        """The block for the carrier of a text or a medium, or of thinking that is not shown."""
        if isinstance(part, Reasoning):
            return self._thought(part) if self._is_hidden(part) else []
        return self.carried(part) if isinstance(part, Text | Refusal | Image | Audio) else []

    def _is_hidden(self, part: Reasoning) -> bool:
        thought = [] if self._native else self._thought(part)
        return bool(thought) and thought[0]["type"] == "redacted_thinking"

    def carried(self, part: Part) -> list[Document]:
        """The block for the carrier of a text or a call, which have no place for it."""
        carrier = part.carrier
        if carrier is None or self._native:
            return []
        if isinstance(part, ToolCall):
            carrier = replace(carrier, call_id=self._call_id(part))
        return [_redacted(self.sealed(carrier))]

    def sealed(self, carrier: Carrier) -> str:
        """What the client keeps of a carrier."""
        return carrier.payload if self._native else envelope.wrap(carrier, self._coming.scope)

    def cited(self, part: Text) -> list[Document]:
        """The sources, natively; other providers' cannot be said in this format."""
        return [each.native for each in part.citations if each.native] if self._native else []

    def _thought(self, part: Reasoning) -> list[Document]:
        carrier = part.carrier if self._carries else None
        said = GAP.join(each for each in part.text if each) if self.shows_thinking else ""
        if carrier is None and said and not self._native:
            carrier = envelope.UNSEALED
        if carrier is None:
            return [thinking(said)] if said else []
        if said or (self._native and carrier.kind == "anthropic-signature"):
            return [thinking(said) | {"signature": self.sealed(carrier)}]
        return [_redacted(self.sealed(carrier))]

    def _call_id(self, part: ToolCall) -> str:
        return part.id if self._native else ids.call_id(part.id, "messages")

    # --- around the blocks ----------------------------------------------------------------------

    def ended(self, finish: Finish, *, refused: bool) -> Document:
        """Why the reply ended.

        Arguments:
            refused: it has words of refusal, which other formats do not tell by the reason.
        """
        reason = "refusal" if refused and finish.reason == "stop" else REASONS[finish.reason]
        document: Document = {"stop_reason": reason, "stop_sequence": finish.stop or None}
        if self._native:
            document["stop_reason"] = finish.native or reason
            return document | {k: v for k, v in finish.rest.items() if k in _STOPS}
        if reason == "refusal" and finish.explanation:
            details = {"type": "refusal", "category": None, "explanation": finish.explanation}
            document["stop_details"] = details
        return document

    def beside(self, finish: Finish) -> Document:
        """What a message says at its end, not of the reason, natively."""
        rest = finish.rest if self._native else {}
        return {name: value for name, value in rest.items() if name not in _STOPS}

    def used(self, usage: Usage | None, start: Start, rest: Rest) -> Document:
        """The `usage` object of a message, where every count has to be there, known or not.

        Arguments:
            rest: what the upstream itself said, natively.
        """
        if self._native and rest:
            return rest
        tier = {"service_tier": start.tier} if start.tier in _TIERS else {}
        return usage_document(usage or Usage()) | tier

    def counted(self, usage: Usage | None, rest: Rest) -> Document:
        """The `usage` object at the end of a stream: what is not known is left out, because a null
        or a zero would take the place of what was told at the beginning."""
        if self._native and rest:
            return rest
        used = usage or Usage()
        document = usage_document(used)
        if used.in_uncached is None:
            del document["input_tokens"]
        if used.cache_read is None:
            del document["cache_read_input_tokens"]
        if not used.cache_write and "cache_creation" not in document:
            del document["cache_creation_input_tokens"]
        return document


def text(said: str) -> Document:
    """A text block."""
    return {"type": "text", "text": said}


def thinking(said: str) -> Document:
    """A thinking block."""
    return {"type": "thinking", "thinking": said, "signature": ""}


def usage_document(usage: Usage) -> Document:
    """The `usage` object: the prompt without what the cache gave and took."""
    document: dict[str, Any] = {
        "input_tokens": (usage.in_uncached or 0) + (usage.tool_prompt or 0),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read or 0,
        "output_tokens": usage.out_total or 0,
    }
    if usage.cache_write_5m is not None or usage.cache_write_1h is not None:
        document["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m or 0,
            "ephemeral_1h_input_tokens": usage.cache_write_1h or 0,
        }
    if usage.reasoning is not None:
        document["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.server_tools:
        usual = {"web_search_requests": 0, "web_fetch_requests": 0}
        made = {f"{name}_requests": count for name, count in usage.server_tools.items()}
        document["server_tool_use"] = usual | made
    return document


def _redacted(data: str) -> Document:
    return {"type": "redacted_thinking", "data": data}


def _input(part: ToolCall) -> Document:
    if part.custom:
        return {"input": part.arguments}
    if not part.arguments.strip():
        return {}
    value = checked.json_object(part.arguments)
    return {UNREADABLE: part.arguments} if value is None else value


def _instead(part: Image | Audio) -> str:
    """What is said where a picture or a sound cannot be shown."""
    if isinstance(part, Audio):
        return part.transcript or "[sound]"
    return f"[picture: {part.mime or 'image'}]"
