"""Chat streams under way: usage from whichever chunk has it, the end, errors, hidden usage.

Some hosts send usage on every chunk, as running totals: the last one wins. OpenAI sends
`"usage":null` on every chunk once usage was asked for, so the needles ask for an object, in the
spelling of the host. `HidingChat` is for streams in which the relay asked for usage and the client
did not: it takes out the one chunk that has usage and no choices, and holds back only the
unfinished tail of an event, because that might be the one.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import sse, wording
from relayd.wire.chat import media_stream, reply
from relayd.wire.facts import objects, parsed
from relayd.wire.head import Head
from relayd.wire.passthrough import ENDS, EVERYTHING, Passthrough, string_bytes

LONGEST_HELD = 64 * 1024
_BEFORE_EVENT = re.compile(rb"(?:(?::[^\r\n]*)?(?:\r\n|\n|\r))*+")
# Compact and spaced JSON, told apart so that `"usage":null` costs no parse.
COMPACT = (b'"usage":{', b'"finish_reason":"', b"[DONE]", b'"error"')
SPACED = (b'"usage": {', b'"finish_reason": "', b"[DONE]", b'"error"')


class ChatPassthrough(Passthrough):
    """The observer of a chat stream."""

    __slots__ = ("_ended", "_raw_usage")

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._raw_usage: object = None
        self._ended = False

    def _usage(self) -> Usage | None:
        return reply.usage_of(self._raw_usage)

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        if self._ended:
            return
        usage = reply.usage_object(value)
        if isinstance(usage, dict):
            self._raw_usage = usage
        if value.get("error"):
            self._fail(value["error"])
        for choice in objects(value.get("choices")):
            if choice.get("finish_reason"):
                self.complete = True

    def _needles_for(self, data: bytes) -> tuple[bytes, ...]:
        if b'"choices":[' in data:
            return COMPACT
        return SPACED if b'"choices": [' in data else EVERYTHING

    def _done(self) -> None:
        self._ended = self.complete = True

    def _text_bytes(self, value: dict[str, Any]) -> int:
        return sum(string_bytes(choice.get("delta")) for choice in objects(value.get("choices")))

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        body = {"error": wording.error_object(exc), "request_id": request_id}
        return b"data: " + orjson.dumps(body) + b"\n\n"


class HidingChat(ChatPassthrough):
    """The observer of a chat stream whose usage only the relay asked for."""

    __slots__ = ("_released",)

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        # Whether the unfinished event has been given out so far after all, because it is so long.
        self._released = False

    def feed(self, chunk: bytes) -> bytes:
        """The bytes for the client: without the usage chunk, and without an unfinished tail."""
        self.seen += len(chunk)
        if not self._framer.pending and chunk.endswith(ENDS):
            return _without_usage(chunk) if self._observe(chunk) else chunk
        return self._feed_torn(chunk)

    def finish(self) -> bytes:
        """At the upstream's end: what was held back, unless it is half an event or the usage."""
        held = self._framer.rest()
        closing = super().finish()
        if self._released:
            return closing
        if closing:
            return _without_usage(held + closing)
        if sse.parse(held).data:
            self._framer.clear()
            return b""
        self.at_boundary = not held
        return held

    def _feed_torn(self, chunk: bytes) -> bytes:
        framer = self._framer
        before, skipping = framer.pending, framer.skipping
        long = before + len(chunk) > LONGEST_HELD and not self._released
        held = framer.rest() if long else b""
        whole = framer.feed(chunk)
        if whole:
            self._observe(whole)
        ended = chunk[: len(chunk) - framer.pending]
        unended = framer.pending == before + len(chunk)
        if not self._released:
            out = _without_usage(whole)
        elif unended:
            return chunk
        else:
            # The event given out in part is not the one to hide any more: its rest goes out.
            first = 0 if skipping else len(next(sse.blocks(whole)))
            self._released = False
            out = ended[: len(ended) - (len(whole) - first)] + _without_usage(whole[first:])
        if not self.opened:
            self._open_if_long(framer.pending)
        if framer.pending > LONGEST_HELD:
            out += held + chunk if unended else chunk[len(ended) :]
            self._released = True
        self.at_boundary = not self._released
        return out


class CompletionStream(ChatPassthrough):
    """The observer of a legacy completion, whose chunks have a text and no delta."""

    content: ClassVar[bytes] = b'"text":'
    __slots__ = ()

    def _text_bytes(self, value: dict[str, Any]) -> int:
        return _texts(value)


class HidingCompletion(HidingChat):
    """The same, where only the relay asked for usage."""

    content: ClassVar[bytes] = b'"text":'
    __slots__ = ()

    def _text_bytes(self, value: dict[str, Any]) -> int:
        return _texts(value)


def _texts(value: dict[str, Any]) -> int:
    return sum(string_bytes(choice.get("text")) for choice in objects(value.get("choices")))


def observer(head: Head) -> Passthrough:
    """A fresh observer for the stream that answers `head`."""
    if head.asked is not None:
        return media_stream.observer(head)
    if head.target.verb == "completions":
        return CompletionStream() if head.asked_usage else HidingCompletion()
    return ChatPassthrough() if head.asked_usage else HidingChat()


def _without_usage(whole: bytes) -> bytes:
    """`whole` without chunks that have usage and no choices; the same object if there is none."""
    kept = [_shown_of(block) for block in sse.blocks(whole)]
    shown = b"".join(kept)
    return whole if len(shown) == len(whole) else shown


def _shown_of(block: bytes) -> bytes:
    """`block`, or, where it is the usage chunk, the blank lines and comments before that."""
    if not _is_usage_alone(block):
        return block
    before = _BEFORE_EVENT.match(block)
    return before.group() if before else b""


def _is_usage_alone(block: bytes) -> bool:
    value = parsed(sse.parse(block).data) if b'"usage"' in block else None
    return value is not None and bool(value.get("usage")) and not value.get("choices")
