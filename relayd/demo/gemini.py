"""Gemini generateContent: requests read, replies worded, tokens counted (wire-formats 5).

Fields are read in camelCase and snake_case alike, as proto3 JSON allows and the official SDKs send.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import orjson

from relayd.demo import gemini_pictures
from relayd.demo.answer import Answer, Reply, Tokens
from relayd.demo.ask import (
    Ask,
    Document,
    Tool,
    callable_now,
    count,
    dicts,
    last_of,
    string,
    strings,
    table,
    text_of,
    weigh,
)
from relayd.demo.events import Stream
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

_FINISH = {
    "stop": "STOP",
    "stop_text": "STOP",
    "length": "MAX_TOKENS",
    "tools": "STOP",
    "blocked": "IMAGE_SAFETY",
}
_ROLES = (None, "", "user", "model", "function")


def either(document: Document, field: str) -> Any:
    """The field under its camelCase or its snake_case name."""
    if field in document:
        return document[field]
    return document.get(re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), field))


def read(document: Document, name: Name) -> Ask:
    """What a request for content asks."""
    contents = _contents(document)
    last = contents[-1]
    results = [r for p in _parts(last) if (r := either(p, "functionResponse")) is not None]
    config = table(either(document, "generationConfig"))
    modalities = either(config, "responseModalities")
    user = last_of(contents, lambda c: c.get("role") in _ROLES[:3] and bool(_said(c)))
    return Ask(
        text=_said(user),
        prompt_tokens=size(document),
        result=" ".join(_result(result) for result in results) if results else None,
        tools=_tools(document),
        schema=_schema(config),
        reasoning=_thinks(table(either(config, "thinkingConfig"))),
        max_tokens=count(either(config, "maxOutputTokens")),
        stops=strings(either(config, "stopSequences")),
        choices=count(either(config, "candidateCount")) or 1,
        picture=gemini_pictures.wanted(modalities, table(either(config, "imageConfig")), name),
        mute=[kind.upper() for kind in strings(modalities)] == ["IMAGE"],
        searches=any(either(t, "googleSearch") is not None for t in dicts(document.get("tools"))),
    )


def _contents(document: Document) -> list[Document]:
    asked = document.get("contents")
    contents = [asked] if isinstance(asked, dict) else dicts(asked)
    if not contents:
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(contents):
        if content.get("role") not in _ROLES:
            raise Refusal(400, "Please use a valid role: user, model.")
        if not _parts(content):
            where = f"GenerateContentRequest.contents[{index}].parts"
            raise Refusal(400, f"* {where}: contents.parts must not be empty.\n")
    return contents


def _parts(content: Document) -> list[Document]:
    parts = content.get("parts")
    return [parts] if isinstance(parts, dict) else dicts(parts)


def _said(content: Document) -> str:
    return text_of(_parts(content))


def _result(result: object) -> str:
    """What a function answered: its `output` or `error`, else the whole object."""
    response = table(result).get("response")
    for key in ("output", "error", "result"):
        if isinstance(response, dict) and key in response:
            response = response[key]
    return response if isinstance(response, str) else orjson.dumps(response).decode()


def _tools(document: Document) -> tuple[Tool, ...]:
    tools = [
        Tool(string(entry.get("name")), _parameters(entry))
        for tool in dicts(document.get("tools"))
        for entry in dicts(either(tool, "functionDeclarations"))
    ]
    config = table(either(table(either(document, "toolConfig")), "functionCallingConfig"))
    allowed = either(config, "allowedFunctionNames")
    names = [string(name) for name in allowed] if isinstance(allowed, list) else []
    forbidden = string(config.get("mode")).upper() == "NONE"
    return callable_now(tools, forbidden=forbidden, allowed=names)


def _parameters(entry: Document) -> Document:
    return table(either(entry, "parametersJsonSchema") or entry.get("parameters"))


def _schema(config: Document) -> Document | None:
    for field in ("responseJsonSchema", "_responseJsonSchema", "responseSchema"):
        if schema := table(either(config, field)):
            return schema
    return {} if either(config, "responseMimeType") == "application/json" else None


def _thinks(config: Document) -> bool:
    """Thoughts are shown only to those who ask for them, and 0 turns thinking off."""
    return bool(either(config, "includeThoughts")) and either(config, "thinkingBudget") != 0


def size(document: Document) -> int:
    """The tokens of a prompt; the same with and without generating."""
    system = either(document, "systemInstruction")
    return weigh(document.get("contents"), system, document.get("tools"))


def count_tokens(document: Document) -> Document:
    """The reply of `:countTokens`, whose prompt may be wrapped in a generateContentRequest."""
    inner = table(either(document, "generateContentRequest")) or document
    _contents(inner)
    total = size(inner)
    details = [{"modality": "TEXT", "tokenCount": total}]
    return {"totalTokens": total, "promptTokensDetails": details}


def whole(document: Document, reply: Reply) -> Document:
    """The reply as one document."""
    candidates = [
        _candidate(index, [*_thoughts(answer), *_spoken(answer, reply)], _FINISH[answer.finish])
        | _searched(answer)
        for index, answer in enumerate(reply.choices)
    ]
    return {"candidates": candidates, **_envelope(reply, reply.tokens)}


def _searched(answer: Answer) -> Document:
    return gemini_pictures.grounding(answer.query) if answer.query else {}


def _candidate(index: int, parts: list[Document], finish: str | None = None) -> Document:
    candidate: Document = {"content": {"parts": parts, "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    return candidate | {"index": index}


def _envelope(reply: Reply, tokens: Tokens | None) -> Document:
    usage = {"usageMetadata": _usage(tokens)} if tokens else {}
    return {**usage, "modelVersion": reply.model, "responseId": reply.seed}


def _usage(tokens: Tokens) -> Document:
    """Unlike OpenAI, `candidatesTokenCount` leaves the thoughts out."""
    usage: Document = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "totalTokenCount": tokens.total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.prompt}],
    }
    if tokens.cached:
        usage["cachedContentTokenCount"] = tokens.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cached}]
    if tokens.picture:
        details = {"modality": "IMAGE", "tokenCount": tokens.picture}
        usage["candidatesTokensDetails"] = [details]
    if tokens.reasoning:
        usage["thoughtsTokenCount"] = tokens.reasoning
    return usage


def _thoughts(answer: Answer) -> list[Document]:
    return [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []


def _spoken(answer: Answer, reply: Reply) -> list[Document]:
    """Calls or text; after thoughts the first part carries their signature."""
    if answer.calls:
        parts: list[Document] = [
            {"functionCall": {"id": f"call_{call.id}", "name": call.tool.name, "args": call.input}}
            for call in answer.calls
        ]
    else:
        parts = [{"text": answer.text}] if answer.text else []
        parts += _drawn(answer, reply)
    if parts and answer.reasoning:
        parts[0]["thoughtSignature"] = _signature(reply)
    return parts


def _drawn(answer: Answer, reply: Reply) -> list[Document]:
    return [gemini_pictures.part(answer.picture, reply.seed)] if answer.picture else []


def _signature(reply: Reply) -> str:
    return base64.b64encode(b"demo-signature-" + reply.seed.encode()).decode()


def stream(document: Document, reply: Reply) -> Stream:
    """The reply as server-sent events: no names, no terminator, CRLF as Google sends it."""
    chunks = [_sse(chunk) for chunk in _chunks(reply)]
    return Stream(chunks, (_opening(reply), len(chunks) - 1), 1)


def array(document: Document, reply: Reply) -> Stream:
    """The reply as one streamed JSON array, for those who did not ask for `alt=sse`."""
    chunks = [orjson.dumps(chunk) for chunk in _chunks(reply)]
    events = [b"[" + chunks[0], *(b",\r\n" + chunk for chunk in chunks[1:]), b"]"]
    return Stream(events, (_opening(reply), len(events) - 2), 2)


def _sse(chunk: Document) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\r\n\r\n"


def _opening(reply: Reply) -> int:
    return 1 if reply.first.reasoning else 0


def _chunks(reply: Reply) -> Iterator[Document]:
    """Chunks with new parts only; the last has every candidate's finish reason and all usage."""
    tokens = reply.tokens
    early = tokens and Tokens(tokens.prompt, tokens.cached, 0, 0)
    envelope = _envelope(reply, early)
    if early:
        envelope["usageMetadata"].pop("candidatesTokenCount")
    for index, answer in enumerate(reply.choices):
        if answer.reasoning:
            yield {"candidates": [_candidate(index, _thoughts(answer))], **envelope}
        texts = [[{"text": piece}] for piece in answer.pieces]
        texts += [_drawn(answer, reply)] if texts else []
        for parts in texts or [_spoken(answer, reply)]:
            if parts:
                yield {"candidates": [_candidate(index, parts)], **envelope}
    last = [
        _candidate(index, [_ending(answer, reply)], _FINISH[answer.finish]) | _searched(answer)
        for index, answer in enumerate(reply.choices)
    ]
    yield {"candidates": last, **_envelope(reply, tokens)}


def _ending(answer: Answer, reply: Reply) -> Document:
    """The empty text of the last chunk; after thoughts it carries their signature."""
    if answer.reasoning and not answer.calls:
        return {"text": "", "thoughtSignature": _signature(reply)}
    return {"text": ""}
