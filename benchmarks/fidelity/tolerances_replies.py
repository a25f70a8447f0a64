"""The tolerances of replies, and of streams as the official libraries put them together.

Each takes a document and returns a copy without the difference. `equality` says which apply where.
"""

from __future__ import annotations

from typing import Any

from benchmarks.fidelity.tolerances import Json, each


def no_zero_values(value: Any) -> Any:
    """A host that writes zero values for what a reply does not have says nothing by them:
    `refusal: ""`, `finish_reason: ""`, `custom: {"input": "", "name": ""}`, `logprobs: {}`."""

    def change(holder: Json) -> None:
        for key in ("refusal", "finish_reason", "custom", "function_call", "service_tier", "audio"):
            if key in holder and _is_zero(holder[key]):
                del holder[key]

    return each(value, change)


def _is_zero(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_zero(inner) for inner in value.values())
    return value in ("", "{}", None, 0)


def the_reason_is_true(value: Any) -> Any:
    """An answer with calls ends because of them, one without did not, whatever the host says."""

    def change(holder: Json) -> None:
        message = holder.get("message")
        if isinstance(message, dict) and holder.get("finish_reason") in (
            "",
            "stop",
            "tool_calls",
            None,
        ):
            holder["finish_reason"] = "tool_calls" if message.get("tool_calls") else "stop"

    return each(value, change)


def cache_reads_have_many_names(value: Any) -> Any:
    """`cached_tokens` of the details, Mistral's `num_cached_tokens`, DeepSeek's
    `prompt_cache_hit_tokens`, Moonshot's `cached_tokens` are one count."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return value
    copy = dict(usage)
    details = dict(copy.pop("prompt_tokens_details", None) or {})
    named = [copy.pop(name, None) for name in ("num_cached_tokens", "prompt_token_details")]
    hits = copy.get("prompt_cache_hit_tokens"), copy.get("cached_tokens")
    found = [n for n in (details.get("cached_tokens"), *named, *hits) if isinstance(n, int)]
    details["cached_tokens"] = found[0] if found else 0
    return value | {"usage": copy | {"prompt_tokens_details": details}}


# What a response is like where nobody said otherwise.
USUAL: Json = {
    "background": False,
    "error": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {},
    "store": False,
    "temperature": 1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1,
    "truncation": "disabled",
}


def an_envelope_is_whole(value: Any) -> Any:
    """A response that does not repeat a setting has the usual one: libraries demand the member."""
    if value.get("object") != "response":
        return value
    return {k: v for k, v in value.items() if k not in USUAL or (v or None) != (USUAL[k] or None)}


def cache_writes_are_split(value: Any) -> Any:
    """Writes that nobody splits by their time to live count as five minutes."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return value
    written, split = (
        usage.get("cache_creation_input_tokens"),
        dict(usage.get("cache_creation") or {}),
    )
    if written:
        hour = split.get("ephemeral_1h_input_tokens") or 0
        split["ephemeral_5m_input_tokens"] = written - hour
    return value | {"usage": usage | {"cache_creation": split}}


def index_zero_is_absent(value: Any) -> Any:
    """The first candidate's index may be left out, as every zero of Google's."""

    def change(holder: Json) -> None:
        if holder.get("index") == 0 and type(holder["index"]) is int:
            del holder["index"]

    return each(value, change)


def a_signature_is_its_texts(value: Any) -> Any:
    """A signature on an empty part is that of the text right before it, if that has none."""

    def change(holder: Json) -> None:
        if isinstance(holder.get("parts"), list):
            holder["parts"] = _signed(holder["parts"])

    return each(value, change)


def _signed(parts: list[Json]) -> list[Json]:
    found: list[Json] = []
    for part in parts:
        before = found[-1] if found else {}
        empty = part.get("text") == "" and "thoughtSignature" in part
        if empty and before.get("text") and "thoughtSignature" not in before:
            if before.get("thought") == part.get("thought"):
                found[-1] = before | {"thoughtSignature": part["thoughtSignature"]}
                continue
        found.append(part)
    return found


def no_count_is_zero(value: Any) -> Any:
    """In `usage`, a count of 0 and no count are the same, an object of zeros is none."""
    copy = dict(value)
    for key in ("usage", "usageMetadata"):
        if key in copy and (cleaned := _counted(copy.pop(key))) not in ({}, None):
            copy[key] = cleaned
    return copy


def _counted(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _counted(inner) for key, inner in value.items()}
        return {k: v for k, v in kept.items() if v not in (0, None, {}, []) or v is False}
    return value


PROGRESS = frozenset("channel token_id token_ids obfuscation x_groq p".split())


def progress_is_not_repeated(value: Any) -> Any:
    """What hosts add to single chunks says nothing about the reply: padding, token ids, queues."""

    def change(holder: Json) -> None:
        for key in PROGRESS & holder.keys():
            del holder[key]
        if "finish_reason" in holder:  # a choice: Together repeats the delta's text beside it
            holder.pop("text", None)

    return each(value, change)


def usage_stands_where_it_stands(value: Any) -> Any:
    """Groq tells the usage of a stream in `x_groq`."""
    inside = (value.get("x_groq") or {}).get("usage")
    return value | {"usage": inside} if inside and not value.get("usage") else value


def logprobs_are_rounded(value: Any) -> Any:
    """OpenAI rounds log probabilities where it repeats them at the end of an item."""

    def change(holder: Json) -> None:
        if isinstance(holder.get("logprob"), float):
            holder["logprob"] = round(holder["logprob"], 6)

    return each(value, change)


def a_word_is_said_once(value: Any) -> Any:
    """The library joins what it takes for pieces of one text: a role that hosts repeat in every
    chunk, or never say, and the names in `reasoning_details`."""

    def change(holder: Json) -> None:
        if isinstance(holder.get("message"), dict):
            holder["message"] = {"role": "assistant"} | holder["message"]
        for key in ("role", "format", "id", "type"):
            if isinstance(holder.get(key), str):
                holder[key] = _once(holder[key])

    return each(value, change)


def _once(text: str) -> str:
    """The shortest text of which `text` is a repetition."""
    length = (text + text).find(text, 1)
    return text[:length] if length > 0 else text
