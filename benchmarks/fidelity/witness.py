"""What the official client libraries make of a stream: the witness that is not ours.

Every library has code that puts a whole reply together from the events of a stream. It is fed with
the bytes as they are, and says with its own types what it understood. google-genai has none that
can be called without a client, so its parsed chunks are joined here: neighbouring texts of one
kind, usage field by field, and the last of everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from anthropic._models import construct_type as construct_anthropic
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types.beta import BetaRawMessageStreamEvent
from google.genai import types as genai
from httpx2 import Headers
from openai import omit
from openai._models import construct_type as construct_openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from benchmarks.fidelity.events import documents

Json = dict[str, Any]


def understood(name: str, body: bytes) -> Json:
    """The reply that the library of this format gathers from a stream's bytes.

    Raises whatever the library raises, which differs from library to library.
    """
    return WITNESSES[name](documents(body))


def _chat(chunks: Iterator[Json]) -> Json:
    """The library's, with `x_groq` as it came last: of members that it does not know, the library
    keeps those of the first chunk. Azure's first chunk is about the prompt, and is left out."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    groq: Json = {}
    for chunk in chunks:
        if not chunk.get("id") and not chunk.get("choices"):
            continue
        parsed: Any = construct_openai(value=chunk, type_=ChatCompletionChunk)
        state.handle_chunk(parsed)
        groq |= chunk.get("x_groq") or {}
    return _plain(state.current_completion_snapshot) | ({"x_groq": groq} if groq else {})


def _messages(events: Iterator[Json]) -> Json:
    snapshot: Any = None
    unfinished: dict[int, bytes] = {}
    for event in events:
        if event.get("type") != "ping":
            parsed: Any = construct_anthropic(value=event, type_=BetaRawMessageStreamEvent)
            snapshot = accumulate_event(
                event=parsed,
                current_snapshot=snapshot,
                json_bufs=unfinished,
                request_headers=Headers(),
            )
    return _plain(snapshot)


def _responses(events: Iterator[Json]) -> Json:
    """The terminal event's response with the items that were done: hosts seal an item anew when
    they repeat it in the terminal event."""
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    last: Any = None
    done: dict[int, Json] = {}
    for event in events:
        parsed: Any = construct_openai(value=event, type_=ResponseStreamEvent)
        state.handle_event(parsed)
        last = getattr(parsed, "response", last)
        if event.get("type") == "response.output_item.done":
            done[event["output_index"]] = _plain(parsed.item)
    items = [item for _, item in sorted(done.items())]
    return _plain(last) | ({"output": items} if items else {})


def _gemini(chunks: Iterator[Json]) -> Json:
    whole: Json = {}
    parts: dict[int, list[Json]] = {}
    candidates: dict[int, Json] = {}
    for chunk in chunks:
        said = _plain(genai.GenerateContentResponse._from_response(response=chunk, kwargs={}))
        for candidate in said.pop("candidates", None) or []:
            at = candidate.get("index") or 0
            content = candidate.pop("content", None) or {}
            _join(parts.setdefault(at, []), content.get("parts") or [])
            candidates[at] = candidates.get(at, {}) | candidate
        counted = whole.get("usageMetadata", {}) | said.pop("usageMetadata", {})
        whole |= said | ({"usageMetadata": counted} if counted else {})
    joined = [
        value | {"content": {"role": "model", "parts": parts[at]}}
        for at, value in sorted(candidates.items())
    ]
    return whole | {"candidates": joined}


def _join(parts: list[Json], more: list[Json]) -> None:
    """Add `more`; a text goes on with the text before it, if that is of its kind, and a signature
    that comes with any piece of a text, or right behind it, is the text's."""
    for part in more:
        if parts and _is_text(part) and _is_text(parts[-1]):
            if parts[-1].get("thought") == part.get("thought") or not part["text"]:
                parts[-1]["text"] += part["text"]
                parts[-1].update({k: v for k, v in part.items() if k == "thoughtSignature"})
                continue
        if part.get("text") != "" or len(part) > 1:
            parts.append(part)


def _is_text(part: Json) -> bool:
    return "text" in part and not part.keys() - {"text", "thought", "thoughtSignature"}


def _plain(value: Any) -> Json:
    plain: Json = value.model_dump(mode="json", exclude_none=True, by_alias=True, warnings=False)
    return plain


WITNESSES: dict[str, Callable[[Iterator[Json]], Json]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
}
