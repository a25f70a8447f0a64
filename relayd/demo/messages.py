"""Anthropic Messages: requests read, replies worded, tokens counted (wire-formats 4)."""

from __future__ import annotations

import base64
from functools import lru_cache

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
    strings,
    table,
    text_of,
    weigh,
)
from relayd.demo.events import Stream, named_event
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

_STOP_REASONS = {
    "stop": "end_turn",
    "stop_text": "stop_sequence",
    "length": "max_tokens",
    "tools": "tool_use",
}


def read(document: Document, name: Name) -> Ask:
    """What a request for a message asks."""
    _demand(document)
    demand_bool(document, "stream")
    if count(document.get("max_tokens")) is None:
        raise Refusal(400, "max_tokens: Field required")
    messages = dicts(document["messages"])
    last = messages[-1] if messages else {}
    results = [p for p in dicts(last.get("content")) if p.get("type") == "tool_result"]
    choice = table(document.get("tool_choice"))
    users = last_of(messages, lambda m: m.get("role") == "user" and bool(_said(m)))
    return Ask(
        text=_said(users),
        prompt_tokens=size(document),
        result=" ".join(text_of(part.get("content")) for part in results) if results else None,
        tools=_tools(document, choice),
        parallel=choice.get("disable_parallel_tool_use") is not True,
        schema=_schema(document),
        reasoning=table(document.get("thinking")).get("type") not in (None, "disabled"),
        max_tokens=count(document.get("max_tokens")),
        stops=strings(document.get("stop_sequences")),
    )


def _demand(document: Document) -> None:
    messages = document.get("messages")
    if messages is None:
        raise Refusal(400, "messages: Field required")
    if not isinstance(messages, list):
        raise Refusal(400, "messages: Input should be a valid list")
    if not messages:
        raise Refusal(400, "messages: at least one message is required")


def _said(message: Document) -> str:
    """The text of a message; a tool's result is not something that the user said."""
    return text_of(message.get("content"))


def _tools(document: Document, choice: Document) -> tuple[Tool, ...]:
    # Server tools have a dated `type` and no schema: the provider runs them, they are never called.
    tools = [
        Tool(string(entry.get("name")), table(entry.get("input_schema")))
        for entry in dicts(document.get("tools"))
        if "input_schema" in entry
    ]
    return callable_now(
        tools, forbidden=choice.get("type") == "none", allowed=[string(choice.get("name"))]
    )


def _schema(document: Document) -> Document | None:
    wanted = table(table(document.get("output_config")).get("format"))
    wanted = wanted or table(document.get("output_format"))
    return table(wanted.get("schema")) if wanted.get("type") == "json_schema" else None


def size(document: Document) -> int:
    """The tokens of a prompt; the same with and without generating."""
    return weigh(document.get("messages"), document.get("system"), document.get("tools"))


def count_tokens(document: Document) -> Document:
    """The reply of `/v1/messages/count_tokens`."""
    _demand(document)
    return {"input_tokens": size(document)}


def whole(document: Document, reply: Reply) -> Document:
    """The reply as one document."""
    answer = reply.first
    body = {
        **_envelope(reply),
        "content": _blocks(answer, reply, _silent(document)),
        "stop_reason": _STOP_REASONS[answer.finish],
        "stop_sequence": answer.stop_text,
    }
    return body | {"usage": _usage(reply.tokens)} if reply.tokens else body


def _silent(document: Document) -> bool:
    """Whether thinking is to be signed but not shown."""
    return table(document.get("thinking")).get("display") == "omitted"


def _envelope(reply: Reply) -> Document:
    return {
        "id": f"msg_{reply.seed}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
    }


def _blocks(answer: Answer, reply: Reply, silent: bool) -> list[Document]:
    blocks: list[Document] = []
    if answer.reasoning:
        thinking = "" if silent else answer.reasoning
        blocks.append({"type": "thinking", "thinking": thinking, "signature": _signature(reply)})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [{**_tool_use(call), "input": call.input} for call in answer.calls]
    return blocks


def _tool_use(call: Call) -> Document:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.tool.name, "input": {}}


def _signature(reply: Reply) -> str:
    return base64.b64encode(b"demo-signature-" + reply.seed.encode()).decode()


def _usage(tokens: Tokens) -> Document:
    """Unlike the other formats, `input_tokens` leaves the cached part out."""
    usage: Document = {
        "input_tokens": tokens.prompt - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens.output,
        "service_tier": "standard",
    }
    if tokens.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    return usage


def stream(document: Document, reply: Reply) -> Stream:
    """The reply as events: message_start, block after block, message_delta, message_stop."""
    answer = reply.first
    events = [_start(reply), named_event({"type": "ping"})]
    index = 0
    if answer.reasoning:
        events += _thinking(index, reply, _silent(document))
        index += 1
    first = last = len(events)
    if answer.text:
        text = _text(index, answer)
        first, last = first + 1, first + len(text) - 1
        events += text
        index += 1
    for place, call in enumerate(answer.calls, index):
        events += _use(place, call)
    content = (first, last if answer.text else len(events))
    events += [_delta(reply), named_event({"type": "message_stop"})]
    return Stream(events, content, 1)


def _start(reply: Reply) -> bytes:
    message: Document = {
        **_envelope(reply),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if reply.tokens:
        message["usage"] = _usage(reply.tokens) | {"output_tokens": 1}
        message["usage"].pop("output_tokens_details", None)
    return named_event({"type": "message_start", "message": message})


def _delta(reply: Reply) -> bytes:
    answer = reply.first
    delta = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": answer.stop_text}
    event: Document = {"type": "message_delta", "delta": delta}
    if reply.tokens:
        usage = _usage(reply.tokens)
        del usage["cache_creation"], usage["service_tier"]
        event["usage"] = usage
    return named_event(event)


def _block(index: int, opened: Document, deltas: list[bytes]) -> list[bytes]:
    start = {"type": "content_block_start", "index": index, "content_block": opened}
    stop = {"type": "content_block_stop", "index": index}
    return [named_event(start), *deltas, named_event(stop)]


def _block_delta(index: int, kind: str, field: str, value: str) -> bytes:
    delta = {"type": kind, field: value}
    return named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _thinking(index: int, reply: Reply, silent: bool) -> list[bytes]:
    text = "" if silent else reply.first.reasoning
    middle = len(text) // 2
    deltas = [
        _block_delta(index, "thinking_delta", "thinking", part)
        for part in (text[:middle], text[middle:])
        if part
    ]
    deltas.append(_block_delta(index, "signature_delta", "signature", _signature(reply)))
    return _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)


def _text(index: int, answer: Answer) -> list[bytes]:
    @lru_cache(maxsize=256)
    def spoken(piece: str) -> bytes:
        return _block_delta(index, "text_delta", "text", piece)

    return _block(index, {"type": "text", "text": ""}, [spoken(p) for p in answer.pieces])


def _use(index: int, call: Call) -> list[bytes]:
    middle = (len(call.arguments) + 1) // 2
    parts = ("", call.arguments[:middle], call.arguments[middle:])
    deltas = [_block_delta(index, "input_json_delta", "partial_json", part) for part in parts]
    return _block(index, _tool_use(call), deltas)
