"""Whether a document is what the official client library of its format would send or take.

The libraries describe requests as TypedDicts, which pydantic checks with three gaps: an `Iterable`
is read only when somebody walks it, unknown members are ignored, and one type may stand for several
in a union that is read lazily. So the schema that pydantic makes of them is tightened before it is
used: every iterable is a list, and no TypedDict has members that it does not declare. google-genai
has no type for a whole request; its parts have, and these forbid unknown members by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import orjson
from anthropic.types import Message, RawMessageStreamEvent, message_create_params
from google.genai import types as genai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from openai.types.responses import Response, ResponseStreamEvent, response_create_params
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

Json = dict[str, Any]
MOST: Final = 3  # problems told of one document

REQUESTS: Final[dict[tuple[str, bool], Any]] = {
    ("chat", False): completion_create_params.CompletionCreateParamsNonStreaming,
    ("chat", True): completion_create_params.CompletionCreateParamsStreaming,
    ("messages", False): message_create_params.MessageCreateParamsNonStreaming,
    ("messages", True): message_create_params.MessageCreateParamsStreaming,
    ("responses", False): response_create_params.ResponseCreateParamsNonStreaming,
    ("responses", True): response_create_params.ResponseCreateParamsStreaming,
}
# Members of a Gemini request and what google-genai says they are.
GEMINI: Final[dict[str, Any]] = {
    "contents": list[genai.Content],
    "systemInstruction": genai.Content,
    "tools": list[genai.Tool],
    "toolConfig": genai.ToolConfig,
    "safetySettings": list[genai.SafetySetting],
    "generationConfig": genai.GenerationConfig,
    "cachedContent": str,
    "serviceTier": genai.ServiceTier,
}
REPLIES: Final[dict[str, Any]] = {
    "chat": ChatCompletion,
    "messages": Message,
    "responses": Response,
    "gemini": genai.GenerateContentResponse,
}
EVENTS: Final[dict[str, Any]] = {
    "chat": ChatCompletionChunk,
    "messages": RawMessageStreamEvent,
    "responses": ResponseStreamEvent,
    "gemini": genai.GenerateContentResponse,
}


def request_problems(name: str, document: Json) -> list[str]:
    """What the library would not send; nothing for a valid request."""
    if name == "gemini":
        return list(_gemini_problems(document))
    streamed = document.get("stream") is True
    return _problems(_tight(name, streamed), document)


def reply_problems(name: str, document: Json) -> list[str]:
    """What the library would not take in a whole reply."""
    return _problems(_adapter(name, False), document)


def event_problems(name: str, document: Json) -> list[str]:
    """What the library would not take in one event of a stream."""
    if name == "messages" and document.get("type") in ("ping", "error"):
        return []  # read before the events are, and no member of the union
    return _problems(_adapter(name, True), document)


def _gemini_problems(document: Json) -> Iterator[str]:
    if not document.get("contents"):
        yield "contents: missing"
    for key, value in document.items():
        if key not in GEMINI:
            yield f"{key}: unknown member"
            continue
        for problem in _problems(_part(key), value):
            yield f"{key}.{problem}"


def _problems(validator: Any, value: Any) -> list[str]:
    """As JSON, because bytes are base64 there."""
    try:
        validator.validate_json(orjson.dumps(value))
    except ValidationError as exc:
        told = exc.errors(include_url=False, include_input=False)
        told.sort(key=lambda one: -len(one["loc"]))  # of a union, the member that came furthest
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in told[:MOST]]
    return []


@cache
def _part(key: str) -> TypeAdapter[Any]:
    return TypeAdapter(GEMINI[key])


@cache
def _adapter(name: str, streamed: bool) -> TypeAdapter[Any]:
    return TypeAdapter((EVENTS if streamed else REPLIES)[name])


@cache
def _tight(name: str, streamed: bool) -> SchemaValidator:
    schema = TypeAdapter(REQUESTS[name, streamed]).core_schema
    return SchemaValidator(_tightened(schema))


def _tightened(schema: Any) -> Any:
    """A copy of a core schema with lists for iterables and without room for unknown members."""
    if isinstance(schema, list):
        return [_tightened(each) for each in schema]
    if isinstance(schema, tuple):
        return tuple(_tightened(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    copy = {key: _tightened(value) for key, value in schema.items()}
    if copy.get("type") == "generator":
        copy["type"] = "list"
    elif copy.get("type") == "typed-dict":
        copy["extra_behavior"] = "forbid"
    return copy
