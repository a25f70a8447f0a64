"""Events, written as chat chunks or as a whole chat reply.

Everything of a chunk but the text is rendered once per block. Role, ids and names are said once,
indexes of calls are dense, and nothing comes behind the usage but the end. What chat has in no
block of its own (sources, carriers) is told as the block closes that it belongs to.

Where both sides speak chat (`coming.sealed` is False) what only this host says is told as well.
"""

from __future__ import annotations

from typing import Final

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import ids, wording
from relayd.wire.chat import details, told
from relayd.wire.chat.told import Told, usage_document
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
    Finish,
    Logprob,
    Open,
    Reply,
    Rest,
    Seal,
    Start,
)
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.setting import Coming

LARGEST_THOUGHT: Final = 16 * 1024 * 1024  # characters of thinking that are kept for its carrier
_MARK: Final = "\x00"
_RENDERED: Final = b'"\\u0000"'


class _Block:
    """An open block: what stands before and behind its text in each chunk, and what has to be known
    when it closes."""

    __slots__ = (
        "after",
        "before",
        "behind",
        "carrier",
        "choice",
        "cited",
        "index",
        "length",
        "part",
        "quiet",
        "said",
        "start",
    )

    def __init__(self, part: Part, choice: Told) -> None:
        self.part = part
        self.choice = choice
        self.before = self.behind = b""  # empty: its text is not shown
        self.index = 0  # of a call
        self.start = choice.length
        self.after = choice.place
        self.length = 0
        self.quiet = isinstance(part, ToolCall) and not part.custom  # no arguments came yet
        self.said: list[list[str]] | None = [] if isinstance(part, Reasoning) else None
        self.carrier: Carrier | None = part.carrier
        self.cited: list[Citation] = []

    def __repr__(self) -> str:
        return f"<_Block {type(self.part).__name__} {self.length} characters>"


class ChatWriter:
    """Writes one chat reply."""

    keepalive = b": keep-alive\n\n"
    stream_headers = EVENT_STREAM

    __slots__ = ("_blocks", "_choices", "_coming", "_head", "_kept", "_usage", "_usage_rest")

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._head = self._opening(Start("", ""), "chat.completion.chunk")
        self._blocks: dict[int, _Block] = {}
        self._choices: dict[int, Told] = {}
        self._usage: Usage | None = None
        self._usage_rest: Rest = {}
        self._kept = 0

    def __repr__(self) -> str:
        return f"<ChatWriter {self._head['id']} open={list(self._blocks)}>"

    def _opening(self, start: Start, kind: str) -> Document:
        """What every chunk begins with, and a whole reply."""
        coming = self._coming
        minted = ids.minted("chatcmpl-", coming.request_id)
        head: Document = {
            "id": minted if coming.sealed else start.id,
            "object": kind,
            "created": int(coming.moment if start.created is None else start.created),
            "model": coming.model,
        }
        if start.tier:
            head["service_tier"] = "default" if start.tier == "standard" else start.tier
        return head if coming.sealed else start.rest | head

    # --- streams --------------------------------------------------------------------------------

    def write(self, events: Events) -> bytes:
        """The chunks of these events."""
        if len(events) == 1 and isinstance(events[0], Delta):
            return self._delta(events[0])  # as nearly always
        return b"".join([self._event(event) for event in events])

    def say(self, block: int, text: str) -> bytes:
        """One more piece of an open text."""
        said = self._blocks.get(block)
        if said is None or said.part.__class__ is not Text:
            return self._delta(Delta(block, text))
        said.length += len(text)
        return said.before + orjson.dumps(text) + said.behind

    def _event(self, event: Event) -> bytes:
        match event:
            case Delta():
                return self._delta(event)
            case Open():
                return self._open(event)
            case Break() | Seal() | Cite() | Close():
                block = self._blocks.get(event.block)
                return b"" if block is None else self._of_block(block, event)
            case Start():
                self._head = self._opening(event, "chat.completion.chunk")
                self._usage = event.usage
                return self._role(self._told(0))
            case Counted():
                self._usage, self._usage_rest = event.usage, event.rest
                return b""
            case Finish():
                return self._finish(event)
            case End():
                return self._end(event)
            case _:  # a failure
                return self.error(RelayError(event.message, status=event.status, code=event.code))

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure in the middle."""
        body = {"error": wording.error_object(exc), "request_id": self._coming.request_id}
        return b"data: " + orjson.dumps(body) + b"\n\n"

    def _end(self, event: End) -> bytes:
        if not self._coming.sealed:
            self._head |= event.rest
        out = [self._finish(Finish("stop", index)) for index in sorted(self._choices)]
        usage = self._usage
        if self._coming.request.show_usage and usage is not None:
            document = usage_document(usage)
            out.append(self._framed([], document if self._coming.sealed else self._own(document)))
        return b"".join([*out, b"data: [DONE]\n\n"])

    def _own(self, document: Document) -> Document:
        return self._usage_rest | document | self._usage_rest

    def _finish(self, event: Finish) -> bytes:
        choice = self._told(event.choice)
        if choice.finished:
            return b""
        out = self._role(choice)
        choice.finished = True
        refusal = told.explained(event, refused=choice.refused)
        if refusal:
            out += self._chunk(choice, {"refusal": refusal})
        rest = {} if self._coming.sealed else dict(event.rest)
        delta = rest.pop("message", {})
        return out + self._chunk(choice, delta, None, told.reason(event, self._coming), rest)

    # --- blocks ---------------------------------------------------------------------------------

    def _delta(self, event: Delta) -> bytes:
        block = self._blocks.get(event.block)
        if block is None:
            return b""
        said = event.text
        block.length += len(said)
        if block.quiet:
            block.quiet = not said.strip()
        elif block.said is not None:
            said = self._thought(block, block.said, said)
        elif event.logprobs and isinstance(block.part, Text | Refusal):
            name = "content" if isinstance(block.part, Text) else "refusal"
            return self._chunk(block.choice, {name: said}, event.logprobs)
        return block.before + orjson.dumps(said) + block.behind if block.before else b""

    def _thought(self, block: _Block, paragraphs: list[list[str]], said: str) -> str:
        """Keep thinking until its carrier comes; behind other thinking it is a new paragraph."""
        self._kept += len(said)
        if self._kept > LARGEST_THOUGHT:
            raise OverflowError("The upstream's thinking is too large.")
        new = self._coming.sealed and block.choice.thought and not any(paragraphs)
        block.choice.thought = True
        if not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(said)
        return "\n\n" + said if new else said

    def _open(self, event: Open) -> bytes:
        part, choice = event.part, self._told(event.choice)
        out = self._role(choice)
        match part:
            case Image():
                out += self._chunk(choice, {"images": [choice.image(part)]})
                return out + self._carried(_Block(part, choice), [])
            case Audio():
                return out + self._chunk(choice, {"audio": told.audio(part, self._head)})
            case Text() | Refusal() | Reasoning() | ToolCall():
                block = self._blocks[event.block] = _Block(part, choice)
                return out + self._begin(block)
        return out

    def _begin(self, block: _Block) -> bytes:
        """A block's first bytes, and what its text will stand in."""
        out, part = b"", block.part
        match part:
            case Text():
                self._render(block, {"content": _MARK})
            case Refusal():
                block.choice.refused = True
                self._render(block, {"refusal": _MARK})
            case Reasoning() if told.shown(self._coming):
                self._render(block, details.in_field(details.USUAL, _MARK))
            case ToolCall():
                block.index, block.after = block.choice.call(part.id), part.id
                out = self._chunk(block.choice, told.opened(part, block.index, self._coming))
                self._render(block, told.more(part, block.index, self._coming, _MARK))
        return out

    def _render(self, block: _Block, delta: Document) -> None:
        chunk = self._chunk(block.choice, delta)
        block.before, _, block.behind = chunk.rpartition(_RENDERED)

    def _of_block(self, block: _Block, event: Break | Seal | Cite | Close) -> bytes:
        match event:
            case Break():
                return self._break(block)
            case Cite():
                block.cited.append(event.citation)
            case Seal():
                block.carrier = event.carrier
                if isinstance(block.part, Reasoning) and not self._coming.sealed:
                    field = details.where(event.carrier).field
                    self._render(block, details.in_field(field, _MARK))
            case _:
                del self._blocks[event.block]
                return self._close(block)
        return b""

    def _break(self, block: _Block) -> bytes:
        """The next paragraph of a summary: an empty line, unless nothing stands before it."""
        if block.said is None:
            return b""
        first = not block.said
        block.said.append([])
        return b"" if first or not block.before else block.before + b'"\\n\\n"' + block.behind

    def _close(self, block: _Block) -> bytes:
        part, choice = block.part, block.choice
        match part:
            case Text():
                cited = told.sources(block.cited, block.start, block.length, self._coming)
                choice.length += block.length
                out = self._chunk(choice, {"annotations": choice.noted(cited)}) if cited else b""
                return out + self._carried(block, [])
            case ToolCall():
                return self._close_call(block, part)
            case Reasoning():
                said = ["".join(each) for each in block.said or []]
                return self._carried(block, said, raw=part.raw)
        return b""

    def _close_call(self, block: _Block, part: ToolCall) -> bytes:
        out, index, coming = b"", block.index, self._coming
        if block.quiet:
            out = self._chunk(block.choice, told.more(part, index, coming, "{}"))
        if block.carrier is not None and part.carrier is None:
            late = {"index": index} | told.beside(part, block.carrier, coming)
            out += self._chunk(block.choice, {"tool_calls": [late]})
        block.carrier = told.bound(part, block.carrier)
        return out + self._carried(block, [])

    def _carried(self, block: _Block, said: list[str], *, raw: bool = False) -> bytes:
        """The details that bring a block's carrier back."""
        choice, after = block.choice, block.after
        entries = choice.carried(block.carrier, self._coming, said, after=after, raw=raw)
        return self._chunk(choice, {"reasoning_details": entries}) if entries else b""

    # --- chunks ---------------------------------------------------------------------------------

    def _told(self, index: int) -> Told:
        """An answer; the first opens before any other."""
        if index not in self._choices:
            self._choices[index] = Told(index)
        return self._choices[index]

    def _role(self, choice: Told) -> bytes:
        """The opener of an answer, once."""
        if choice.opened:
            return b""
        choice.opened = True
        return self._chunk(choice, {"role": "assistant", "content": "", "refusal": None})

    def _chunk(
        self,
        choice: Told,
        delta: Document,
        logprobs: list[Logprob] | None = None,
        finish: str | None = None,
        rest: Rest | None = None,
    ) -> bytes:
        name = "refusal" if "refusal" in delta else "content"
        each = (rest or {}) | {
            "index": choice.index,
            "delta": delta,
            "logprobs": told.logprobs(logprobs, name),
            "finish_reason": finish,
        }
        return self._framed([each])

    def _framed(self, choices: list[Document], usage: Document | None = None) -> bytes:
        document = self._head | {"choices": choices}
        if self._coming.request.show_usage:
            document["usage"] = usage
        return b"data: " + orjson.dumps(document) + b"\n\n"

    # --- whole replies --------------------------------------------------------------------------

    def whole(self, folded: Reply) -> Document:
        """A whole reply."""
        head = self._opening(folded.start or Start("", ""), "chat.completion")
        choices = [
            told.choice(index, each, self._coming, head)
            for index, each in enumerate(folded.choices or [Choice()])
        ]
        self._usage_rest = folded.usage_rest
        document = head | {"choices": choices}
        if folded.usage is not None:
            usage = usage_document(folded.usage)
            document["usage"] = usage if self._coming.sealed else self._own(usage)
        return document
