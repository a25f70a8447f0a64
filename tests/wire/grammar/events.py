"""The grammar of the hub's own events (`relayd.wire.events`): what every reader has to obey."""

from __future__ import annotations

from relayd.wire.events import (
    MOST_CHOICES,
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
    Seal,
    Start,
)
from relayd.wire.parts import Image, Reasoning, Refusal, Text, ToolCall
from tests.wire.grammar.frames import Ending, broken, need

GROWS = (Text, Refusal, Reasoning, ToolCall)


class Order:
    """Events as far as they were checked."""

    def __init__(self) -> None:
        self.ending: Ending = "open"
        self.started = False
        self.next = 0
        self.open: dict[int, Open] = {}
        self.closed: set[int] = set()
        self.choices: set[int] = set()
        self.finished: set[int] = set()
        self.calls: set[int] = set()

    def check(self, events: Events) -> Ending:
        """Check a whole reply's events; returns how they ended."""
        for event in events:
            need(self.ending == "open", "nothing comes behind the end", event)
            if not isinstance(event, Failure):
                need(self.started != isinstance(event, Start), "Start comes first, once", event)
            self._event(event)
        return self.ending

    def _event(self, event: Event) -> None:
        match event:
            case Start():
                self.started = True
                moment = event.created
                sane = moment is None or (not isinstance(moment, bool) and 0 <= moment < 2**53)
                need(sane, "a moment is a number of seconds", event)
            case Open():
                self._open(event)
            case Delta() | Break() | Seal() | Cite() | Close():
                self._of_block(event)
            case Counted():
                pass
            case Finish():
                need(event.choice not in self.finished, "an answer ends once", event)
                need(0 <= event.choice < MOST_CHOICES, "choices are numbered from 0", event)
                open_ones = [each for each in self.open.values() if each.choice == event.choice]
                need(not open_ones, "blocks close before their answer ends", event)
                self.finished.add(event.choice)
                called = event.choice in self.calls
                need(called or event.reason != "tool_calls", "tool_calls means calls", event)
                need(not called or event.reason != "stop", "calls end with tool_calls", event)
            case Failure():
                need(event.message, "a failure says something", event)
                self.ending = "failed"
            case End():
                need(not self.open, "blocks are closed before the end", self.open)
                need(self.choices <= self.finished, "each answer has its end", self.finished)
                self.ending = "complete"

    def _open(self, event: Open) -> None:
        need(event.block == self.next, "blocks are numbered densely", event)
        need(0 <= event.choice < MOST_CHOICES, "choices are numbered from 0", event)
        need(event.choice not in self.finished, "nothing comes behind a finish", event)
        self.next += 1
        self.open[event.block] = event
        self.choices.add(event.choice)
        part = event.part
        if isinstance(part, ToolCall):
            self.calls.add(event.choice)
            need(part.arguments == "", "a call opens without arguments", event)
            need(part.name, "a call has a name", event)
        elif isinstance(part, Image):
            need(part.data or part.url, "a picture is there", event)
        elif isinstance(part, Text | Refusal):
            need(part.text == "", "a text opens empty", event)
        elif isinstance(part, Reasoning):
            need(part.text == [], "thinking opens empty", event)

    def _of_block(self, event: Delta | Break | Seal | Cite | Close) -> None:
        if event.block not in self.open:
            broken("it is of an open block", event)
        part = self.open[event.block].part
        match event:
            case Delta():
                need(event.text, "no delta is empty", event)
                need(isinstance(event.text, str), "a delta is text", event)
                need(isinstance(part, GROWS), "what is whole does not grow", (event, part))
            case Break():
                need(isinstance(part, Reasoning), "thinking has paragraphs", (event, part))
            case Cite():
                need(isinstance(part, Text), "texts have sources", (event, part))
            case Close():
                del self.open[event.block]


def check(events: Events) -> Ending:
    """Check a whole reply's events; returns how they ended. Raises Broken."""
    return Order().check(events)
