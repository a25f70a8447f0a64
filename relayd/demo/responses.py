"""OpenAI Responses: requests read, replies worded, tokens counted (wire-formats 3)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from relayd.demo.answer import Answer, Call, Reply, Tokens
from relayd.demo.ask import (
    Ask,
    Document,
    Tool,
    callable_now,
    count,
    demand_bool,
    dicts,
    last_of,
    string,
    table,
    text_of,
    weigh,
)
from relayd.demo.events import Stream, named_event
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

_OUTPUTS = ("function_call_output", "custom_tool_call_output")
# Request fields that the response object repeats, and what they are when absent.
_ECHOED: Document = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def read(document: Document, name: Name) -> Ask:
    """What a request for a response asks."""
    _demand(document)
    demand_bool(document, "stream")
    items = _items(document)
    last = items[-1] if items else {}
    answered = last.get("type") in _OUTPUTS
    effort = table(document.get("reasoning")).get("effort")
    return Ask(
        text=text_of(last_of(items, lambda item: item.get("role") == "user").get("content")),
        prompt_tokens=size(document),
        result=text_of(last.get("output")) if answered else None,
        tools=_tools(document),
        parallel=document.get("parallel_tool_calls") is not False,
        schema=_schema(table(table(document.get("text")).get("format"))),
        reasoning=bool(table(document.get("reasoning"))) and effort != "none",
        max_tokens=count(document.get("max_output_tokens")),
    )


def _demand(document: Document) -> None:
    asked = document.get("input")
    if not asked and not document.get("prompt"):
        code = "missing_required_parameter"
        raise Refusal(400, "Missing required parameter: 'input'.", code=code, param="input")
    if asked is not None and not isinstance(asked, str | list):
        message = "Invalid type for 'input': expected a string or an array of input items."
        raise Refusal(400, message, code="invalid_type", param="input")


def _items(document: Document) -> list[Document]:
    asked = document.get("input")
    return [{"role": "user", "content": asked}] if isinstance(asked, str) else dicts(asked)


def _tools(document: Document) -> tuple[Tool, ...]:
    # Hosted tools run at the provider; only functions and custom tools are for the client.
    tools = [
        Tool(string(t.get("name")), table(t.get("parameters")) if t["type"] == "function" else None)
        for t in dicts(document.get("tools"))
        if t.get("type") in ("function", "custom") and t.get("name")
    ]
    choice = document.get("tool_choice")
    chosen = table(choice)
    allowed = [string(entry.get("name")) for entry in dicts(chosen.get("tools")) or [chosen]]
    return callable_now(tools, forbidden=choice == "none", allowed=allowed)


def _schema(wanted: Document) -> Document | None:
    if wanted.get("type") == "json_object":
        return {}
    return table(wanted.get("schema")) if wanted.get("type") == "json_schema" else None


def size(document: Document) -> int:
    """The tokens of a prompt; the same with and without generating."""
    return weigh(document.get("input"), document.get("instructions"), document.get("tools"))


def count_tokens(document: Document) -> Document:
    """The reply of `/v1/responses/input_tokens`."""
    return {"object": "response.input_tokens", "input_tokens": size(document)}


def whole(document: Document, reply: Reply) -> Document:
    """The reply as one document."""
    cut = reply.first.finish == "length"
    body = _response(document, reply, "incomplete" if cut else "completed")
    body["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
    body["output"] = [item for item, _ in _output(document, reply)]
    if reply.tokens:
        body["usage"] = _usage(reply.tokens)
    if not cut:
        body["completed_at"] = int(reply.moment)
    return body


def _response(document: Document, reply: Reply, status: str) -> Document:
    return {
        "id": f"resp_{reply.seed}",
        "object": "response",
        "created_at": int(reply.moment),
        "status": status,
        "background": document.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "model": reply.model,
        "output": [],
        **{
            field: absent if document.get(field) is None else document[field]
            for field, absent in _ECHOED.items()
        },
        "service_tier": "default",
        "usage": None,
    }


def _usage(tokens: Tokens) -> Document:
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.total,
    }


def _output(document: Document, reply: Reply) -> Iterator[tuple[Document, Any]]:
    """The output items, each with what it was made of: the answer, or one call."""
    answer = reply.first
    if answer.reasoning:
        yield _reasoning(document, reply), answer
    for call in answer.calls:
        yield _call(call), call
    if not answer.calls:
        yield _message(reply), answer


def _reasoning(document: Document, reply: Reply) -> Document:
    summary = [{"type": "summary_text", "text": reply.first.reasoning}]
    item: Document = {"id": f"rs_{reply.seed}", "type": "reasoning", "summary": summary}
    include = document.get("include")
    if isinstance(include, list) and "reasoning.encrypted_content" in include:
        sealed = base64.b64encode(b"demo-encrypted-" + reply.seed.encode()).decode()
        item["encrypted_content"] = sealed
    return item


def _message(reply: Reply) -> Document:
    return {
        "id": f"msg_{reply.seed}",
        "type": "message",
        "status": "incomplete" if reply.first.finish == "length" else "completed",
        "role": "assistant",
        "content": [_part(reply.first.text)],
    }


def _part(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(call: Call) -> Document:
    free = call.tool.schema is None
    return {
        "id": f"{'ctc' if free else 'fc'}_{call.id}",
        "type": "custom_tool_call" if free else "function_call",
        "status": "completed",
        "call_id": f"call_{call.id}",
        "name": call.tool.name,
        "input" if free else "arguments": call.arguments,
    }


def stream(document: Document, reply: Reply) -> Stream:
    """The reply as events, numbered from 0: lifecycle, each item whole, the terminal one."""
    writer = _Writer()
    started = _response(document, reply, "in_progress")
    writer.add("response.created", response=started)
    writer.add("response.in_progress", response=started)
    content = (0, 0)
    for index, (item, made_of) in enumerate(_output(document, reply)):
        writer.item(index, item, made_of)
        content = writer.content
    final = whole(document, reply)
    writer.add(f"response.{final['status']}", response=final)
    return Stream(writer.events, content, 1)


class _Writer:
    """Writes numbered events; owns the number, and where the last item's content stands."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.content = (0, 0)

    def add(self, kind: str, **fields: Any) -> None:
        """One event of this type."""
        self.events.append(
            named_event({"type": kind, "sequence_number": len(self.events), **fields})
        )

    def item(self, index: int, item: Document, made_of: Any) -> None:
        """One output item: added, filled, done."""
        write, emptied = _ITEMS[item["type"]]
        opened = {**item, **emptied}
        opened.pop("encrypted_content", None)
        self.add("response.output_item.added", output_index=index, item=opened)
        before = len(self.events)
        write(self, {"item_id": item["id"], "output_index": index}, made_of)
        if item["type"] != "message":
            self.content = (before, len(self.events))
        self.add("response.output_item.done", output_index=index, item=item)

    def message(self, place: Document, answer: Answer) -> None:
        part = {**place, "content_index": 0}
        self.add("response.content_part.added", **part, part=_part(""))
        before = len(self.events)
        for piece in answer.pieces:
            self.add("response.output_text.delta", **part, delta=piece, logprobs=[])
        self.content = (before, len(self.events))
        self.add("response.output_text.done", **part, text=answer.text, logprobs=[])
        self.add("response.content_part.done", **part, part=_part(answer.text))

    def reasoning(self, place: Document, answer: Answer) -> None:
        part = {**place, "summary_index": 0}
        kind = "response.reasoning_summary"
        empty = {"type": "summary_text", "text": ""}
        text = answer.reasoning
        self.add(f"{kind}_part.added", **part, part=empty)
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            self.add(f"{kind}_text.delta", **part, delta=piece)
        self.add(f"{kind}_text.done", **part, text=text)
        self.add(f"{kind}_part.done", **part, part={**empty, "text": text})

    def call(self, place: Document, call: Call) -> None:
        free = call.tool.schema is None
        kind = "response." + ("custom_tool_call_input" if free else "function_call_arguments")
        text = call.arguments
        middle = (len(text) + 1) // 2
        for piece in (text[:middle], text[middle:]):
            if piece:
                self.add(f"{kind}.delta", **place, delta=piece)
        self.add(f"{kind}.done", **place, **{"input" if free else "arguments": text})


# Per item type: what fills it, and what its fields are while it is empty.
_ITEMS: dict[str, tuple[Any, Document]] = {
    "message": (_Writer.message, {"content": [], "status": "in_progress"}),
    "reasoning": (_Writer.reasoning, {"summary": []}),
    "function_call": (_Writer.call, {"arguments": "", "status": "in_progress"}),
    "custom_tool_call": (_Writer.call, {"input": "", "status": "in_progress"}),
}
