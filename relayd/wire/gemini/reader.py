"""Gemini replies, read as events.

The format has no blocks: parts come one after the other, and those of one kind are pieces of one
text until another kind comes. A signature stands on the part that it belongs to; on a text, or on
an empty part, it is told as thinking without text right behind it, which every client's format has
a place for. Nothing says that a stream is complete but its end, and counts are running totals of
which any may be missing.
"""

from __future__ import annotations

from typing import Any, Final

from relayd.wire.alike import Plain
from relayd.wire.blocks import Blocks
from relayd.wire.events import (
    MOST_CHOICES,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Finish,
    Start,
)
from relayd.wire.facts import error_text, objects, parsed, section, text
from relayd.wire.gemini import reply
from relayd.wire.gemini.grounding import Said
from relayd.wire.gemini.pieces import logprobs_of, whole
from relayd.wire.gemini.reasons import FAULTS, REASONS
from relayd.wire.parts import (
    Carrier,
    Document,
    Media,
    Part,
    Reasoning,
    Text,
    ToolCall,
)
from relayd.wire.passthrough import merge_counts

COUNTED_EVERY: Final = 128  # chunks: nearly all have counts, and reading them takes time
_TEXT: Final = b'"text":'
_REPLY: Final = frozenset(
    {"candidates", "usageMetadata", "modelVersion", "responseId", "promptFeedback"}
)
_CONTENT: Final = frozenset({"content"})
_CANDIDATE: Final = frozenset({"content", "finishReason"})
_PASSED: Final = frozenset({429, 503})  # statuses that mean the same to the client


class _Choice:
    """One candidate so far.

    Attributes:
        open: the block that goes on, -1 for none.
        kind: what that is.
        signature: of the open text: it is told when the text is complete.
        spoke: something was said, whatever it was.
    """

    __slots__ = (
        "called",
        "finish",
        "kind",
        "message",
        "open",
        "rest",
        "said",
        "signature",
        "spoke",
    )

    def __init__(self) -> None:
        self.open = -1
        self.kind: type[Part] = Part
        self.spoke = self.called = False
        self.finish = self.message = self.signature = ""
        self.rest: Document = {}
        self.said = Said()

    def __repr__(self) -> str:
        return f"<_Choice open={self.open} {self.kind.__name__} finish={self.finish!r}>"


class GeminiReader:
    """Reads one Gemini reply."""

    __slots__ = (
        "_blocks",
        "_choices",
        "_chunks",
        "_counts",
        "_ended",
        "_feedback",
        "_first",
        "_last",
        "_raw",
        "_started",
        "plain",
    )

    def __init__(self) -> None:
        self.plain: Plain | None = None
        self._blocks = Blocks()
        self._choices: dict[int, _Choice] = {}
        self._counts: dict[str, Any] = {}
        self._feedback: Document = {}
        self._first: _Choice | None = None
        self._last: Document = {}  # counts that are not in `_counts` yet
        self._raw = b""  # the same, not read yet
        self._chunks = 0
        self._started = self._ended = False

    def __repr__(self) -> str:
        return f"<GeminiReader {self._blocks!r} {self._choices} ended={self._ended}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one chunk."""
        self.plain = None
        if self._ended or self._blocks.failed:
            return []
        self._catch_up()
        value = parsed(data)
        if value is not None:
            said = self._more(value)
            if said is not None:
                self.plain = Plain(said, _TEXT, self._heard)
                return [said]
            self._chunk(value)
        elif data.strip() == b"[DONE]":  # not Google's, but there are hosts that end so
            return self.end()
        return self._blocks.take()

    def whole(self, document: Document) -> Events:
        """The events of a whole reply: it is a stream of one chunk."""
        self._chunk(document)
        for choice in self._choices.values():
            choice.finish = choice.finish or "STOP"
        return self.end()

    def end(self) -> Events:
        """How each answer ended, which nobody knows before the stream has."""
        if self._ended or self._blocks.failed:
            return self._blocks.take()
        self._ended = True
        self._catch_up()
        for index, choice in self._choices.items():
            self._close(index, choice)
        self._count()
        if section(self._feedback).get("blockReason") and not self._choices:
            self._blocked()
        elif not any(choice.finish for choice in self._choices.values()):
            self._blocks.fail(Failure("The upstream's stream ended before it was complete."))
        else:
            self._finish()
        if not self._blocks.failed:
            self._blocks.add(End())
        return self._blocks.take()

    def _more(self, value: Document) -> Delta | None:
        """What a chunk says that only goes on with the open text, which most do; None for any
        other."""
        choice = self._first
        if choice is None or choice.open < 0 or "error" in value:
            return None
        try:
            (candidate,) = value["candidates"]
            (part,) = candidate["content"]["parts"]
            said = part["text"]
        except (KeyError, TypeError, ValueError):
            return None
        thinks = choice.kind is Reasoning
        if said.__class__ is not str or not said or len(part) != 1 + thinks:
            return None
        if thinks and part.get("thought") is not True:
            return None
        if candidate.get("index", 0) != 0 or len(candidate) != 1 + ("index" in candidate):
            return None
        if not self._goes_on(value.get("usageMetadata")):
            return None
        choice.said.add(said)
        return Delta(choice.open, said)

    def _goes_on(self, usage: object) -> bool:
        """Whether these counts only go on with the last ones: they are read later, if at all."""
        self._chunks += 1
        if usage is None:
            return True
        if usage.__class__ is not dict or self._chunks % COUNTED_EVERY == 0:
            return False
        if usage.keys() != self._last.keys() or None in usage.values():
            return False
        self._last = usage
        return True

    def _heard(self, said: str, counts: bytes) -> Events | None:
        """A chunk that nobody had to read; now and then its counts are told."""
        assert self._first is not None
        self._first.said.add(said)
        self._raw = counts or self._raw
        self._chunks += 1
        if self._chunks % COUNTED_EVERY:
            return None
        self._catch_up()
        self._count()
        return self._blocks.take()

    def _catch_up(self) -> None:
        """Read the counts of the last chunk that nobody had to read."""
        raw, self._raw = self._raw, b""
        if raw:
            self._last = parsed(raw) or self._last

    # --- one chunk ------------------------------------------------------------------------------

    def _chunk(self, value: Document) -> None:
        if value.get("error"):
            self._fail(value["error"])
            return
        self._start(value)
        usage = value.get("usageMetadata")
        if usage.__class__ is dict:
            merge_counts(self._counts, self._last)
            self._last = usage
            if self._chunks % COUNTED_EVERY == 0:
                self._count()
            self._chunks += 1
        self._feedback = section(value.get("promptFeedback")) or self._feedback
        candidates = value.get("candidates")
        for place, candidate in enumerate(objects(candidates)):
            index = candidate.get("index", place)
            if index.__class__ is int and 0 <= index < MOST_CHOICES:
                self._candidate(index, candidate)

    def _start(self, value: Document) -> None:
        if self._started:
            return
        self._started = True
        tier = text(section(value.get("usageMetadata")).get("serviceTier")).lower()
        rest = {name: each for name, each in value.items() if name not in _REPLY}
        identity = text(value.get("responseId")), text(value.get("modelVersion"))
        self._blocks.add(Start(*identity, None, None, tier, rest))

    def _count(self) -> None:
        merge_counts(self._counts, self._last)
        usage = reply.usage_of(self._counts)
        if usage is not None:
            self._blocks.add(Counted(usage, dict(self._counts)))

    def _fail(self, error: object) -> None:
        code = section(error).get("code")
        status = code if isinstance(code, int) and code in _PASSED else 502
        message = error_text(error) or "The upstream failed."
        self._blocks.fail(Failure(message, status))

    def _candidate(self, index: int, candidate: Document) -> None:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
            self._first = self._choices.get(0)
        content = candidate.get("content")
        parts = objects(section(content).get("parts"))
        for part in parts:
            self._part(index, choice, part)
        if content is not None and not parts:
            choice.rest["content"] = content
        if candidate.keys() - _CONTENT:
            self._beside(choice, candidate)

    def _beside(self, choice: _Choice, candidate: Document) -> None:
        """What is said about the answer rather than in it."""
        choice.finish = text(candidate.get("finishReason")) or choice.finish
        choice.message = text(candidate.get("finishMessage")) or choice.message
        for name, value in candidate.items():
            if name not in _CANDIDATE and value is not None:
                choice.rest[name] = value
        logprobs = candidate.get("logprobsResult")
        if logprobs is not None:
            self._likely(logprobs)
        grounding = candidate.get("groundingMetadata")
        if grounding is not None and choice.kind is Text and choice.open >= 0:
            for event in choice.said.cited(choice.open, section(grounding)):
                self._blocks.add(event)

    def _likely(self, value: object) -> None:
        """The logprobs belong to the text of this chunk."""
        for event in reversed(self._blocks.events):
            if isinstance(event, Delta):
                event.logprobs = logprobs_of(section(value)) or None
                return

    # --- parts ----------------------------------------------------------------------------------

    def _part(self, index: int, choice: _Choice, part: Document) -> None:
        said = part.get("text")
        if said.__class__ is str:
            self._text(index, choice, part)
            return
        self._close(index, choice)
        found = whole(part)
        if isinstance(found, Media) and (part.get("thought") or not (found.data or found.url)):
            return  # a picture on the way to the final one, or none at all
        choice.spoke = True
        choice.called = choice.called or isinstance(found, ToolCall)
        arguments = found.arguments if isinstance(found, ToolCall) else ""
        if isinstance(found, ToolCall):
            found.arguments = ""
        self._blocks.whole(found, arguments, index)

    def _text(self, index: int, choice: _Choice, part: Document) -> None:
        kind = Reasoning if part.get("thought") is True else Text
        said, signature = part["text"], text(part.get("thoughtSignature"))
        if said or (signature and kind is Reasoning):
            self._open(index, choice, kind)
        if said:
            choice.spoke = True
            self._blocks.text(choice.open, said)
            if kind is Text:
                choice.said.add(said)
        if signature and kind is Reasoning:
            self._blocks.seal(choice.open, Carrier("gemini-signature", signature))
            self._close(index, choice)
        elif signature:
            self._sign(index, choice, signature, beside=bool(said))

    def _open(self, index: int, choice: _Choice, kind: type[Part]) -> None:
        if choice.open >= 0 and choice.kind is kind:
            return
        self._close(index, choice)
        choice.kind = kind
        choice.open = self._blocks.open(Text("") if kind is Text else Reasoning([]), index)

    def _sign(self, index: int, choice: _Choice, signature: str, *, beside: bool) -> None:
        """A text's signature. On an empty part it ends the text; beside a piece of one it waits
        for the others."""
        if choice.signature or not beside:
            self._close(index, choice)
        if beside and choice.open >= 0:
            choice.signature = signature
        else:
            self._signed(index, signature)

    def _signed(self, index: int, signature: str) -> None:
        carrier = Carrier("gemini-signature", signature)
        self._blocks.whole(Reasoning([], carrier=carrier), "", index)

    def _close(self, index: int, choice: _Choice) -> None:
        if choice.open >= 0:
            self._blocks.close(choice.open)
            choice.open = -1
            choice.said = Said()
        if choice.signature:
            signature, choice.signature = choice.signature, ""
            self._signed(index, signature)

    # --- the end --------------------------------------------------------------------------------

    def _blocked(self) -> None:
        native = text(self._feedback.get("blockReason"))
        rest = {"promptFeedback": self._feedback}
        why = text(self._feedback.get("blockReasonMessage"))
        self._blocks.add(Finish("filter", native=native, explanation=why, rest=rest))

    def _finish(self) -> None:
        for choice in self._choices.values():
            if choice.finish in FAULTS and not choice.spoke:
                told = f": {choice.message}" if choice.message else "."
                self._blocks.fail(Failure(f"The model ended with {choice.finish}{told}"))
                return
        for index, choice in sorted(self._choices.items()):
            reason = REASONS.get(choice.finish, "stop")
            if reason == "stop" and choice.called:
                reason = "tool_calls"
            why = choice.message if reason == "filter" else ""  # Google comments calls as well
            self._blocks.add(Finish(reason, index, choice.finish, "", why, choice.rest))
