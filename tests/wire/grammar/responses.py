"""The grammar of Responses streams, and the shape of whole responses (wire-formats 3.2, 3.3, 9.3).

The strictest of the four: numbers without gaps, items one after another, each part announced
before it grows and repeated whole when it is done, and the terminal event repeats all of it. The
open item is remembered as it will have to look when it is done.
"""

from __future__ import annotations

from typing import Any

from tests.wire.grammar.frames import (
    Document,
    Ending,
    Frame,
    an_object,
    broken,
    count,
    frames,
    member,
    need,
    said,
)

TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
WHY = frozenset({"max_output_tokens", "content_filter"})
DEMANDED = ("parallel_tool_calls", "tool_choice", "tools", "error", "incomplete_details")
# By type: how an item looks when it is added, beside id, status and names.
OPENS: dict[str, Document] = {
    "message": {"role": "assistant", "content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "reasoning": {"summary": []},
}
# The events of a growing text: its delta and done, the index's name, and where it is repeated.
GROWS = {
    "response.output_text": ("output_text", "content_index", "text"),
    "response.refusal": ("refusal", "content_index", "refusal"),
    "response.reasoning_text": ("reasoning_text", "content_index", "text"),
    "response.reasoning_summary_text": ("summary_text", "summary_index", "text"),
}
CALLS = {
    "response.function_call_arguments": ("function_call", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "input"),
}


class _Item:
    """The open item."""

    def __init__(self, item: Document) -> None:
        self.added = item
        self.parts: dict[str, list[Document]] = {"content_index": [], "summary_index": []}
        self.part: Document | None = None  # the open one, as it must be when it is done
        self.text_done = False
        self.said = ""  # arguments
        self.said_done = False

    @property
    def kind(self) -> str:
        return str(self.added["type"])


class ResponsesStream:
    """A stream as far as it was checked.

    Arguments:
        arguments: those of calls are JSON objects, as far as the upstream's were.
    """

    def __init__(self, *, arguments: bool = True) -> None:
        self.arguments = arguments
        self.ending: Ending = "open"
        self.number = 0
        self.same: Document = {}
        self.item: _Item | None = None
        self.output: list[Document] = []
        self.ids: set[str] = set()
        self.progress = False

    def check(self, data: bytes) -> Ending:
        """Check a whole stream; returns how it ended."""
        for frame in frames(data, named=True, comments=True):
            need(self.ending == "open", "nothing comes behind the end", frame)
            need(frame.value.get("type") == frame.name, "the name is the type", frame)
            number = count(frame.value, "sequence_number", "event")
            need(number == self.number, f"numbers have no gaps, {self.number} is next", frame)
            self.number += 1
            self._event(str(frame.name), frame)
        return self.ending

    def _event(self, name: str, frame: Frame) -> None:
        value = frame.value
        if name in ("response.created", "response.in_progress") or name in TERMINAL:
            self._lifecycle(name, member(value, "response", dict, "event"))
            return
        need(self.progress, "created and in_progress come first", frame)
        if name == "response.output_item.added":
            self._added(value)
            return
        item = self._open_item(value)
        if name == "response.output_item.done":
            self._done(item, member(value, "item", dict, "event"))
            return
        need(value.get("item_id") == item.added["id"], "an event names its item", frame)
        stem, _, verb = name.rpartition(".")
        if stem in ("response.content_part", "response.reasoning_summary_part"):
            self._part(item, stem, verb, value)
        elif stem in GROWS and verb in ("delta", "done"):
            self._text(item, stem, verb, value)
        elif stem in CALLS and verb in ("delta", "done"):
            self._arguments(item, stem, verb, value)
        elif name == "response.output_text.annotation.added":
            self._annotation(item, value)
        else:
            need(stem == "response.image_generation_call", "a known event", frame)
            need(item.kind == "image_generation_call", "an event fits its item", frame)

    # --- lifecycle ------------------------------------------------------------------------------

    def _lifecycle(self, name: str, response: Document) -> None:
        same = shape(response)
        if name == "response.created":
            need(self.number == 1, "created comes first, and once", response)
            self.same = same
        need(same == self.same, "id, time and model never change", response)
        if name in TERMINAL:
            self._terminal(name, response)
            return
        need(not self.progress, "in_progress comes second, and once", response)
        self.progress = name == "response.in_progress"
        need(response["status"] == "in_progress", "it is in progress", response)
        need(response["output"] == [], "nothing is there yet", response)
        need(response.get("usage") is None, "usage is null until the end", response)

    def _terminal(self, name: str, response: Document) -> None:
        need(self.number > 1, "created comes before the end", response)
        need(response["status"] == TERMINAL[name], "the status is the event's", response)
        told = response["output"]
        if name == "response.failed":
            done = told[: len(self.output)]
            need(done == self.output, "the output repeats what was done", response)
            need(len(told) <= len(self.output) + (self.item is not None), "no more", response)
        else:
            need(self.item is None, "items are done before the end", response)
            need(told == self.output, "the output repeats all items", (told, self.output))
        finished(response, arguments=self.arguments)
        self.ending = "failed" if name == "response.failed" else "complete"

    # --- items ----------------------------------------------------------------------------------

    def _added(self, value: Document) -> None:
        need(self.item is None, "an item is done before the next is added", value)
        index = count(value, "output_index", "event")
        need(index == len(self.output), "output indexes are dense from 0", value)
        item = member(value, "item", dict, "event")
        kind, name = said(item, "type", "item"), said(item, "id", "item")
        need(name not in self.ids, "each item has an id of its own", value)
        self.ids.add(name)
        for key, begins in OPENS.get(kind, {}).items():
            need(item.get(key) == begins, "an item opens empty", item)
        if kind in ("message", "function_call", "image_generation_call"):
            need(item.get("status") == "in_progress", "an item opens in progress", item)
        self.item = _Item(item)

    def _open_item(self, value: Document) -> _Item:
        if self.item is None:
            broken("an event is of an open item", value)
        index = count(value, "output_index", "event")
        need(index == len(self.output), "an event is of the open item", value)
        return self.item

    def _done(self, item: _Item, done: Document) -> None:
        for name in ("type", "id", "call_id", "name", "role"):
            need(done.get(name) == item.added.get(name), f"{name} is as it was added", done)
        need(item.part is None, "parts are done before their item", done)
        whole_item(done, arguments=self.arguments)
        if item.kind == "message":
            need(done["content"] == item.parts["content_index"], "all parts are repeated", done)
        elif item.kind == "reasoning":
            need(done["summary"] == item.parts["summary_index"], "all parts are repeated", done)
            raw = item.parts["content_index"]
            need((done.get("content") or []) == raw, "all parts are repeated", done)
        elif item.kind in ("function_call", "custom_tool_call"):
            need(item.said_done, "arguments are done before their item", done)
            name = "arguments" if item.kind == "function_call" else "input"
            need(done[name] == item.said, "the arguments are what was said", (done, item.said))
        self.output.append(done)
        self.item = None

    def _part(self, item: _Item, stem: str, verb: str, value: Document) -> None:
        summary = stem.endswith("summary_part")
        index = "summary_index" if summary else "content_index"
        need(item.kind in ("message", "reasoning"), "an event fits its item", value)
        need(not summary or item.kind == "reasoning", "an event fits its item", value)
        need(count(value, index, "event") == len(item.parts[index]), f"{index} is dense", value)
        part = member(value, "part", dict, "event")
        if verb == "added":
            need(item.part is None, "one part at a time", value)
            text = "refusal" if part.get("type") == "refusal" else "text"
            need(part.get(text) == "", "a part opens empty", part)
            need(part.get("type") != "output_text" or part.get("annotations") == [], "so", part)
            item.part, item.text_done = dict(part), False
        else:
            need(verb == "done" and item.text_done, "the text is done before its part", value)
            expected: Any = item.part
            told = {name: part.get(name) for name in expected if name != "logprobs"}
            expected = {name: each for name, each in expected.items() if name != "logprobs"}
            need(told == expected, "a part is repeated whole", (part, expected))
            item.parts[index].append(part)
            item.part = None

    def _text(self, item: _Item, stem: str, verb: str, value: Document) -> None:
        kind, index, name = GROWS[stem]
        if item.part is None:
            broken("a part is added before its text", value)
        need(item.part.get("type") == kind, "an event fits its part", (value, item.part))
        need(count(value, index, "event") == len(item.parts[index]), "it is of that part", value)
        need(not item.text_done, "nothing comes behind a text that is done", value)
        if kind == "output_text":
            member(value, "logprobs", list, "event")
        if verb == "delta":
            item.part[name] += said(value, "delta", "event")
        else:
            full = member(value, name, str, "event")
            need(full == item.part[name], "a text is repeated whole", (value, item.part))
            item.text_done = True

    def _annotation(self, item: _Item, value: Document) -> None:
        if item.part is None or item.part["type"] != "output_text":
            broken("an annotation is of an open text", value)
        told = item.part["annotations"]
        need(count(value, "annotation_index", "event") == len(told), "dense", value)
        annotation = member(value, "annotation", dict, "event")
        said(annotation, "type", "annotation")
        # A copy, so that the item remembered as it was added does not change.
        item.part["annotations"] = [*told, annotation]

    def _arguments(self, item: _Item, stem: str, verb: str, value: Document) -> None:
        kind, name = CALLS[stem]
        need(item.kind == kind, "an event fits its item", value)
        need(not item.said_done, "nothing comes behind arguments that are done", value)
        if verb == "delta":
            item.said += said(value, "delta", "event")
        else:
            full = member(value, name, str, "event")
            need(full == item.said, "arguments are what the deltas say", (value, item.said))
            item.said_done = True


def stream(data: bytes, *, arguments: bool = True) -> Ending:
    """Check a stream; returns how it ended. Raises Broken."""
    return ResponsesStream(arguments=arguments).check(data)


# --- pieces -------------------------------------------------------------------------------------


def shape(response: Document) -> Document:
    """What every response object has; returns what never changes."""
    need(said(response, "id", "response").startswith("resp_"), "the id is a response's", response)
    need(response.get("object") == "response", "object is exact", response)
    member(response, "created_at", (int, float), "response")
    said(response, "model", "response")
    said(response, "status", "response")
    member(response, "output", list, "response")
    for name in DEMANDED:
        need(name in response, f"{name} is there", response)
    member(response, "parallel_tool_calls", bool, "response")
    member(response, "tools", list, "response")
    return {name: response[name] for name in ("id", "created_at", "model")}


def finished(response: Document, *, arguments: bool = True) -> None:
    """A response at its end: reason or error, items, usage."""
    status = response["status"]
    if status == "failed":
        error = member(response, "error", dict, "response")
        said(error, "code", "error")
        said(error, "message", "error")
        return
    need(response["error"] is None, "what did not fail has no error", response)
    if status == "incomplete":
        if response["incomplete_details"] is not None:  # a pause has no word here
            details = member(response, "incomplete_details", dict, "response")
            need(details.get("reason") in WHY, "a known reason", details)
    else:
        need(status == "completed", "a known status", response)
        need(response["incomplete_details"] is None, "what is complete has none", response)
    for item in response["output"]:
        whole_item(item, arguments=arguments and status == "completed")
    if response.get("usage") is not None:
        usage(response["usage"])


def whole_item(item: Document, *, arguments: bool = True) -> None:
    """An item that is done."""
    kind = said(item, "type", "item")
    said(item, "id", "item")
    if kind == "message":
        need(item.get("role") == "assistant", "the role is there", item)
        need(item.get("status") in ("completed", "incomplete"), "the status is there", item)
        for part in member(item, "content", list, "item"):
            _message_part(part)
    elif kind == "function_call":
        said(item, "call_id", "item")
        said(item, "name", "item")
        text = member(item, "arguments", str, "item")
        need(not arguments or an_object(text), "arguments are a JSON object", item)
    elif kind == "custom_tool_call":
        said(item, "call_id", "item")
        said(item, "name", "item")
        member(item, "input", str, "item")
    elif kind == "reasoning":
        for part in member(item, "summary", list, "item"):
            need(part.get("type") == "summary_text", "a summary is of texts", item)
            member(part, "text", str, "summary")
        for part in item.get("content") or ():
            need(part.get("type") == "reasoning_text", "thinking is of texts", item)
            member(part, "text", str, "thinking")
        if item.get("encrypted_content") is not None:
            said(item, "encrypted_content", "item")
    elif kind == "image_generation_call":
        said(item, "result", "item")
        need(item.get("status") == "completed", "a picture is complete", item)


def _message_part(part: Document) -> None:
    kind = said(part, "type", "part")
    if kind == "output_text":
        member(part, "text", str, "part")
        member(part, "annotations", list, "part")
    else:
        need(kind == "refusal", "a known part", part)
        member(part, "refusal", str, "part")


def usage(document: Document) -> None:
    """A `usage` object: whole numbers that add up, both detail objects always there."""
    into, out = count(document, "input_tokens"), count(document, "output_tokens")
    need(count(document, "total_tokens") == into + out, "the total is the sum", document)
    details = member(document, "input_tokens_details", dict, "usage")
    need(count(details, "cached_tokens") <= into, "cached is part of the input", document)
    details = member(document, "output_tokens_details", dict, "usage")
    need(count(details, "reasoning_tokens") <= out, "reasoning is part of it", document)


# --- whole --------------------------------------------------------------------------------------


def whole(document: Document, *, arguments: bool = True) -> None:
    """Check a whole response. Raises Broken."""
    shape(document)
    finished(document, arguments=arguments)
    ids = [item["id"] for item in document["output"]]
    need(len(ids) == len(set(ids)), "each item has an id of its own", ids)
