"""Events, written as a Messages stream or as a whole message.

One block at a time: what opens while another is open waits until that is closed. A text or a
thinking block begins with its first word, so that none is ever empty; what does not grow is written
when it is whole. A carrier behind a text is written only where more follows: programs take the last
block for the answer. `blocks` says what a part becomes, for streams and whole replies alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import envelope, ids
from relayd.wire.events import (
    Break,
    Choice,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Events,
    Failure,
    Finish,
    Open,
    Reply,
    Rest,
    Seal,
    Start,
)
from relayd.wire.messages import reply
from relayd.wire.messages.blocks import GAP, ReplyBlocks, text, thinking, usage_document
from relayd.wire.parts import Carrier, Document, Part, Reasoning, Refusal, Text, ToolCall
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.setting import Coming

__all__ = ["MessagesWriter", "count_document", "usage_document"]

# The type of a block that grows -> the type of its deltas, and their member.
_DELTAS: Final = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
LARGEST_WAITING: Final = 64 * 1024 * 1024  # bytes, about, of blocks that wait for another's end
EVENT_SIZE: Final = 100  # of one event, beside its text


class MessagesWriter:
    """Writes one Messages reply.

    Arguments:
        coming: `request_id` makes the id, `input_estimate` is told until the upstream counts.
    """

    keepalive = b'event: ping\ndata: {"type":"ping"}\n\n'
    stream_headers = ((b"content-type", b"text/event-stream"), *EVENT_STREAM[1:])

    __slots__ = (
        "_before",
        "_blocks",
        "_carrier",
        "_coming",
        "_current",
        "_finish",
        "_gap",
        "_index",
        "_last",
        "_owed",
        "_part",
        "_refused",
        "_said",
        "_start",
        "_usage",
        "_usage_rest",
        "_waiting",
        "_waits",
    )

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._blocks = ReplyBlocks(coming)
        self._start = Start("", "")
        self._usage: Usage | None = None
        self._usage_rest: Rest = {}
        self._finish = Finish("stop")
        self._refused = False
        # Of the block that is open:
        self._current = -1  # the hub's number
        self._index = -1  # its index, or that of the last one
        self._part: Part | None = None
        self._before = b""  # of every delta; b"" until it has begun
        self._carrier: Carrier | None = None
        self._gap = ""  # before the next delta
        self._said: list[str] = []  # the free text of a call, which is told whole
        self._last = ""  # the type of the last block
        self._owed: list[Document] = []  # carriers that wait for something to follow
        # Of those that are not yet: by the hub's number, in the order in which they opened.
        self._waiting: dict[int, Events] = {}
        self._waits = 0  # bytes, about

    def __repr__(self) -> str:
        return f"<MessagesWriter index={self._index} waiting={list(self._waiting)}>"

    # --- streams --------------------------------------------------------------------------------

    def write(self, events: Events) -> bytes:
        """The bytes of these events."""
        if len(events) == 1:
            return self._event(events[0])
        return b"".join([self._event(event) for event in events])

    def say(self, block: int, text: str) -> bytes:
        """One more piece of an open text."""
        if block == self._current and self._before and not self._gap:
            return self._before + orjson.dumps(text) + b"}}\n\n"
        return self._of_block(Delta(block, text))

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure in the middle."""
        return _framed("error", reply.error_object(exc, self._coming.request_id))

    def _event(self, event: Event) -> bytes:
        match event:
            case Delta():
                return self.say(event.block, event.text)
            case Break() | Cite() | Seal() | Close():
                return self._of_block(event)
            case Open():
                return self._open(event)
            case Start():
                return self._begin_message(event)
            case Counted():
                self._usage, self._usage_rest = event.usage, event.rest
            case Finish() if event.choice == 0:
                self._finish = event
            case End():
                return self._end()
            case Failure():
                return self.error(RelayError(event.message, status=event.status, code=event.code))
        return b""

    def _begin_message(self, event: Start) -> bytes:
        self._start, self._usage = event, event.usage
        usage = event.usage or Usage(in_uncached=self._coming.input_estimate)
        rest = {} if self._coming.sealed else dict(event.rest)
        told = self._blocks.used(usage, event, rest.pop("usage", {}))
        message = self._message([], {"stop_reason": None, "stop_sequence": None}, told)
        return _framed("message_start", {"message": rest | message})

    def _end(self) -> bytes:
        out = b""
        while self._current >= 0:  # nobody closed it
            out += self._close() + self._next()
        if self._last != "text":
            out += self._paid()
        blocks, finish = self._blocks, self._finish
        told: Document = {"delta": blocks.ended(finish, refused=self._refused)}
        told["usage"] = blocks.counted(self._usage, self._usage_rest)
        told |= blocks.beside(finish)
        return out + _framed("message_delta", told) + _framed("message_stop", {})

    # --- blocks of a stream ---------------------------------------------------------------------

    def _open(self, event: Open) -> bytes:
        if event.choice:
            return b""
        if self._current >= 0:
            self._waiting[event.block] = [event]
            return b""
        part = event.part
        self._current, self._part, self._carrier = event.block, part, part.carrier
        self._refused = self._refused or isinstance(part, Refusal)
        match part:
            case ToolCall(custom=False):
                self._carrier = None
                carried = self._whole(self._blocks.carried(part))
                return carried + self._begin(self._blocks.call(part))
            case Text() | Refusal() | Reasoning() | ToolCall():
                return b""
        self._carrier = None
        out = self._whole(self._blocks.of(replace(part, carrier=None)))
        self._owed += self._blocks.behind(part)
        return out

    def _paid(self) -> bytes:
        """The carriers that waited."""
        owed, self._owed = self._owed, []
        return self._whole(owed)

    def _begin(self, block: Document) -> bytes:
        """Begin a block, and with it what all its deltas have in common."""
        paid = self._paid()
        self._index += 1
        kind, member = _DELTAS[block["type"]]
        head = {"type": "content_block_delta", "index": self._index, "delta": {"type": kind}}
        before = orjson.dumps(head)[:-2] + b',"' + member.encode() + b'":'
        self._before = b"event: content_block_delta\ndata: " + before
        return paid + self._started(block)

    def _started(self, block: Document) -> bytes:
        self._last = block["type"]
        return _framed("content_block_start", {"index": self._index, "content_block": block})

    def _stopped(self) -> bytes:
        return _framed("content_block_stop", {"index": self._index})

    def _whole(self, blocks: list[Document]) -> bytes:
        """Blocks at once. Those that have deltas get what they say in one."""
        out = self._paid() if blocks else b""
        for block in blocks:
            if block["type"] == "text":
                out += self._begin(text("")) + self._more(block["text"])
            elif block["type"] == "tool_use":
                out += self._begin(block | {"input": {}})
                out += self._more(orjson.dumps(block["input"]).decode())
            elif block["type"] == "thinking":
                out += self._begin(thinking("")) + self._signed(block["signature"])
            else:
                self._index += 1
                out += self._started(block)
            out += self._stopped()
            self._before = b""
        return out

    def _of_block(self, event: Delta | Break | Cite | Seal | Close) -> bytes:
        if event.block != self._current:
            self._keep(event)
            return b""
        match event:
            case Delta():
                return self._first(event.text)
            case Break():
                self._gap = GAP if self._before else ""
            case Seal():
                self._carrier = event.carrier
            case Cite() if event.citation.native and not self._coming.sealed:
                begun = b"" if self._before else self._begin(text(""))
                return begun + self._delta("citations_delta", citation=event.citation.native)
            case Close():
                return self._close() + self._next()
        return b""

    def _keep(self, event: Delta | Break | Cite | Seal | Close) -> None:
        waiting = self._waiting.get(event.block)
        if waiting is None:
            return  # of another choice
        self._waits += EVENT_SIZE + (len(event.text) if isinstance(event, Delta) else 0)
        if self._waits > LARGEST_WAITING:
            raise OverflowError("The upstream's reply is too large.")
        waiting.append(event)

    def _first(self, said: str) -> bytes:
        """The first words of a block or of a paragraph, or those of a call in free text."""
        begun = b""
        if not self._before:
            match self._part:
                case Text() | Refusal():
                    begun = self._begin(text(""))
                case Reasoning() if self._blocks.shows_thinking:
                    begun = self._begin(thinking(""))
                case Reasoning():
                    return b""
                case _:
                    self._said.append(said)
                    return b""
        said, self._gap = self._gap + said, ""
        return begun + self._more(said)

    def _more(self, said: str) -> bytes:
        return self._before + orjson.dumps(said) + b"}}\n\n"

    def _delta(self, kind: str, **said: Any) -> bytes:
        event = {"index": self._index, "delta": {"type": kind, **said}}
        return _framed("content_block_delta", event)

    def _signed(self, signature: str) -> bytes:
        return self._delta("signature_delta", signature=signature)

    def _close(self) -> bytes:
        out, part, carrier = b"", self._part, self._carrier
        assert part is not None
        if self._before:
            if isinstance(part, Reasoning) and self._coming.sealed:
                carrier = carrier or envelope.UNSEALED
            if isinstance(part, Reasoning) and carrier is not None:
                out, carrier = self._signed(self._blocks.sealed(carrier)), None
            out += self._stopped()
            self._before = b""
            part = replace(part, carrier=carrier)
            if isinstance(part, ToolCall):
                out += self._whole(self._blocks.carried(part))
            self._owed += self._blocks.behind(part)
        elif isinstance(part, ToolCall):
            said = "".join(self._said)
            out = self._whole(self._blocks.of(replace(part, arguments=said, carrier=carrier)))
        elif carrier is not None:
            part = replace(part, carrier=carrier)
            out = self._whole(self._blocks.of(part))
            self._owed += self._blocks.behind(part)
        self._current, self._part, self._carrier = -1, None, None
        self._gap, self._said = "", []
        return out

    def _next(self) -> bytes:
        """What waited for this, up to a block that is not whole yet."""
        out = []
        while self._waiting and self._current < 0:
            for event in self._waiting.pop(next(iter(self._waiting))):
                out.append(self._close() if isinstance(event, Close) else self._event(event))
        return b"".join(out)

    # --- whole replies --------------------------------------------------------------------------

    def whole(self, folded: Reply) -> Document:
        """A whole reply."""
        self._start = start = folded.start or self._start
        choice = folded.choices[0] if folded.choices else Choice()
        refused = any(isinstance(part, Refusal) for part in choice.parts)
        content = self._blocks.of_all(choice.parts)
        finish = choice.finish or self._finish
        usage = self._blocks.used(folded.usage, start, folded.usage_rest)
        message = self._message(content, self._blocks.ended(finish, refused=refused), usage)
        rest = {} if self._coming.sealed else start.rest
        return rest | message | self._blocks.beside(finish)

    def _message(self, content: list[Document], end: Document, usage: Document) -> Document:
        upstream = self._start.id
        own = upstream.startswith("msg_") or (bool(upstream) and not self._coming.sealed)
        return {
            "id": upstream if own else ids.minted("msg_", self._coming.request_id),
            "type": "message",
            "role": "assistant",
            "model": self._coming.model,
            "content": content,
            **end,
            "usage": usage,
        }


def count_document(tokens: int) -> Document:
    """The reply to a request for a count."""
    return {"input_tokens": tokens}


def _framed(name: str, document: Document) -> bytes:
    said = orjson.dumps({"type": name, **document})
    return b"event: " + name.encode() + b"\ndata: " + said + b"\n\n"
