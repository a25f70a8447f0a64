"""Chat Completions: requests read, replies worded (wire-formats 2)."""

from __future__ import annotations

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
    table,
    text_of,
    weigh,
)
from relayd.demo.events import Stream, data_event
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

_FINISH = {"stop": "stop", "stop_text": "stop", "length": "length", "tools": "tool_calls"}


def read(document: Document, name: Name) -> Ask:
    """What a request for a chat completion asks."""
    _demand(document)
    messages = dicts(document["messages"])
    last = messages[-1] if messages else {}
    answered = last.get("role") in ("tool", "function")
    limit = count(document.get("max_completion_tokens"))
    return Ask(
        text=text_of(last_of(messages, lambda m: m.get("role") == "user").get("content")),
        prompt_tokens=weigh(document["messages"], document.get("tools")),
        result=text_of(last.get("content")) if answered else None,
        tools=_tools(document),
        parallel=document.get("parallel_tool_calls") is not False,
        schema=_schema(table(document.get("response_format"))),
        reasoning=document.get("reasoning_effort") not in (None, "none"),
        max_tokens=count(document.get("max_tokens")) if limit is None else limit,
        stops=_stops(document.get("stop")),
        choices=count(document.get("n")) or 1,
    )


def _demand(document: Document) -> None:
    messages = document.get("messages")
    if messages is None:
        code = "missing_required_parameter"
        raise Refusal(400, "Missing required parameter: 'messages'.", code=code, param="messages")
    if not isinstance(messages, list):
        message = "Invalid type for 'messages': expected an array of objects."
        raise Refusal(400, message, code="invalid_type", param="messages")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise Refusal(400, message, code="empty_array", param="messages")
    if not demand_bool(document, "stream") and document.get("stream_options") is not None:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Refusal(400, message, param="stream_options")


def _tools(document: Document) -> tuple[Tool, ...]:
    if not document.get("tools"):
        return ()
    tools = [_tool(entry) for entry in dicts(document["tools"])]
    choice = document.get("tool_choice")
    return callable_now(
        [tool for tool in tools if tool.name], forbidden=choice == "none", allowed=_named(choice)
    )


def _tool(entry: Document) -> Tool:
    if entry.get("type") == "custom":
        return Tool(string(table(entry.get("custom")).get("name")), None)
    function = table(entry.get("function"))
    return Tool(string(function.get("name")), table(function.get("parameters")))


def _named(choice: object) -> list[str]:
    chosen = table(choice)
    allowed = table(chosen.get("allowed_tools"))
    entries = dicts(allowed.get("tools")) or [chosen]
    return [
        string(table(entry.get(kind)).get("name"))
        for entry in entries
        for kind in ("function", "custom")
    ]


def _schema(wanted: Document) -> Document | None:
    if wanted.get("type") == "json_object":
        return {}
    if wanted.get("type") == "json_schema":
        return table(table(wanted.get("json_schema")).get("schema"))
    return None


def _stops(stop: object) -> tuple[str, ...]:
    listed = stop if isinstance(stop, list) else [stop]
    return tuple(text for text in listed if isinstance(text, str) and text)


def whole(document: Document, reply: Reply) -> Document:
    """The reply as one document."""
    body = {
        **_envelope(reply, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _message(answer),
                "logprobs": None,
                "finish_reason": _FINISH[answer.finish],
            }
            for index, answer in enumerate(reply.choices)
        ],
    }
    return body | {"usage": _usage(reply.tokens)} if reply.tokens else body


def _envelope(reply: Reply, kind: str) -> Document:
    return {
        "id": f"chatcmpl-{reply.seed}",
        "object": kind,
        "created": int(reply.moment),
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    }


def _message(answer: Answer) -> Document:
    message: Document = {
        "role": "assistant",
        "content": None if answer.calls else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
    return message


def _call(call: Call, arguments: str) -> Document:
    head = {"id": f"call_{call.id}"}
    if call.tool.schema is None:
        return {**head, "type": "custom", "custom": {"name": call.tool.name, "input": arguments}}
    function = {"name": call.tool.name, "arguments": arguments}
    return {**head, "type": "function", "function": function}


def _usage(tokens: Tokens) -> Document:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def stream(document: Document, reply: Reply) -> Stream:
    """The reply as events: an opener and content per choice, finish, usage if asked, `[DONE]`."""
    asked = table(document.get("stream_options")).get("include_usage") is True
    envelope = _envelope(reply, "chat.completion.chunk")
    # Only with include_usage do the other chunks carry the field, as null.
    tail: Document = {"usage": None} if asked and reply.tokens else {}

    @lru_cache(maxsize=256)
    def spoken(index: int, piece: str) -> bytes:
        return chunk(index, {"content": piece})

    def chunk(index: int, delta: Document, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data_event({**envelope, "choices": [choice], **tail})

    events: list[bytes] = []
    opening = 0
    for index, answer in enumerate(reply.choices):
        opener: Document = {"role": "assistant", "content": None if answer.calls else ""}
        events.append(chunk(index, opener | {"refusal": None}))
        events += [chunk(index, {"reasoning_content": p}) for p in _halves(answer.reasoning)]
        opening = opening or len(events)
        events += [spoken(index, piece) for piece in answer.pieces]
        events += [chunk(index, {"tool_calls": [delta]}) for delta in _call_deltas(answer)]
    content = (opening, len(events))
    for index, answer in enumerate(reply.choices):
        events.append(chunk(index, {}, _FINISH[answer.finish]))
    if tail and reply.tokens:
        events.append(data_event({**envelope, "choices": [], "usage": _usage(reply.tokens)}))
    events.append(b"data: [DONE]\n\n")
    return Stream(events, content, len(events) - content[1])


def _call_deltas(answer: Answer) -> list[Document]:
    """Fragments: the first of a call has id, type and name; the others only more arguments."""
    deltas: list[Document] = []
    for index, call in enumerate(answer.calls):
        deltas.append({"index": index, **_call(call, "")})
        key, field = ("custom", "input") if call.tool.schema is None else ("function", "arguments")
        deltas += [{"index": index, key: {field: part}} for part in _halves(call.arguments)]
    return deltas


def _halves(text: str) -> list[str]:
    middle = (len(text) + 1) // 2
    return [part for part in (text[:middle], text[middle:]) if part]
