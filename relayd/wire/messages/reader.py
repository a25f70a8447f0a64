"""Messages replies, read as events: the format whose blocks the hub's are made after.

Blocks come one behind the other and say when they end, so an index is all the state that a block
needs. What Anthropic runs itself (a search, a container, a compaction) is gathered and told whole,
because no other format can be told of it piece by piece. The last event is `message_stop`; a stream
that ends without it was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from relayd.wire import checked
from relayd.wire.alike import Plain
from relayd.wire.blocks import MOST_BLOCKS, Blocks
from relayd.wire.events import (
    Cite,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Finish,
    Reason,
    Rest,
    Start,
)
from relayd.wire.facts import error_text, objects, parsed, section, text, tokens
from relayd.wire.messages import reply
from relayd.wire.parts import (
    Carrier,
    Citation,
    Document,
    Extra,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
)
from relayd.wire.passthrough import merge_counts

REASONS: Final[Mapping[str, Reason]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "filter",
    "model_context_window_exceeded": "context_full",
    "compaction": "length",
}
# The type of an error in the middle -> the status that it would have been, and its word for us.
_FAILURES: Final[Mapping[str, tuple[int, str]]] = {
    "overloaded_error": (503, "upstream_error"),
    "rate_limit_error": (429, "rate_limit_exceeded"),
    "timeout_error": (504, "upstream_timeout"),
}
_MESSAGE: Final = frozenset(
    {
        "id",
        "type",
        "role",
        "model",
        "content",
        "usage",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "container",
        "context_management",
    }
)
# What a message says only at its end, and no other format has.
_LAST: Final = ("stop_details", "container")
# What says more of a block, by its part; and as it is written.
_MEMBERS: Final[Mapping[type[Part], str]] = {
    Text: "text",
    Reasoning: "thinking",
    ToolCall: "partial_json",
}
_KEYS: Final = {name: b'"%b":' % name.encode() for name in _MEMBERS.values()}
_NOTHING: Final = (-1, "")
LARGEST_INPUT: Final = 16 * 1024 * 1024  # characters of a hosted tool's input


class MessagesReader:
    """Reads one Messages reply."""

    __slots__ = (
        "_block_of",
        "_blocks",
        "_called",
        "_counts",
        "_finish",
        "_inputs",
        "_last",
        "_parts",
        "_size",
        "_started",
        "_stopped",
        "_texts",
        "plain",
    )

    def __init__(self) -> None:
        self.plain: Plain | None = None
        self._blocks = Blocks()
        self._block_of: dict[int, int] = {}  # by index, as all of these
        self._parts: dict[int, Part] = {}
        self._texts: dict[int, tuple[int, str]] = {}  # what grows: its block and member
        self._inputs: dict[int, list[str]] = {}  # of tools, for when their blocks end
        self._size = 0  # of those of hosted tools
        self._counts: dict[str, Any] = {}  # of the start and the end together
        self._last: dict[str, Any] = {}  # of the end
        self._finish: Finish | None = None
        self._called = self._started = self._stopped = False

    def __repr__(self) -> str:
        return f"<MessagesReader {self._blocks!r} stopped={self._stopped}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one event."""
        value, self.plain = parsed(data), None
        if value is None or self._stopped or self._blocks.failed:
            return []
        kind = value.get("type")
        if kind == "content_block_delta":
            self.plain = self._more(value.get("index"), value.get("delta"))
            if self.plain is not None:
                return [self.plain.said]
        if checked.is_shallow(value):  # what is nested deeper is no event of this format
            self._event(text(kind) or name.decode(errors="replace"), value)
        return self._blocks.take()

    def _more(self, index: object, delta: object) -> Plain | None:
        """What an event says that only goes on with an open block, as nearly all do; None for any
        other."""
        if delta.__class__ is not dict or index.__class__ is not int:
            return None
        block, key = self._texts.get(index, _NOTHING)
        said = delta.get(key)
        if not said or said.__class__ is not str or "signature" in delta:
            return None
        if index in self._inputs:  # the first piece of an input that was said to be another
            return None
        return Plain(Delta(block, said), _KEYS[key])

    def whole(self, document: Document) -> Events:
        """The events of a whole reply: as if it had been streamed, in large pieces."""
        content = document.get("content")
        empty = not content and not document.get("stop_reason")
        if empty or not isinstance(content, list) or not checked.is_shallow(document):
            self._fail(document.get("error") or "The upstream's reply is no message.")
            return self._blocks.take()
        self._start(document)
        for index, block in enumerate(objects(content)):
            self._open(index, block)
            self._close(index)
        self._delta({"delta": document, **document})
        self._stop()
        return self._blocks.take()

    def end(self) -> Events:
        """Nothing more; a failure where the last event did not come."""
        if not self._stopped:
            self._blocks.fail(Failure("The upstream's stream ended before it was complete."))
        return self._blocks.take()

    # --- one event ------------------------------------------------------------------------------

    def _event(self, kind: str, value: Document) -> None:
        index = value.get("index")
        if kind == "message_start":
            self._start(section(value.get("message")))
        elif kind == "message_delta":
            self._delta(value)
        elif kind == "message_stop":
            self._stop()
        elif kind == "error" or value.get("error"):
            self._fail(value.get("error"))
        elif not isinstance(index, int):
            return
        elif kind == "content_block_delta":
            self._said(index, section(value.get("delta")))
        elif kind == "content_block_start":
            self._open(index, section(value.get("content_block")))
        elif kind == "content_block_stop":
            self._close(index)

    def _fail(self, error: object) -> None:
        kind = text(section(error).get("type"))
        status, code = _FAILURES.get(kind, (502, "upstream_error"))
        self._blocks.fail(Failure(error_text(error) or "error", status, code))

    def _start(self, message: Document) -> None:
        if self._started:
            return
        self._started = True
        usage = section(message.get("usage"))
        merge_counts(self._counts, usage)
        rest = {k: v for k, v in message.items() if k not in _MESSAGE}
        if usage:
            rest["usage"] = dict(usage)
        tier = text(usage.get("service_tier"))
        name, model = text(message.get("id")), text(message.get("model"))
        self._blocks.add(Start(name, model, None, reply.usage_of(usage), tier, rest))

    def _stop(self) -> None:
        if not self._started:
            self._fail("The upstream's stream has no message.")
            return
        self._stopped = True
        for index in list(self._parts):
            self._close(index)
        self._blocks.add(self._true(self._finish or Finish("stop")))
        self._blocks.add(End())

    def _true(self, finish: Finish) -> Finish:
        """Calls are what ends a reply that has some, whatever the upstream says."""
        if self._called and finish.reason == "stop":
            finish.reason = "tool_calls"
        elif not self._called and finish.reason == "tool_calls":
            finish.reason = "stop"
        return finish

    # --- blocks ---------------------------------------------------------------------------------

    def _open(self, index: int, block: Document) -> None:
        self._start({})
        self._close(index)
        if len(self._parts) >= MOST_BLOCKS:
            raise OverflowError("The upstream's reply has too many parts.")
        self._parts[index] = part = _part(block)
        if isinstance(part, Opaque):
            return  # told whole, when it is
        self._block_of[index] = number = self._blocks.open(part)
        self._texts[index] = number, _MEMBERS[type(part)]
        self._called = self._called or isinstance(part, ToolCall)
        self._blocks.text(number, text(block.get("text")) or text(block.get("thinking")))
        if isinstance(part, ToolCall) and block.get("input"):
            # Told at the end: hosts that have it here may stream it all the same.
            self._inputs[index] = [orjson.dumps(block["input"]).decode()]
        self._seal(number, part, block)
        for citation in objects(block.get("citations")):
            self._blocks.add(Cite(number, _citation(citation)))

    def _said(self, index: int, delta: Document) -> None:
        part, number = self._parts.get(index), self._block_of.get(index, -1)
        match part:
            case Opaque():
                self._gather(index, part, delta)
            case Text():
                self._blocks.text(number, text(delta.get("text")))
                if isinstance(delta.get("citation"), dict):
                    self._blocks.add(Cite(number, _citation(delta["citation"])))
            case ToolCall():
                if delta.get("partial_json"):
                    self._inputs.pop(index, None)
                self._blocks.text(number, text(delta.get("partial_json")))
            case Reasoning():
                self._blocks.text(number, text(delta.get("thinking")))
                self._seal(number, part, delta)

    def _gather(self, index: int, part: Opaque, delta: Document) -> None:
        """A hosted tool's block grows: its input, or a summary."""
        more = text(delta.get("partial_json"))
        if more:
            self._size += len(more)
            if self._size > LARGEST_INPUT:
                raise OverflowError("The upstream's reply is too large.")
            self._inputs.setdefault(index, []).append(more)
        if "content" in delta:
            part.document["content"] = delta["content"]

    def _seal(self, number: int, part: Part, said: Document) -> None:
        signature = text(said.get("signature"))
        if signature and isinstance(part, Reasoning):
            self._blocks.seal(number, Carrier("anthropic-signature", signature))

    def _close(self, index: int) -> None:
        number, part = self._block_of.pop(index, -1), self._parts.pop(index, None)
        said = "".join(self._inputs.pop(index, []))
        self._texts.pop(index, None)
        if isinstance(part, Opaque):
            if said:
                part.document["input"] = checked.json_object(said) or {}
            self._blocks.whole(part)
        elif part is not None:
            self._blocks.text(number, said)
            self._blocks.close(number)

    def _delta(self, value: Document) -> None:
        self._start({})
        delta = section(value.get("delta"))
        reason = text(delta.get("stop_reason"))
        if reason:
            details = section(delta.get("stop_details"))
            rest: Rest = {name: delta[name] for name in _LAST if name in delta}
            if "context_management" in value:
                rest["context_management"] = value["context_management"]
            self._finish = Finish(
                REASONS.get(reason, "stop"),
                native=reason,
                stop=text(delta.get("stop_sequence")),
                explanation=text(details.get("explanation")),
                rest=rest,
            )
        said = section(value.get("usage"))
        merge_counts(self._counts, said)
        self._last |= said
        usage = reply.usage_of(self._counts)
        if usage is not None:
            self._blocks.add(Counted(usage, self._last))


def _part(block: Document) -> Part:
    kind = text(block.get("type"))
    if kind == "text":
        return Text("")
    if kind == "tool_use" and text(block.get("name")):
        extra = {"caller": Extra(block["caller"], "silent")} if block.get("caller") else {}
        return ToolCall(text(block.get("id")), text(block.get("name")), extra=extra)
    if kind == "thinking":
        return Reasoning([], raw=True)
    if kind == "redacted_thinking":
        return Reasoning([], carrier=Carrier("anthropic-redacted", text(block.get("data"))))
    return Opaque("messages", kind, dict(block))


def _citation(value: Document) -> Citation:
    title = text(value.get("title")) or text(value.get("document_title"))
    return Citation(text(value.get("url")), title, text(value.get("cited_text")), native=value)


def count_reply(document: Document) -> int | None:
    """The count that the reply to a request for one states; None where it states none."""
    return tokens(document.get("input_tokens"))
