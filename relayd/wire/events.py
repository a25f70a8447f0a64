"""Replies as events: what a model says, piece by piece, in words that every format has.

A stream is read into these events, and so is a whole reply: it is a stream whose pieces are large.
Writers turn them into a stream, or, folded by `Fold`, into a whole reply. There is no second model
of a reply, so the two cannot drift.

The order: `Start`; then blocks, each `Open`, any number of `Delta`, `Break`, `Seal`, `Cite`, and
`Close`; `Counted` at any time, later counts replace earlier ones; `Finish` for each choice once;
`End`. Instead of what is missing there may be one `Failure`, and nothing behind it. Blocks are
numbered densely in the order in which they open, over all choices. Several may be open at once: a
writer whose format does not have that keeps the later ones back. No event is empty: a `Delta` has
text. Readers see to all this, whatever an upstream sends.

Events are made thousands of times a second: they are small, and a reader may reuse none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from relayd.model import Usage
from relayd.wire.parts import (
    Carrier,
    Citation,
    Extra,
    Item,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)

# What only the format of origin says about a reply. Nothing can be refused here: another format
# leaves it out (docs/translation.md).
Rest = dict[str, Any]

MOST_CHOICES: Final = 128  # answers of one reply

Reason = Literal[
    "stop",
    "stop_sequence",
    "length",
    "context_full",
    "tool_calls",
    "filter",
    "pause",
]


@dataclass(slots=True)
class Logprob:
    """How probable a token was, and what else it might have been."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top: list[Logprob] = field(default_factory=list)


@dataclass(slots=True)
class Start:
    """A reply begins.

    Attributes:
        id: the upstream's.
        model: the upstream's name of it.
        created: Unix seconds, None where the format has none.
        usage: of the input, where it is known so early.
        tier: the service tier that was used, in the hub's words.
    """

    id: str
    model: str
    created: float | None = None
    usage: Usage | None = None
    tier: str = ""
    rest: Rest = field(default_factory=dict)


@dataclass(slots=True)
class Open:
    """A block begins.

    Attributes:
        block: its number.
        part: what it is, with all that is known so far. What grows is empty: text, arguments. What
            does not (an `Opaque`, an image, a sound) opens when it is whole, and closes at once.
            Nobody may change it: `Fold` keeps a copy.
        choice: the answer that it belongs to, from 0.
    """

    block: int
    part: Part
    choice: int = 0


@dataclass(slots=True)
class Delta:
    """More text, arguments or thinking of an open block."""

    block: int
    text: str
    logprobs: list[Logprob] | None = None


@dataclass(slots=True)
class Break:
    """The next paragraph of a summary of the thinking begins."""

    block: int


@dataclass(slots=True)
class Seal:
    """The carrier of an open block is known, whole."""

    block: int
    carrier: Carrier


@dataclass(slots=True)
class Cite:
    """A source of what an open block says."""

    block: int
    citation: Citation


@dataclass(slots=True)
class Close:
    """A block is complete. `rest` is what its format says only now (the status of an item)."""

    block: int
    rest: Rest = field(default_factory=dict)


@dataclass(slots=True)
class Counted:
    """What was consumed so far, all of it: replaces what was counted before."""

    usage: Usage
    rest: Rest = field(default_factory=dict)


@dataclass(slots=True)
class Finish:
    """An answer is complete.

    Attributes:
        reason: why, in the hub's words.
        native: the upstream's own word.
        stop: the text that ended it, where the upstream says.
        explanation: of a refusal or a filter.
    """

    reason: Reason
    choice: int = 0
    native: str = ""
    stop: str = ""
    explanation: str = ""
    rest: Rest = field(default_factory=dict)


@dataclass(slots=True)
class Failure:
    """The upstream says that it failed, or what came is no reply.

    Attributes:
        status: the HTTP status that it would have been.
        code: a word of OpenAI's vocabulary where it has one.
    """

    message: str
    status: int = 502
    code: str = "upstream_error"


@dataclass(slots=True)
class End:
    """Nothing comes any more."""

    rest: Rest = field(default_factory=dict)


Event = Start | Open | Delta | Break | Seal | Cite | Close | Counted | Finish | Failure | End
Events = list[Event]


# --- the whole of it ----------------------------------------------------------------------------


@dataclass(slots=True)
class Choice:
    """One answer: its parts in the order in which they opened."""

    parts: list[Part] = field(default_factory=list)
    finish: Finish | None = None
    logprobs: list[Logprob] | None = None


@dataclass(slots=True)
class Reply:
    """A whole reply, or as much of it as came."""

    start: Start | None = None
    choices: list[Choice] = field(default_factory=list)
    usage: Usage | None = None
    usage_rest: Rest = field(default_factory=dict)
    failure: Failure | None = None
    ended: bool = False
    rest: Rest = field(default_factory=dict)


class Fold:
    """Collects events into a `Reply`. Owns its parts: those of the events are copied."""

    __slots__ = ("_open", "_pieces", "reply")

    def __init__(self) -> None:
        self.reply = Reply()
        self._open: dict[int, tuple[Part, Choice]] = {}
        self._pieces: dict[int, list[str]] = {}

    def __repr__(self) -> str:
        return f"<Fold choices={len(self.reply.choices)} open={sorted(self._open)}>"

    def add(self, events: Iterable[Event]) -> None:
        """Take these in. Raises OverflowError for too many answers."""
        for event in events:
            match event:
                case Delta():
                    self._delta(event)
                case Open():
                    self._begin(event)
                case Break():
                    self._end_paragraph(event.block, more=True)
                case Seal():
                    self._open[event.block][0].carrier = event.carrier
                case Cite():
                    part = self._open[event.block][0]
                    if isinstance(part, Text):
                        part.citations.append(event.citation)
                case Close():
                    self._close(event)
                case _:
                    self._whole(event)

    def cut(self) -> Reply:
        """The reply as far as it came: blocks that are still open end here."""
        for block in self._open:
            self._end_paragraph(block, more=False)
        return self.reply

    def _begin(self, event: Open) -> None:
        choice = self._choice(event.choice)
        part = replace(event.part)  # a copy: the event belongs to others as well
        if isinstance(part, Text):
            part.citations = list(part.citations)
        elif isinstance(part, Reasoning):
            part.text = list(part.text)
        choice.parts.append(part)
        self._open[event.block] = (part, choice)
        self._pieces[event.block] = []

    def _delta(self, event: Delta) -> None:
        self._pieces[event.block].append(event.text)
        if event.logprobs:
            choice = self._open[event.block][1]
            if choice.logprobs is None:
                choice.logprobs = []
            choice.logprobs += event.logprobs

    def _end_paragraph(self, block: int, *, more: bool) -> None:
        """Give what was said since the last break to the part."""
        part, pieces = self._open[block][0], self._pieces[block]
        said = "".join(pieces)
        pieces.clear()
        match part:
            case Reasoning():
                if said:
                    if not part.text:
                        part.text.append("")
                    part.text[-1] += said
                if more:
                    part.text.append("")
            case Text() | Refusal():
                part.text += said
            case ToolCall():
                part.arguments += said
            case _:
                assert not said, f"{part!r} has no text"

    def _close(self, event: Close) -> None:
        self._end_paragraph(event.block, more=False)
        part, _ = self._open.pop(event.block)
        del self._pieces[event.block]
        if event.rest:
            item = part.item or Item()
            said = {name: Extra(value, "silent") for name, value in event.rest.items()}
            part.item = Item(item.id, item.extra | said)

    def _whole(self, event: Start | Counted | Finish | Failure | End) -> None:
        reply = self.reply
        match event:
            case Start():
                reply.start = event
                reply.usage = event.usage or reply.usage
            case Counted():
                reply.usage, reply.usage_rest = event.usage, event.rest
            case Finish():
                self._choice(event.choice).finish = event
            case Failure():
                reply.failure = event
            case _:
                reply.ended, reply.rest = True, event.rest

    def _choice(self, index: int) -> Choice:
        choices = self.reply.choices
        if index >= MOST_CHOICES:
            raise OverflowError("The upstream's reply has too many answers.")
        while len(choices) <= index:
            choices.append(Choice())
        return choices[index]


def fold(events: Iterable[Event]) -> Reply:
    """The reply that `events` make. Raises OverflowError for too many answers."""
    folded = Fold()
    folded.add(events)
    return folded.cut()
