"""The grammar of Messages streams, and the shape of whole messages (wire-formats 4.2, 4.3, 9.3).

Every event is named as its type; blocks are dense and one at a time; a delta fits its block and is
not empty; the one signature stands right before the stop; counts are there from the start.
"""

from __future__ import annotations

import re

from tests.wire.grammar.frames import (
    Document,
    Ending,
    Frame,
    an_object,
    broken,
    count,
    frames,
    member,
    need,
    only,
    said,
)

STOP = frozenset(
    "end_turn max_tokens stop_sequence tool_use pause_turn refusal "
    "model_context_window_exceeded".split()
)
# Which delta goes into which block, and its text's name.
FITS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
    "signature_delta": ("thinking", "signature"),
}
CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
COUNTS = ("cache_read_input_tokens", "cache_creation_input_tokens")


class MessagesStream:
    """A stream as far as it was checked.

    Arguments:
        arguments: those of calls are JSON objects, as far as the upstream's were.
    """

    def __init__(self, *, arguments: bool = True) -> None:
        self.arguments = arguments
        self.ending: Ending = "open"
        self.started = self.stopping = False
        self.index = -1
        self.block: Document | None = None
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.signed = False
        self.reason = ""

    def check(self, data: bytes) -> Ending:
        """Check a whole stream; returns how it ended."""
        for frame in frames(data, named=True, comments=False):
            need(self.ending == "open", "nothing comes behind the end", frame)
            need(frame.value.get("type") == frame.name, "the name is the type", frame)
            self._event(frame)
        return self.ending

    def _event(self, frame: Frame) -> None:
        value = frame.value
        match frame.name:
            case "ping":
                only(value, {"type"}, "a ping")
            case "error":
                error(value)
                self.ending = "failed"
            case "message_start":
                need(not self.started, "a message starts once", frame)
                self.started = True
                self._start(value)
            case "content_block_start":
                self._open(value)
            case "content_block_delta":
                self._delta(value)
            case "content_block_stop":
                self._close(value)
            case "message_delta":
                self._message_delta(value)
            case "message_stop":
                need(self.stopping, "message_delta comes before message_stop", frame)
                only(value, {"type"}, "a stop")
                self.ending = "complete"
            case _:
                broken("a known event", frame)

    def _start(self, value: Document) -> None:
        message = member(value, "message", dict, "message_start")
        head(message)
        need(message.get("content") == [], "a message begins without content", message)
        need(message["stop_reason"] is None, "a message begins without a stop", message)
        need(message["stop_sequence"] is None, "a message begins without a stop", message)

    def _open(self, value: Document) -> None:
        need(self.started and not self.stopping, "blocks stand in the message", value)
        need(self.block is None, "one block at a time", value)
        self.index += 1
        need(count(value, "index", "start") == self.index, "indexes are dense from 0", value)
        self.block = block = member(value, "content_block", dict, "start")
        kind = said(block, "type", "block")
        shapes = {
            "text": {"type": "text", "text": ""},
            "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        }
        if kind in shapes:
            need(block == shapes[kind], "a block opens empty", block)
        elif kind == "tool_use":
            call(block)
            need(block["input"] == {}, "a call opens empty", block)
        elif kind == "redacted_thinking":
            said(block, "data", "redacted")
        self.kinds.append(kind)
        self.texts, self.signed = [], False

    def _delta(self, value: Document) -> None:
        need(self.block is not None, "a delta is of an open block", value)
        need(count(value, "index", "delta") == self.index, "a delta is of its block", value)
        need(not self.signed, "a signature is the last of a block", value)
        delta = member(value, "delta", dict, "delta")
        kind = said(delta, "type", "delta")
        if kind == "citations_delta":
            need(self.kinds[-1] == "text", "a delta fits its block", value)
            member(delta, "citation", dict, "delta")
            return
        need(kind in FITS, "a known delta", value)
        block, name = FITS[kind]
        need(self.kinds[-1] == block, "a delta fits its block", value)
        only(delta, {"type", name}, "a delta")
        text = said(delta, name, "delta")
        if kind == "signature_delta":
            self.signed = True
        else:
            self.texts.append(text)

    def _close(self, value: Document) -> None:
        need(self.block is not None, "what stops was open", value)
        need(count(value, "index", "stop") == self.index, "a stop is of its block", value)
        whole = "".join(self.texts)
        if self.kinds[-1] == "tool_use" and whole and self.arguments:
            need(an_object(whole), "arguments are a JSON object", whole)
        if self.kinds[-1] == "thinking":
            need(whole or self.signed, "no thinking block is empty and unsigned", value)
        self.block = None

    def _message_delta(self, value: Document) -> None:
        need(self.started and self.block is None, "blocks are closed before the end", value)
        self.stopping = True
        delta = member(value, "delta", dict, "message_delta")
        self.reason = ending(delta, self.kinds)
        usage = member(value, "usage", dict, "message_delta")
        # Arguments are taken as they come from an upstream that may say anything: so are counts.
        counts(usage, zero=not self.arguments)


def stream(data: bytes, *, arguments: bool = True) -> Ending:
    """Check a stream; returns how it ended. Raises Broken."""
    return MessagesStream(arguments=arguments).check(data)


# --- pieces -------------------------------------------------------------------------------------


def head(message: Document) -> None:
    """What stands around the content."""
    need(said(message, "id", "message").startswith("msg_"), "the id is a message's", message)
    need(message.get("type") == "message", "the type is there", message)
    need(message.get("role") == "assistant", "the role is there", message)
    said(message, "model", "message")
    member(message, "content", list, "message")
    count(member(message, "usage", dict, "message"), "input_tokens")
    need("stop_reason" in message and "stop_sequence" in message, "both are there", message)
    counts(member(message, "usage", dict, "message"), zero=True)


def counts(usage: Document, *, zero: bool) -> None:
    """A `usage` object.

    Arguments:
        zero: the input may be none, as at the start. Behind that a count of zero would be a
            placeholder that clients take for the count (trap 71).
    """
    count(usage, "output_tokens")
    if "input_tokens" in usage:
        into = count(usage, "input_tokens")
        cached = sum(usage.get(name) or 0 for name in COUNTS)
        need(zero or into + cached, "an input count of zero is no placeholder", usage)
    for name in COUNTS:
        if usage.get(name) is not None:
            count(usage, name)


def ending(delta: Document, kinds: list[str]) -> str:
    """Reason and stop text, which fit the blocks."""
    need("stop_sequence" in delta, "stop_sequence is there, if null", delta)
    reason = said(delta, "stop_reason", "delta")
    need(reason in STOP, "a known stop reason", delta)
    need(reason != "tool_use" or "tool_use" in kinds, "tool_use says that there are calls", delta)
    need(reason != "end_turn" or "tool_use" not in kinds, "calls end with tool_use", delta)
    need(delta["stop_sequence"] is None or isinstance(delta["stop_sequence"], str), "text", delta)
    return reason


def call(block: Document) -> None:
    """A `tool_use` block."""
    need(CALL_ID.fullmatch(said(block, "id", "call")), "the id fits the API's pattern", block)
    said(block, "name", "call")
    member(block, "input", dict, "call")


def error(document: Document) -> None:
    """An error that the SDKs raise."""
    inner = member(document, "error", dict, "failure")
    said(inner, "type", "error")
    said(inner, "message", "error")


# --- whole --------------------------------------------------------------------------------------


def whole(document: Document, *, arguments: bool = True) -> None:
    """Check a whole message; its calls' inputs are always objects. Raises Broken."""
    head(document)
    for block in document["content"]:
        kind = said(block, "type", "block")
        if kind == "text":
            said(block, "text", "block")
        elif kind == "thinking":
            text, signature = (
                member(block, "thinking", str, "block"),
                member(block, "signature", str, "block"),
            )
            need(text or signature, "no thinking block is empty and unsigned", block)
        elif kind == "tool_use":
            call(block)
        elif kind == "redacted_thinking":
            said(block, "data", "block")
    kinds = [block["type"] for block in document["content"]]
    ending(document, kinds)
