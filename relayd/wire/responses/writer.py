"""Events, written as a Responses stream or as a whole response.

One block at a time: what opens while another is open waits until that is closed; `block` writes the
one that is open. A whole response is what the last event of its stream says: it is made by writing
the stream and keeping nothing else of it.
"""

from __future__ import annotations

from typing import Final

from relayd.errors import RelayError
from relayd.wire import ids
from relayd.wire.events import (
    Break,
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
    Seal,
    Start,
)
from relayd.wire.parts import Document, Refusal
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.responses import settings, shapes
from relayd.wire.responses.block import OpenBlock
from relayd.wire.responses.output import Output
from relayd.wire.setting import Coming

# Why an answer is not complete, by the hub's reason; None for one that has no word here.
INCOMPLETE: Final = {
    "length": "max_output_tokens",
    "context_full": "max_output_tokens",
    "filter": "content_filter",
    "pause": None,
}
_TIERS: Final = frozenset({"auto", "default", "flex", "priority", "scale"})


class ResponsesWriter:
    """Writes one Responses reply."""

    keepalive = b": keep-alive\n\n"
    stream_headers = EVENT_STREAM

    __slots__ = (
        "_block",
        "_coming",
        "_counted",
        "_draining",
        "_ended",
        "_finish",
        "_output",
        "_response",
        "_start",
        "_waiting",
    )

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._output = Output(coming)
        self._start: Start | None = None
        self._block = OpenBlock(coming, self._output)
        self._waiting: dict[int, Events] = {}  # by block, in the order in which they opened
        self._counted: Counted | None = None
        self._finish = Finish("stop")
        self._ended = self._draining = False
        self._response: Document = {}  # as it was told last

    def __repr__(self) -> str:
        return f"<ResponsesWriter {self._output!r} waiting={list(self._waiting)}>"

    # --- streams --------------------------------------------------------------------------------

    def write(self, events: Events) -> bytes:
        """The bytes of these events."""
        return b"".join([self._event(event) for event in events])

    def say(self, block: int, text: str) -> bytes:
        """One more piece of an open text."""
        open_block = self._block
        if block == open_block.number and open_block.before:
            return open_block.say(text)
        return self._of_block(Delta(block, text))

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure in the middle: the response has failed, with all that
        it had said."""
        if self._ended:
            return b""
        before = b"" if self._start is not None else self._begin(Start("", ""))
        self._ended = True
        if self._output.open is not None:
            self._output.items.append(self._output.open)
        code = "rate_limit_exceeded" if exc.status == 429 else "server_error"
        response = self._told("failed", {"code": code, "message": exc.message})
        response["metadata"] = {"request_id": self._coming.request_id}
        return before + self._output.event("response.failed", {"response": response})

    def whole(self, reply: Reply) -> Document:
        """A whole response."""
        for event in shapes.unfolded(reply):
            self._event(event)
        return self._response

    def _event(self, event: Event) -> bytes:
        if isinstance(event, Delta):
            block = self._block
            if event.block == block.number and block.before and not event.logprobs:
                return block.say(event.text)
            return self._of_block(event)
        match event:
            case Open():
                return self._open(event)
            case Break() | Cite() | Seal() | Close():
                return self._of_block(event)
            case Start():
                return self._begin(event)
            case Counted():
                self._counted = event
            case Finish() if event.choice == 0:
                self._finish = event
            case End():
                return self._end(event)
            case Failure():
                return self.error(RelayError(event.message, status=event.status, code=event.code))
        return b""

    def _open(self, event: Open) -> bytes:
        if event.choice:
            return b""  # there is one answer only
        if self._block.number >= 0:
            self._waiting[event.block] = [event]
            return b""
        return self._block.open(event)

    def _of_block(self, event: Delta | Break | Cite | Seal | Close) -> bytes:
        if event.block != self._block.number:
            waiting = self._waiting.get(event.block)
            if waiting is not None:
                waiting.append(event)
            return b""
        match event:
            case Delta():
                return self._block.grow(event)
            case Cite():
                self._block.cite(event.citation)
            case Seal():
                self._block.seal(event.carrier)
            case Break():
                return self._block.end_paragraph()
            case _:
                return self._close()
        return b""

    def _close(self) -> bytes:
        out = [self._block.close()]
        if not self._draining:  # whose loop goes on with the next one
            self._draining = True
            while self._waiting and self._block.number < 0:
                for event in self._waiting.pop(next(iter(self._waiting))):
                    out.append(self._event(event))
            self._draining = False
        return b"".join(out)

    # --- the response ---------------------------------------------------------------------------

    def _begin(self, event: Start) -> bytes:
        self._start = event
        if event.usage is not None:
            self._counted = Counted(event.usage)
        response = {"response": self._told("in_progress")}
        created = self._output.event("response.created", response)
        return created + self._output.event("response.in_progress", response)

    def _end(self, event: End) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        out = self._output.end()
        reason = self._finish.reason
        if reason == "filter":
            out += self._explain(self._finish.explanation)
        status = "incomplete" if reason in INCOMPLETE else "completed"
        response = self._told(status)
        why = INCOMPLETE.get(reason)
        response["incomplete_details"] = {"reason": why} if why is not None else None
        if not self._coming.sealed:
            response |= event.rest | {"status": self._finish.native or status}
        return out + self._output.event(f"response.{status}", {"response": response})

    def _explain(self, why: str) -> bytes:
        """Why there is no answer, where nothing else was said: the model's refusal."""
        if not why or any(item["type"] == "message" for item in self._output.items):
            return b""
        block = self._block
        return block.open(Open(0, Refusal(""))) + block.say(why) + block.close()

    def _told(self, status: str, error: Document | None = None) -> Document:
        """The response as it is now."""
        coming, start = self._coming, self._start or Start("", "")
        own = start.id and (start.id.startswith("resp_") or not coming.sealed)
        self._response = {
            "id": start.id if own else ids.minted("resp_", coming.request_id),
            "object": "response",
            "created_at": coming.moment if start.created is None else start.created,
            "status": status,
            "error": error,
            "incomplete_details": None,
            "model": coming.model,
            "output": self._output.items,
            "usage": self._usage() if status != "in_progress" else None,
        }
        if coming.sealed:
            tier = settings.TIERS.get(start.tier, start.tier)
            self._response |= settings.repeated(coming.request)
            self._response["service_tier"] = tier if tier in _TIERS else "auto"
        else:
            self._response |= start.rest
        return self._response

    def _usage(self) -> Document | None:
        """Null where nothing was counted."""
        if self._counted is None:
            return None
        usage = shapes.usage_document(self._counted.usage)
        return usage if self._coming.sealed else usage | self._counted.rest
