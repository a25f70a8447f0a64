"""Chat replies, read as events: streams of chunks, and whole replies as one large chunk.

Fragments of a call belong together by their index; a new id, or another name, on a known index is a
new call, because some hosts send all of them with index 0. A call opens once its name is known; one
that never gets a name is none. A finish reason ends nothing by itself: usage comes behind it, and
at some hosts text. So `Finish` is told at the end. Thinking has three spellings, and its carrier
says which (`details`).
"""

from __future__ import annotations

from typing import Final

from relayd.wire.alike import Plain
from relayd.wire.blocks import Blocks
from relayd.wire.chat import details, found, reply
from relayd.wire.chat.details import Details
from relayd.wire.chat.found import LEGACY, Call, Choice
from relayd.wire.events import (
    MOST_CHOICES,
    Cite,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Finish,
    Rest,
    Start,
)
from relayd.wire.facts import objects, parsed, section, text
from relayd.wire.parts import Document, Part, Reasoning, Refusal, Text

MOST_KEPT: Final = 64 * 1024 * 1024  # characters that wait: sound, and calls without a name
MOST_MEMBERS: Final = 1000  # of lists that only their host understands
LATEST: Final = 2**53
_OPENING: Final = frozenset(
    {"id", "model", "created", "choices", "usage", "object", "service_tier", "obfuscation"}
)
_CHOICE: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE: Final = frozenset(
    {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "images",
        "audio",
        "annotations",
    }
)


class ChatReader:
    """Reads one chat reply."""

    __slots__ = ("_blocks", "_choices", "_done", "_kept", "_late", "_started", "_whole", "plain")

    def __init__(self) -> None:
        self.plain: Plain | None = None
        self._blocks = Blocks()
        self._choices: dict[int, Choice] = {}
        self._started = False
        self._whole = False
        self._done = False
        self._kept = 0
        self._late: Rest = {}  # what the host says of the reply beside its usage

    def __repr__(self) -> str:
        return f"<ChatReader {self._blocks!r} done={self._done}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one chunk."""
        value, self.plain = parsed(data), None
        if value is not None and not (self._done or self._blocks.failed):
            self.plain = found.plain(value, self._choices)
            if self.plain is not None:
                return [self.plain.said]
        if value is None:
            if data.strip() == b"[DONE]" and self._started:
                self._finish()
        elif not self._done and not self._blocks.failed:
            self._chunk(value)
        return self._blocks.take()

    def whole(self, document: Document) -> Events:
        """The events of a whole reply."""
        self._whole = True
        self._chunk(document)
        if self._choices:
            self._finish()
        return self._blocks.take() + self.end()

    def end(self) -> Events:
        """The rest; a failure where nothing said that it was all."""
        if any(each.finish for each in self._choices.values()):
            self._finish()
        if not self._done:
            self._blocks.fail(Failure("The upstream's reply ended before it was complete."))
        return self._blocks.take()

    def _finish(self) -> None:
        blocks = self._blocks
        if self._done or blocks.failed:
            return
        self._done = True
        choices = sorted(self._choices.values(), key=lambda each: each.index)
        for choice in choices:
            self._complete(choice)
        blocks.close_all()
        for choice in choices:
            rest = choice.rest | ({"message": choice.own} if choice.own else {})
            blocks.add(Finish(choice.reason, choice.index, choice.finish, rest=rest))
        blocks.add(End(self._late))

    def _complete(self, choice: Choice) -> None:
        """What waited for more that does not come."""
        self._settle(choice)
        heard = found.sound(choice.audio)
        if heard.data or heard.transcript:
            self._blocks.whole(heard, choice=choice.index)

    # --- one chunk ------------------------------------------------------------------------------

    def _chunk(self, value: Document) -> None:
        error = value.get("error") or section(value.get("x_groq")).get("error")
        if error:
            self._blocks.fail(found.failure(error))
            return
        choices = objects(value.get("choices"))
        raw = reply.usage_object(value)
        if not self._started and (choices or raw or value.get("id")):
            self._start(value)
        for each in choices:
            if not self._blocks.failed:
                self._choice(each)
        usage = reply.usage_of(raw)
        if usage is not None and not self._blocks.failed:
            self._blocks.add(Counted(usage, section(raw)))
            if not self._whole:
                self._late = _own(value)

    def _start(self, value: Document) -> None:
        self._started = True
        created = value.get("created")
        number = isinstance(created, int | float) and not isinstance(created, bool)
        known = number and 0 <= (created or 0) < LATEST
        tier = text(value.get("service_tier"))
        self._blocks.add(
            Start(
                text(value.get("id")),
                text(value.get("model")),
                created if known else None,
                None,
                "standard" if tier == "default" else tier,
                _own(value),
            )
        )

    def _choice(self, value: Document) -> None:
        index = value.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.get(index)
        if choice is None:
            if not 0 <= index < MOST_CHOICES:
                raise OverflowError("The upstream's reply has too many answers.")
            choice = self._choices[index] = Choice(index)
        # Some hosts repeat in each chunk the whole message so far.
        said = value["delta"] if "delta" in value else value.get("message")
        if isinstance(said, dict):
            logprobs = found.logprobs(value.get("logprobs"))
            self._keep(len(logprobs))
            choice.logprobs += logprobs
            self._said(choice, said)
        finish = text(value.get("finish_reason"))
        if finish == "error":
            self._blocks.fail(found.failure(value.get("error") or "The reply broke off."))
        if finish or self._whole:
            choice.finish = finish
            choice.rest = {k: v for k, v in value.items() if k not in _CHOICE and v is not None}

    def _said(self, choice: Choice, delta: Document) -> None:
        """What a chunk says, in the order in which a message has it."""
        self._think(choice, delta)
        said = delta.get("content")
        if isinstance(said, list):
            for each in objects(said):
                self._part(choice, each)
        elif said:
            self._say(choice, Text, text(said))
        for each in objects(delta.get("images")):
            self._show(choice, each)
        self._cite(choice, objects(delta.get("annotations")))
        if delta.get("refusal"):
            self._say(choice, Refusal, text(delta["refusal"]))
        self._hear(choice, section(delta.get("audio")))
        for place, call in enumerate(objects(delta.get("tool_calls"))):
            self._call(choice, call, place if self._whole else call.get("index"))
        legacy = section(delta.get("function_call"))
        if legacy.get("name") or LEGACY in choice.calls:
            self._call(choice, {"function": legacy}, LEGACY)
        self._keep_own(choice, delta)

    def _keep_own(self, choice: Choice, delta: Document) -> None:
        """Members that only this host has: all of a whole reply's; of a stream the lists, which
        grow, because everything else there is repeated."""
        for name in delta.keys() - _MESSAGE:
            value, known = delta[name], choice.own.get(name, [])
            if self._whole:
                choice.own[name] = value
            elif isinstance(value, list) and len(choice.own) + len(known + value) <= MOST_MEMBERS:
                choice.own[name] = known + value

    def _keep(self, size: int) -> None:
        """Count what has to wait."""
        self._kept += size
        if self._kept > MOST_KEPT:
            raise OverflowError("The upstream's reply is too large.")

    # --- text and thinking ----------------------------------------------------------------------

    def _say(
        self, choice: Choice, kind: type[Text] | type[Refusal] | type[Reasoning], said: str
    ) -> None:
        """Text, a refusal or thinking goes on, or begins."""
        if not said:
            return
        if choice.kind is not kind:
            self._begin(choice, _empty(kind))
            if kind is Reasoning:
                self._blocks.seal(choice.block, details.carrier(choice.field, []))
        logprobs = choice.logprobs if kind is not Reasoning else []
        self._blocks.add(Delta(choice.block, said, logprobs or None))
        if logprobs:
            choice.logprobs = []
        self._cite(choice, [])

    def _begin(self, choice: Choice, part: Part) -> None:
        self._settle(choice)
        choice.kind, choice.block = type(part), self._blocks.open(part, choice.index)

    def _settle(self, choice: Choice) -> None:
        """Close the text or thinking that is open."""
        if choice.kind is None:
            return
        if choice.details:
            whole = details.carrier(choice.field, choice.details.whole())
            self._blocks.seal(choice.block, whole)
            choice.details = Details()
        self._blocks.close(choice.block, choice.ends)
        choice.kind, choice.ends = None, {}

    def _think(self, choice: Choice, delta: Document) -> None:
        """Thinking, in whichever of its spellings; in the details only where it is nowhere else."""
        field = next((name for name in details.FIELDS if text(delta.get(name))), "")
        if field:
            choice.thought = True
            self._think_in(choice, field, delta[field])
        entries = objects(delta.get("reasoning_details"))
        if not entries:
            return
        if not choice.thought:  # else it is what was said already
            self._think_in(choice, details.NOWHERE, details.said_in(entries))
        if choice.kind is not Reasoning:
            choice.field = details.NOWHERE
            self._begin(choice, _empty(Reasoning))
        choice.details.add(entries)

    def _think_in(self, choice: Choice, field: str, said: str) -> None:
        if choice.kind is not Reasoning:
            choice.field = field
        self._say(choice, Reasoning, said)

    def _part(self, choice: Choice, part: Document) -> None:
        """A part of a content that is a list; what is neither text nor thinking nor a picture has
        no name in any other format."""
        kind = part.get("type")
        if kind == "thinking":
            self._think_in(choice, details.CONTENT, details.said_in(objects(part.get("thinking"))))
            choice.ends = {k: v for k, v in part.items() if k not in ("type", "thinking")}
        elif kind == "image_url":
            self._show(choice, part)
        else:
            self._say(choice, Text, text(part.get("text")))

    # --- pictures, sound, sources ---------------------------------------------------------------

    def _show(self, choice: Choice, value: Document) -> None:
        part = found.picture(value)
        if part is not None:
            self._settle(choice)
            self._blocks.whole(part, choice=choice.index)

    def _hear(self, choice: Choice, value: Document) -> None:
        """Sound comes in pieces."""
        for name, piece in value.items():
            if name in ("data", "transcript") and text(piece):
                self._keep(len(piece))
                choice.audio.setdefault(name, []).append(piece)
            elif name in ("id", "expires_at") and isinstance(piece, str | int):
                choice.audio[name] = piece

    def _cite(self, choice: Choice, annotations: list[Document]) -> None:
        """Sources of the open text; they wait for it where they come first."""
        for each in annotations:
            citation = found.citation(each)
            if citation is not None:
                self._keep(len(citation.quoted) + 1)
                choice.cited.append(citation)
            elif len(choice.own.get("annotations", [])) < MOST_MEMBERS:
                choice.own.setdefault("annotations", []).append(each)
        if choice.cited and choice.kind is Text:
            for citation in choice.cited:
                self._blocks.add(Cite(choice.block, citation))
            choice.cited = []

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, choice: Choice, value: Document, index: object) -> None:
        custom = section(value.get("custom"))
        is_custom = value.get("type") == "custom" or bool(custom.get("name"))
        call = self._call_of(choice, value, index, custom=is_custom)
        function = custom if call.custom else section(value.get("function"))
        beside = details.of_call(value.get("extra_content"))
        if beside is not None and call.block >= 0:
            self._blocks.seal(call.block, beside)
        call.carrier = beside or call.carrier
        call.name = call.name or text(function.get("name"))
        if call.name and call.block < 0:
            self._open_call(choice, call)
        said = function.get("input" if call.custom else "arguments")
        said = details.dumped(said) if isinstance(said, dict) else text(said)
        if call.block >= 0:
            self._blocks.text(call.block, said)
        elif said:
            self._keep(len(said))
            call.held.append(said)

    def _call_of(self, choice: Choice, value: Document, index: object, *, custom: bool) -> Call:
        """The call that a fragment goes on with, or a new one."""
        counted = isinstance(index, int)
        if isinstance(index, int):
            choice.last = index
        call_id = text(value.get("id"))
        name = text(section(value.get("custom" if custom else "function")).get("name"))
        known = choice.calls.get(choice.last)
        if known is not None:
            if not known.is_another(call_id, name, counted=counted):
                return known
            self._blocks.close(known.block)  # nothing goes on with it any more
        call = Call(call_id, custom=custom, legacy=choice.last == LEGACY)
        choice.calls[choice.last] = call
        return call

    def _open_call(self, choice: Choice, call: Call) -> None:
        self._settle(choice)
        choice.called = True
        call.block = self._blocks.open(call.part(), choice.index)
        self._blocks.text(call.block, "".join(call.held))


def _empty(kind: type[Text] | type[Refusal] | type[Reasoning]) -> Text | Refusal | Reasoning:
    if kind is Reasoning:
        return Reasoning([], raw=True)
    return Text("") if kind is Text else Refusal("")


def _own(value: Document) -> Rest:
    """What only this host says of a reply."""
    return {name: each for name, each in value.items() if name not in _OPENING}
