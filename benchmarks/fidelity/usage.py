"""What a recorded body says was consumed, in the normal form of the usage log.

An independent reading, rule by rule, of the same definition that the relay implements (docs: usage
normal form): it never calls the relay's code, takes the whole body at once, and prefers being
obvious to being fast. Keys of the result are columns of the usage table; a count that the body
does not state is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.fidelity.events import documents, parsed
from benchmarks.fidelity.recording import Recorded

Counts = dict[str, int]
Json = dict[str, Any]


def stated(recorded: Recorded) -> Counts | None:
    """The counts that the reply states; None when it states no usage."""
    if not 200 <= recorded.status < 300 or recorded.counts_tokens:
        return None
    family = recorded.format.removesuffix("-aux")
    if recorded.stream:
        raw = STREAMS[family](list(documents(recorded.body)))
    else:
        raw = WHOLE[family](parsed(recorded.body) or {})
    counts = COUNTS[family](raw) if raw else {}
    return counts or None


def server_tools(recorded: Recorded) -> Counts:
    """Requests to tools that the provider ran itself, where the messages format states them."""
    if recorded.format != "messages" or not 200 <= recorded.status < 300:
        return {}
    raw = (
        _messages_stream(list(documents(recorded.body)))
        if recorded.stream
        else _usage(parsed(recorded.body) or {})
    )
    made = (raw.get("server_tool_use") or {}).items()
    return {k.removesuffix("_requests"): n for k, n in made if isinstance(n, int) and n}


# --- where the usage stands -----------------------------------------------------------------------


def _usage(body: Json) -> Json:
    return body.get("usage") or {}


def _gemini_usage(body: Json) -> Json:
    return body.get("usageMetadata") or {}


def _chat_stream(chunks: list[Json]) -> Json:
    """The last usage wins, for some hosts send running totals; Groq has it in `x_groq`."""
    found: Json = {}
    for chunk in chunks:
        found = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or found
    return found


def _responses_stream(events: list[Json]) -> Json:
    ends = ("response.completed", "response.incomplete", "response.failed")
    for event in events:
        if event.get("type") in ends:
            return (event.get("response") or {}).get("usage") or {}
    return {}


def _messages_stream(events: list[Json]) -> Json:
    """Start with message_start; every message_delta overwrites what it states."""
    merged: Json = {}
    for event in events:
        news: Json = {}
        if event.get("type") == "message_start":
            news = event["message"].get("usage") or {}
        elif event.get("type") == "message_delta":
            news = event.get("usage") or {}
        merged |= {k: v for k, v in news.items() if v is not None}
    return merged


def _gemini_stream(chunks: list[Json]) -> Json:
    """Field by field, the last that is stated."""
    merged: Json = {}
    for chunk in chunks:
        merged |= {k: v for k, v in _gemini_usage(chunk).items() if v is not None}
    return merged


# --- what it comes to -----------------------------------------------------------------------------


def _put(**counts: Any) -> Counts:
    """The counts that are stated; hosts send null, and negatives mean 0."""
    return {k: max(0, int(v)) for k, v in counts.items() if isinstance(v, int | float)}


def _uncached(prompt: Any, read: Any, written: Any) -> int | None:
    if not isinstance(prompt, int):
        return None
    rest = prompt - (read or 0) - (written or 0)
    return rest if rest >= 0 else max(0, prompt - (read or 0))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _chat(raw: Json) -> Counts:
    into, out = raw.get("prompt_tokens_details") or {}, raw.get("completion_tokens_details") or {}
    read = _first(
        into.get("cached_tokens"),
        raw.get("cached_tokens"),  # Moonshot
        raw.get("num_cached_tokens"),  # Mistral
        raw.get("prompt_cache_hit_tokens"),  # DeepSeek
    )
    written = into.get("cache_write_tokens")
    prompt, output, reasoning = (
        raw.get("prompt_tokens"),
        raw.get("completion_tokens"),
        out.get("reasoning_tokens"),
    )
    if reasoning and raw.get("total_tokens") == (prompt or 0) + (output or 0) + reasoning:
        output = (output or 0) + reasoning  # a host that counts reasoning apart
    return _put(
        in_uncached=_uncached(prompt, read, written),
        cache_read=read,
        cache_write_other=written,
        out_total=output,
        reasoning=reasoning,
        in_audio=into.get("audio_tokens"),
        in_image=into.get("image_tokens"),
        in_video=into.get("video_tokens"),
        out_audio=out.get("audio_tokens"),
        out_image=out.get("image_tokens"),
        total_reported=raw.get("total_tokens"),
    )


def _responses(raw: Json) -> Counts:
    into, out = raw.get("input_tokens_details") or {}, raw.get("output_tokens_details") or {}
    read, written = into.get("cached_tokens"), into.get("cache_write_tokens")
    split = into.get("cache_write_tokens_details") or {}
    half_hour, half_day = split.get("ttl_30m_tokens"), split.get("ttl_12h_tokens")
    other = written if written is None else written - (half_hour or 0) - (half_day or 0)
    return _put(
        in_uncached=_uncached(raw.get("input_tokens"), read, written),
        cache_read=read,
        cache_write_other=other,
        cache_write_30m=half_hour,
        cache_write_12h=half_day,
        out_total=raw.get("output_tokens"),
        reasoning=out.get("reasoning_tokens"),
        total_reported=raw.get("total_tokens"),
    )


def _messages(raw: Json) -> Counts:
    """Passes are summed: with iterations, the top level covers only some of them."""
    total: Counts = {}
    for each in raw.get("iterations") or [raw]:
        for name, count in _messages_pass(each).items():
            total[name] = total.get(name, 0) + count
    thinking = (raw.get("output_tokens_details") or {}).get("thinking_tokens")
    return total | _put(reasoning=thinking)


def _messages_pass(raw: Json) -> Counts:
    split = raw.get("cache_creation") or {}
    short, long = split.get("ephemeral_5m_input_tokens"), split.get("ephemeral_1h_input_tokens")
    written = raw.get("cache_creation_input_tokens")
    if written is not None:  # what the split leaves out counts as five minutes
        short = max(written - (long or 0), short or 0)
    return _put(
        in_uncached=raw.get("input_tokens"),
        cache_read=raw.get("cache_read_input_tokens"),
        cache_write_5m=short,
        cache_write_1h=long,
        out_total=raw.get("output_tokens"),
    )


def _gemini(raw: Json) -> Counts:
    prompt, total = raw.get("promptTokenCount"), raw.get("totalTokenCount")
    cached, thoughts = raw.get("cachedContentTokenCount"), raw.get("thoughtsTokenCount")
    spoken, tools = raw.get("candidatesTokenCount"), raw.get("toolUsePromptTokenCount")
    inclusive = thoughts and total == (prompt or 0) + (spoken or 0) + (tools or 0)
    # Zeros are left out of the JSON: where a total stands, a missing part of it is 0.
    silent = spoken is None and thoughts is None and total is None
    out = None if silent else (spoken or 0) + (thoughts or 0)
    return _put(
        in_uncached=_uncached(prompt, cached, None),
        cache_read=cached,
        out_total=spoken if inclusive else out,
        reasoning=thoughts,
        tool_prompt=tools,
        total_reported=total,
        **_by_modality("in", raw.get("promptTokensDetails"), ("AUDIO", "IMAGE", "VIDEO")),
        **_by_modality("out", raw.get("candidatesTokensDetails"), ("AUDIO", "IMAGE")),
    )


def _by_modality(side: str, details: Any, wanted: tuple[str, ...]) -> Counts:
    counts: Counts = {}
    for detail in details or ():
        if detail.get("modality") in wanted:
            name = f"{side}_{detail['modality'].lower()}"
            counts[name] = counts.get(name, 0) + detail.get("tokenCount", 0)
    return counts


def _embeddings(raw: Json) -> Counts:
    """There is no output; some hosts state the total alone."""
    prompt = _first(raw.get("prompt_tokens"), raw.get("total_tokens"))
    return _put(in_uncached=prompt, total_reported=raw.get("total_tokens"))


Finder = Callable[[Json], Json]
WHOLE: dict[str, Finder] = {
    "chat": _usage,
    "responses": _usage,
    "messages": _usage,
    "gemini": _gemini_usage,
    "embeddings": _usage,
}
STREAMS: dict[str, Callable[[list[Json]], Json]] = {
    "chat": _chat_stream,
    "responses": _responses_stream,
    "messages": _messages_stream,
    "gemini": _gemini_stream,
}
COUNTS: dict[str, Callable[[Json], Counts]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "embeddings": _embeddings,
}
