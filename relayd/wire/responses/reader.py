"""Responses replies, read as events.

The keys are `output_index` and `content_index`, never the ids of items: there are hosts whose ids
change with every event. What a `done` says is the whole of it, and counts where the deltas said
less: some hosts send no deltas at all, and some nothing but the terminal event. A block opens when
there is something to say in it, so that thinking without a summary opens with its ciphertext, which
is reliable only at the end of its item. Hosted tools are told whole, when they are done; their
progress is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from relayd.wire.alike import Plain
from relayd.wire.blocks import MOST_BLOCKS, Blocks
from relayd.wire.events import Break, Cite, Counted, Delta, End, Events, Finish, Reason
from relayd.wire.facts import objects, parsed, section, text
from relayd.wire.parts import Carrier, Document, Part, Reasoning, Refusal, Text, ToolCall
from relayd.wire.responses import reply
from relayd.wire.responses.pieces import (
    NO_REASON,
    Entry,
    Growing,
    citation,
    failure,
    hosted,
    logprobs,
    rest,
    started,
)

REASONS: Final[Mapping[str, Reason]] = {
    "max_output_tokens": "length",
    "content_filter": "filter",
    "": "pause",
}
_BROKEN: Final = frozenset({"failed", "cancelled"})
_UNFINISHED: Final = ("queued", "in_progress")  # a host that answers in the background
_DELTA: Final = b'"delta":'
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}


class ResponsesReader:
    """Reads one Responses reply."""

    __slots__ = (
        "_blocks",
        "_called",
        "_ended",
        "_failed",
        "_items",
        "_latest",
        "_started",
        "_texts",
        "plain",
    )

    def __init__(self) -> None:
        self.plain: Plain | None = None
        self._blocks = Blocks()
        self._items: dict[int, Entry] = {}  # by output_index
        self._texts: dict[tuple[int, int], Growing] = {}  # open ones, by both indexes
        self._latest = 0  # the output_index of events that have none
        self._called = self._started = self._ended = self._failed = False

    def __repr__(self) -> str:
        return f"<ResponsesReader {self._blocks!r} ended={self._ended}>"

    def read(self, name: bytes, data: bytes) -> Events:
        """The events of one event."""
        value, self.plain = parsed(data), None
        if value is not None and not self._ended and not self._blocks.failed:
            kind = value.get("type")
            if kind == "response.output_text.delta" and not value.get("logprobs"):
                index, place = value.get("output_index"), value.get("content_index")
                if index.__class__ is int and place.__class__ is int:
                    grown = self._texts.get((index, place))
                    said = value.get("delta")
                    if grown is not None and said and said.__class__ is str:
                        grown.said += len(said)
                        event = Delta(grown.block, said)
                        self.plain = Plain(event, _DELTA, grown.heard)
                        return [event]
            if kind.__class__ is not str or not kind:
                kind = value["type"] = name.decode(errors="replace")
            self._event(kind, value)
        return self._blocks.take()

    def whole(self, document: Document) -> Events:
        """The events of a whole reply: as if only its last event had come."""
        if not isinstance(document.get("output"), list):
            self._fail(document.get("error") or "The upstream's reply has no output.")
        elif document.get("status") in _UNFINISHED:
            self._fail("The upstream's reply is not finished.")
        else:
            self._complete(document)
        return self._blocks.take()

    def end(self) -> Events:
        """Nothing more; a failure where the last event did not come."""
        if self._failed:
            self._fail(NO_REASON)
        elif not self._ended:
            self._fail("The upstream's stream ended before it was complete.")
        return self._blocks.take()

    # --- events ---------------------------------------------------------------------------------

    def _event(self, kind: str, value: Document) -> None:
        read = _EVENTS.get(kind)
        if read is not None:
            read(self, value)
        elif kind == "error" or (value.get("error") and not kind.startswith("response.")):
            self._fail(value.get("error") or value)

    def _fail(self, error: object) -> None:
        self._blocks.fail(failure(error))

    def _lifecycle(self, value: Document) -> None:
        self._start(section(value.get("response")))

    def _terminal(self, value: Document) -> None:
        response = section(value.get("response"))
        self._complete({"status": text(value.get("type")).rpartition(".")[2]} | response)

    def _failure(self, value: Document) -> None:
        """The response failed. Azure gives the reason in an event behind this one."""
        self._failed = True
        error = section(value.get("response")).get("error")
        if error:
            self._fail(error)

    def _start(self, response: Document) -> None:
        if self._started:
            return
        self._started = True
        self._blocks.add(started(response))

    def _complete(self, response: Document) -> None:
        """The last event: what was not said so far, the counts, the end. Some hosts tell of a
        failure in it, whatever its name is."""
        status = text(response.get("status"))
        if response.get("error") or status in _BROKEN:
            self._fail(response.get("error") or NO_REASON)
            return
        self._start(response)
        output = objects(response.get("output"))
        unseen = len(output) > len(self._items)
        for index, item in enumerate(output):
            if unseen or index in self._items:
                self._finish_item(index, item)
        self._blocks.close_all()
        usage = reply.usage_of(response)
        if usage is not None:
            self._blocks.add(Counted(usage, section(response.get("usage"))))
        reason: Reason = "tool_calls" if self._called else "stop"
        why = text(section(response.get("incomplete_details")).get("reason"))
        if status == "incomplete" and (why or not self._called):
            reason = REASONS.get(why, "length")
        self._blocks.add(Finish(reason, native=status))
        self._blocks.add(End(rest(response)))
        self._ended = True

    # --- items ----------------------------------------------------------------------------------

    def _entry(self, value: Document) -> Entry:
        """The item that an event is about."""
        index = value.get("output_index")
        self._latest = index if isinstance(index, int) else self._latest
        return self._at(self._latest)

    def _at(self, index: int) -> Entry:
        entry = self._items.get(index)
        if entry is None:
            if len(self._items) >= MOST_BLOCKS:
                raise OverflowError("The upstream's reply has too many items.")
            self._start({})  # where a host begins in the middle
            entry = self._items[index] = Entry(index)
        return entry

    def _added(self, value: Document) -> None:
        entry, item = self._entry(value), section(value.get("item"))
        if not entry.kind:
            entry.describe(item)
            if entry.kind in _CALLS and text(item.get("name")):
                self._call(entry, item)

    def _item_done(self, value: Document) -> None:
        self._finish_item(self._entry(value).index, section(value.get("item")))

    def _finish_item(self, index: int, item: Document) -> None:
        """An item is complete, and `item` is all of it."""
        entry = self._at(index)
        if entry.done or entry.kind not in ("", item.get("type")):
            return
        entry.done = True
        entry.describe(item)
        if entry.kind == "message":
            for place, part in enumerate(objects(item.get("content"))):
                self._reconcile(entry, place, part)
            for place in entry.parts:
                self._close_text(entry, place)
        elif entry.kind in _CALLS:
            self._finish_call(entry, item)
        elif entry.kind == "reasoning":
            self._finish_thinking(entry, item)
        else:
            self._blocks.whole(hosted(entry, item))

    def _finish_call(self, entry: Entry, item: Document) -> None:
        if entry.call is None and not text(item.get("name")):
            return  # nobody could answer it
        call = self._call(entry, item)
        self._more(call, text(item.get(_CALLS[entry.kind])))
        self._close(call)

    def _call(self, entry: Entry, item: Document) -> Growing:
        if entry.call is None:
            self._called = True
            custom = entry.kind == "custom_tool_call"
            call_id = text(item.get("call_id"))
            group = text(item.get("namespace"))
            part = ToolCall(call_id, text(item.get("name")), "", custom, group, item=entry.item)
            entry.call = Growing(self._blocks.open(part))
        return entry.call

    def _more(self, grown: Growing, full: str) -> None:
        """`full` is all of a block, or of its paragraph: say what was not said yet."""
        if len(full) > grown.said:
            self._blocks.text(grown.block, full[grown.said :])
            grown.said = len(full)

    def _close(self, grown: Growing) -> None:
        grown.closed = True
        self._blocks.close(grown.block)

    def _call_delta(self, value: Document) -> None:
        entry = self._entry(value)
        if entry.call is not None and not entry.done:
            self._go_on(entry.call, text(value.get("delta")))

    def _call_done(self, value: Document) -> None:
        entry = self._entry(value)
        if entry.call is not None and not entry.done:
            self._more(entry.call, text(value.get("arguments")) or text(value.get("input")))

    # --- texts ----------------------------------------------------------------------------------

    def _part(self, value: Document, *, refusal: bool) -> Growing | None:
        """The open text that an event is about; None where it is complete."""
        entry = self._entry(value)
        place = value.get("content_index")
        grown = self._content(entry, place if isinstance(place, int) else 0, refusal=refusal)
        return None if grown.closed or entry.done else grown

    def _content(self, entry: Entry, place: int, *, refusal: bool) -> Growing:
        grown = entry.parts.get(place)
        if grown is None:
            if entry.parts:
                self._close_text(entry, next(reversed(entry.parts)))
            entry.kind = entry.kind or "message"
            part: Part = Refusal("", item=entry.item) if refusal else Text("", item=entry.item)
            grown = entry.parts[place] = Growing(self._blocks.open(part))
            if not refusal:
                self._texts[entry.index, place] = grown
        return grown

    def _close_text(self, entry: Entry, place: int) -> None:
        self._texts.pop((entry.index, place), None)
        self._close(entry.parts[place])

    def _text_delta(self, value: Document) -> None:
        said = text(value.get("delta"))
        grown = self._part(value, refusal=False) if said else None
        if grown is not None:
            grown.said += len(said)
            self._blocks.add(Delta(grown.block, said, logprobs(value)))

    def _refusal_delta(self, value: Document) -> None:
        said = text(value.get("delta"))
        grown = self._part(value, refusal=True) if said else None
        if grown is not None:
            grown.said += len(said)
            self._blocks.text(grown.block, said)

    def _annotation(self, value: Document) -> None:
        grown = self._part(value, refusal=False)
        annotation = section(value.get("annotation"))
        if grown is not None and annotation:
            grown.cited += 1
            self._blocks.add(Cite(grown.block, citation(annotation)))

    def _part_done(self, value: Document) -> None:
        part = section(value.get("part"))
        if part.get("type") in ("output_text", "refusal"):
            entry, place = self._entry(value), value.get("content_index")
            if not entry.done:
                self._reconcile(entry, place if isinstance(place, int) else 0, part)

    def _reconcile(self, entry: Entry, place: int, part: Document) -> None:
        """A part of a message is complete, and `part` is all of it."""
        refusal = part.get("type") == "refusal"
        grown = self._content(entry, place, refusal=refusal)
        if grown.closed:
            return
        full = text(part.get("refusal" if refusal else "text"))
        if full and not grown.said and not refusal:
            grown.said = len(full)
            self._blocks.add(Delta(grown.block, full, logprobs(part)))
        self._more(grown, full)
        for annotation in objects(part.get("annotations"))[grown.cited :]:
            self._blocks.add(Cite(grown.block, citation(annotation)))
        self._close_text(entry, place)

    # --- thinking -------------------------------------------------------------------------------

    def _thought(self, entry: Entry, place: int, *, raw: bool) -> Growing | None:
        """The paragraph `place` of an item's thinking, or of its summary; None where a later one
        has begun."""
        entry.kind = entry.kind or "reasoning"
        grown = entry.thoughts.get(raw)
        if grown is None:
            block = self._blocks.open(Reasoning([], raw, item=entry.item))
            grown = entry.thoughts[raw] = Growing(block, place)
        elif place > grown.place:
            self._blocks.add(Break(grown.block))
            grown.place, grown.said = place, 0
        return grown if place == grown.place else None

    def _thinking(self, value: Document) -> None:
        """A delta of the thinking or of its summary, or all of a paragraph."""
        entry, raw = self._entry(value), "summary_index" not in value
        place = value.get("content_index" if raw else "summary_index")
        said, full = text(value.get("delta")), text(value.get("text"))
        if entry.done or not (said or full):
            return
        grown = self._thought(entry, place if isinstance(place, int) else 0, raw=raw)
        if grown is not None and full:
            self._more(grown, full)
        elif grown is not None:
            self._go_on(grown, said)

    def _go_on(self, grown: Growing, said: str) -> None:
        grown.said += len(said)
        self._blocks.text(grown.block, said)
        if said:
            self.plain = Plain(Delta(grown.block, said), _DELTA, grown.heard)

    def _finish_thinking(self, entry: Entry, item: Document) -> None:
        for name in ("summary", "content"):
            for place, paragraph in enumerate(objects(item.get(name))):
                full = text(paragraph.get("text"))
                if full:
                    grown = self._thought(entry, place, raw=name == "content")
                    if grown is not None:
                        self._more(grown, full)
        sealed = text(item.get("encrypted_content"))
        carrier = Carrier("openai-encrypted", sealed, id=entry.item.id) if sealed else None
        if not entry.thoughts:
            self._blocks.whole(Reasoning([], item=entry.item, carrier=carrier))
            return
        blocks = [grown.block for grown in entry.thoughts.values()]
        if carrier is not None:
            self._blocks.seal(blocks[-1], carrier)
        for block in blocks:
            self._blocks.close(block)


_EVENTS: Final[Mapping[str, Callable[[ResponsesReader, Document], None]]] = {
    "response.created": ResponsesReader._lifecycle,
    "response.queued": ResponsesReader._lifecycle,
    "response.in_progress": ResponsesReader._lifecycle,
    "response.completed": ResponsesReader._terminal,
    "response.incomplete": ResponsesReader._terminal,
    "response.failed": ResponsesReader._failure,
    "response.cancelled": ResponsesReader._failure,
    "response.output_item.added": ResponsesReader._added,
    "response.output_item.done": ResponsesReader._item_done,
    "response.content_part.done": ResponsesReader._part_done,
    "response.output_text.delta": ResponsesReader._text_delta,
    "response.output_text.annotation.added": ResponsesReader._annotation,
    "response.refusal.delta": ResponsesReader._refusal_delta,
    "response.reasoning_text.delta": ResponsesReader._thinking,
    "response.reasoning_text.done": ResponsesReader._thinking,
    "response.reasoning_summary_text.delta": ResponsesReader._thinking,
    "response.reasoning_summary_text.done": ResponsesReader._thinking,
    "response.function_call_arguments.delta": ResponsesReader._call_delta,
    "response.function_call_arguments.done": ResponsesReader._call_done,
    "response.custom_tool_call_input.delta": ResponsesReader._call_delta,
    "response.custom_tool_call_input.done": ResponsesReader._call_done,
}
