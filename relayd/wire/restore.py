"""What the request changed for its upstream, changed back in the reply's events.

Tools get the client's names again. A tool with free text, which went out as a function with one
string, comes back as free text: its JSON can only be read when it is whole. Where a schema was put
into a tool, because the model knows no schemas, that tool's arguments are the answer.

And what no format can do without is added: a call that its upstream gave no id, or one that another
call has already, gets an id of ours, always the same for the same request. With that id the carrier
of a call is kept (`remember`), for clients that do not send it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from relayd.wire import ids
from relayd.wire.events import Close, Delta, Event, Events, Finish, Open, Seal
from relayd.wire.facts import parsed, text
from relayd.wire.names import Names
from relayd.wire.parts import Carrier, Text, ToolCall

LONGEST_WRAPPED: Final = 16 * 1024 * 1024

Remember = Callable[[str, Carrier], None]


class Restore:
    """Changes events back. Owns the arguments of wrapped calls until they are whole.

    Arguments:
        names: of the tools, as the request was written.
        shaped_by: the tool whose arguments are the answer; "" for none.
        request_id: what the ids are made of.
        remember: called with the id and the carrier of a call.
    """

    __slots__ = (
        "_called",
        "_calls",
        "_given",
        "_names",
        "_remember",
        "_request_id",
        "_shaped_by",
        "_size",
        "_wrapped",
    )

    def __init__(
        self,
        names: Names,
        shaped_by: str = "",
        request_id: str = "",
        remember: Remember | None = None,
    ) -> None:
        self._names = names
        self._shaped_by = shaped_by
        self._request_id = request_id
        self._remember = remember
        self._wrapped: dict[int, list[str]] = {}
        self._size = 0
        self._given: set[str] = set()  # ids that calls have
        self._calls: dict[int, str] = {}  # open blocks that are calls, and their ids
        self._called: set[int] = set()  # choices in which a tool was called

    def __repr__(self) -> str:
        return f"<Restore {self._names!r} shaped_by={self._shaped_by!r} open={list(self._wrapped)}>"

    def apply(self, events: Events) -> Events:
        """The events as the client's tools have them."""
        if len(events) == 1 and events[0].__class__ is Delta and not self._wrapped:
            return events  # by far the most
        return [kept for event in events for kept in self._changed(event)]

    def keeps(self, block: int) -> bool:
        """Whether what a block says is kept until it is whole."""
        return block in self._wrapped

    def _changed(self, event: Event) -> Events:
        match event:
            case Delta() if event.block in self._wrapped:
                self._size += len(event.text)
                if self._size > LONGEST_WRAPPED:
                    raise OverflowError("The upstream's tool call is too large.")
                self._wrapped[event.block].append(event.text)
                return []
            case Open(part=ToolCall() as call):
                return [self._open(event, call)]
            case Seal() if event.block in self._calls:
                self._kept(self._calls[event.block], event.carrier)
            case Close():
                return self._close(event)
            case Finish(reason="tool_calls") if self._shaped_by:
                # The answer came as a call; beside it there may have been true ones.
                answered = event.choice not in self._called
                return [replace(event, reason="stop") if answered else event]
        return [event]

    def _open(self, event: Open, call: ToolCall) -> Open:
        if call.name == self._shaped_by:
            return Open(event.block, Text(""), event.choice)
        self._called.add(event.choice)
        original = self._names.back(call.name)
        if original.wrapped:
            self._wrapped[event.block] = []
        part = replace(
            call,
            id=self._id(call.id, event.block),
            name=original.name,
            namespace=original.namespace,
            custom=original.wrapped or call.custom,
        )
        self._calls[event.block] = part.id
        if call.carrier is not None:
            self._kept(part.id, call.carrier)
        return Open(event.block, part, event.choice)

    def _id(self, found: str, block: int) -> str:
        own = found if found and found not in self._given else ""
        own = own or ids.minted("call_", self._request_id, block)
        self._given.add(own)
        return own

    def _kept(self, call_id: str, carrier: Carrier) -> None:
        if self._remember is not None:
            self._remember(call_id, carrier)

    def _close(self, event: Close) -> Events:
        self._calls.pop(event.block, None)
        wrapped = self._wrapped.pop(event.block, None)
        if wrapped is None:
            return [event]
        said = _unwrapped("".join(wrapped))
        return [Delta(event.block, said), event] if said else [event]


def _unwrapped(arguments: str) -> str:
    """The free text in `{"input": "..."}`; what the model wrote instead, where it is not that."""
    value = parsed(arguments.encode("utf-8", "surrogatepass"))
    return text(value.get("input")) if value is not None and "input" in value else arguments
