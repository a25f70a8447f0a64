"""Events, written as a Gemini reply: server-sent events, one JSON array, or a whole document.

Parts stand one after the other, so what opens while another block is open waits until that is
closed; a call is written when its arguments are whole, because they are an object. There is no
event for the end: the last chunk says why each answer ended, with the counts, and an array has its
bracket. What another provider wants back travels as base64 in `thoughtSignature`, on the call
behind it where there is one, because that is what clients send back most faithfully.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import ids
from relayd.wire.events import (
    Break,
    Choice,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Events,
    Failure,
    Finish,
    Open,
    Reason,
    Reply,
    Seal,
    Start,
)
from relayd.wire.facts import tokens
from relayd.wire.gemini import reply
from relayd.wire.gemini.answer import Answer, OfBlock
from relayd.wire.parts import Document
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.setting import Coming

REASONS: Final[dict[Reason, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "context_full": "MAX_TOKENS",
    "tool_calls": "STOP",
    "filter": "SAFETY",
    "pause": "STOP",
}
MALFORMED: Final = "MALFORMED_FUNCTION_CALL"
_NEXT: Final = b"\n,\r\n"  # between two elements of an array
_NOT_JSON: Final = "The arguments of a function call are no JSON object."


class GeminiWriter:
    """Writes one Gemini reply."""

    __slots__ = (
        "_after",
        "_answers",
        "_before",
        "_choice_of",
        "_closed",
        "_coming",
        "_counted",
        "_fast",
        "_head",
        "_lead",
        "_rest",
        "_tail",
        "keepalive",
        "stream_headers",
    )

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._answers: dict[int, Answer] = {}
        self._choice_of: dict[int, int] = {}  # by block
        self._counted: Counted | None = None
        self._head: Document = {}
        self._rest: Document = {}
        self._fast = -1  # the block whose deltas need nothing but the bytes around them
        self._before = self._after = b""
        self._closed = False
        self._lead, self._tail = (b"[", b"") if coming.array else (b"data: ", b"\r\n\r\n")
        self.keepalive = b"\n" if coming.array else b"\r\n"
        kind = b"application/json" if coming.array else b"text/event-stream"
        self.stream_headers = ((b"content-type", kind), *EVENT_STREAM[1:])

    def __repr__(self) -> str:
        return f"<GeminiWriter array={self._coming.array} {self._answers}>"

    # --- streams --------------------------------------------------------------------------------

    def write(self, events: Events) -> bytes:
        """The bytes of these events."""
        return b"".join([self._event(event) for event in events])

    def _event(self, event: Event) -> bytes:
        match event:
            case Delta():
                return self.say(event.block, event.text)
            case Break() | Seal() | Close():
                return self._of_block(event)
            case Open():
                self._choice_of[event.block] = event.choice
                return self._of_block(event)
            case Start():
                self._start(event)
            case Counted():
                self._counted = event
            case Finish():
                self._answer(event.choice).finish = event
            case End():
                return self._end()
            case Failure():
                return self.error(RelayError(event.message, status=event.status, code=event.code))
        return b""

    def say(self, block: int, text: str) -> bytes:
        """One more piece of an open text."""
        if block == self._fast:
            return self._before + orjson.dumps(text) + self._after
        return self._of_block(Delta(block, text))

    def error(self, exc: RelayError) -> bytes:
        """The bytes that tell of a failure in the middle."""
        if self._closed:
            return b""
        self._closed = True
        error = self._framed(orjson.dumps(reply.error_object(exc, self._coming.request_id)))
        return error + b"\n]" if self._coming.array else error

    def _framed(self, chunk: bytes) -> bytes:
        out = self._lead + chunk + self._tail
        if self._coming.array:
            self._lead = _NEXT
        return out

    def _start(self, event: Start) -> None:
        self._head = self._identity(event)
        if event.usage is not None:
            self._counted = Counted(event.usage)
        if not self._coming.sealed:
            self._rest = event.rest

    def _answer(self, index: int) -> Answer:
        answer = self._answers.get(index)
        if answer is None:
            answer = self._answers[index] = Answer(self._coming)
            self._fast = -1  # several answers take turns
        return answer

    def _of_block(self, event: OfBlock) -> bytes:
        index = self._choice_of.get(event.block)
        if index is None:
            return b""
        answer = self._answer(index)
        if event.block != answer.current and (answer.current >= 0 or answer.waiting):
            answer.waiting.setdefault(event.block, []).append(event)
            return b""
        return self._now(index, answer, event)

    def _now(self, index: int, answer: Answer, event: OfBlock) -> bytes:
        """An event of the block whose turn it is."""
        match event:
            case Open():
                return self._told(index, answer.open(event.block, event.part))
            case Delta():
                return self._said(index, answer, event.text)
            case Break() if answer.spoke:
                return self._said(index, answer, "\n\n")
            case Break():
                answer.spoke = True
            case Close():
                return self._close(index, answer)
            case _:  # a Seal
                answer.seal(event.carrier)
        return b""

    def _said(self, index: int, answer: Answer, text: str) -> bytes:
        answer.say(text)
        if not answer.grows:
            return b""
        self._surround(index, answer)
        out = self._before + orjson.dumps(text) + self._after
        if len(self._answers) == 1 and (self._lead is _NEXT or not self._coming.array):
            self._fast = answer.current
        self._lead = _NEXT if self._coming.array else self._lead
        return out

    def _surround(self, index: int, answer: Answer) -> None:
        """Render what stands around a piece of the open text."""
        part = {"text": "\0"} | ({"thought": True} if answer.thinks else {})
        before, _, after = orjson.dumps(self._chunk(index, [part])).partition(_HOLE)
        self._before, self._after = self._lead + before, after + self._tail

    def _close(self, index: int, answer: Answer) -> bytes:
        self._fast = -1
        self._choice_of.pop(answer.current)
        out = self._told(index, answer.close())
        while answer.waiting and answer.current < 0:
            for waiting in answer.waiting.pop(next(iter(answer.waiting))):
                out += self._now(index, answer, waiting)
        return out

    def _told(self, index: int, parts: list[Document]) -> bytes:
        chunks = [self._framed(orjson.dumps(self._chunk(index, [part]))) for part in parts]
        return b"".join(chunks)

    def _chunk(self, index: int, parts: list[Document]) -> Document:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": index}
        return {"candidates": [candidate]} | self._head

    def _end(self) -> bytes:
        self._closed = True
        answers = self._answers or {0: self._answer(0)}
        candidates = [
            self._candidate(index, answer, answer.rest() or [{"text": ""}])
            for index, answer in sorted(answers.items())
        ]
        out = self._framed(orjson.dumps(self._whole(candidates)))
        return out + b"\n]" if self._coming.array else out

    # --- documents ------------------------------------------------------------------------------

    def whole(self, folded: Reply) -> Document:
        """A whole reply."""
        self._start(folded.start or Start("", ""))
        if folded.usage is not None:
            self._counted = Counted(folded.usage, folded.usage_rest)
        candidates = []
        for index, choice in enumerate(folded.choices or [Choice()]):
            answer = Answer(self._coming)
            answer.finish = choice.finish
            parts = [each for part in choice.parts for each in answer.whole(part)]
            parts += answer.rest()
            if not self._coming.sealed:
                parts = _joined(parts)
            candidates.append(self._candidate(index, answer, parts))
        return self._whole(candidates)

    def _identity(self, start: Start) -> Document:
        sealed = self._coming.sealed
        minted = ids.minted("", self._coming.request_id)
        identity = {
            "modelVersion": self._coming.model,
            "responseId": minted if sealed else start.id,
        }
        return {name: value for name, value in identity.items() if value}

    def _whole(self, candidates: list[Document]) -> Document:
        """The reply around its answers; a prompt that was blocked has none."""
        feedback = [each.pop("promptFeedback") for each in candidates if "promptFeedback" in each]
        document: Document = {"promptFeedback": feedback[0]} if feedback else {}
        if not feedback:
            document["candidates"] = candidates
        if self._counted is not None:
            usage = usage_document(self._counted.usage)
            own = {} if self._coming.sealed else self._counted.rest
            document["usageMetadata"] = usage | own
        return document | self._head | self._rest

    def _candidate(self, index: int, answer: Answer, parts: list[Document]) -> Document:
        finish = answer.finish or Finish("stop")
        content: Document = {"parts": parts} if parts else {}
        candidate: Document = {"content": content | {"role": "model"}}
        candidate["finishReason"] = REASONS[finish.reason]
        if answer.malformed:
            candidate |= {"finishReason": MALFORMED, "finishMessage": _NOT_JSON}
        if not self._coming.sealed:
            own = {"finishReason": finish.native} if finish.native else {}
            said = {} if parts else {"content": None}
            return candidate | said | own | finish.rest
        if finish.explanation:
            candidate["finishMessage"] = finish.explanation
        return candidate | {"index": index}


_HOLE: Final = orjson.dumps("\0")


def _joined(parts: list[Document]) -> list[Document]:
    """The parts, with an empty one's signature on the text that it stands behind."""
    found: list[Document] = []
    for part in parts:
        before = found[-1] if found else {}
        same = part.get("thought") == before.get("thought")
        if part.get("text") == "" and before.get("text") and same:
            if "thoughtSignature" not in before:
                found[-1] = before | part | {"text": before["text"]}
                continue
        found.append(part)
    return found


def usage_document(usage: Usage) -> Document:
    """The `usageMetadata` object: the prompt with what the cache gave, candidates without
    thoughts."""
    prompt = (usage.in_uncached or 0) + (usage.cache_read or 0) + usage.cache_write
    thoughts = min(usage.reasoning or 0, usage.out_total or 0)  # they are part of it
    document: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": (usage.out_total or 0) - thoughts,
        "totalTokenCount": usage.total,
    }
    for name, count in (
        ("cachedContentTokenCount", usage.cache_read),
        ("thoughtsTokenCount", None if usage.reasoning is None else thoughts),
        ("toolUsePromptTokenCount", usage.tool_prompt),
    ):
        if count is not None:
            document[name] = count
    into = {"AUDIO": usage.in_audio, "IMAGE": usage.in_image, "VIDEO": usage.in_video}
    out = {"AUDIO": usage.out_audio, "IMAGE": usage.out_image}
    for name, counts in (("promptTokensDetails", into), ("candidatesTokensDetails", out)):
        told = [{"modality": k, "tokenCount": v} for k, v in counts.items() if v]
        if told:
            document[name] = told
    return document


def count_document(count: int) -> Document:
    """The reply to a request for a count."""
    return {"totalTokens": count}


def count_reply(document: Document) -> int | None:
    """The count in an upstream's reply; None where it states none."""
    return tokens(document.get("totalTokens"))
