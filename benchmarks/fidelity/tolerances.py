"""The tolerances of requests and of all documents: what each forgets stands in its docstring.

Each takes a document and returns a copy without the difference. `equality` says which apply where.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Tolerance = Callable[[Any], Any]

# Members whose value is the client's or the model's own JSON: nothing in there is touched.
OWN_JSON = frozenset(
    "parameters input_schema schema input args response arguments"
    " responseSchema responseJsonSchema parametersJsonSchema".split()
)

LISTS = frozenset(
    "tools stop stop_sequences stopSequences citations annotations metadata tool_calls"
    " safetySettings logprobs generationConfig content_filter_results groundingMetadata"
    " citationMetadata".split()
)


def each(value: Any, change: Callable[[Json], None]) -> Any:
    """A copy of `value` with `change` applied to every object, the innermost first; the client's
    own JSON stays as it is."""
    if isinstance(value, dict):
        copy = {
            key: inner if key in OWN_JSON and isinstance(inner, dict) else each(inner, change)
            for key, inner in value.items()
        }
        change(copy)
        return copy
    return [each(inner, change) for inner in value] if isinstance(value, list) else value


def null_is_absent(value: Any) -> Any:
    """A member that is null says as much as one that is not there. Inside schemas and arguments a
    null is a value and stays."""

    def change(holder: Json) -> None:
        for key in [key for key, inner in holder.items() if inner is None]:
            del holder[key]

    return each(value, change)


def nothing_is_absent(value: Any) -> Any:
    """An empty list of tools, stops, sources, settings or metadata is none."""

    def change(holder: Json) -> None:
        for key in LISTS & holder.keys():
            if holder[key] in ([], {}):
                del holder[key]

    return each(value, change)


def one_text_is_a_list(value: Any) -> Any:
    """`"content": "x"`, `"system": "x"`, `"output": "x"` are lists of one text."""

    def change(holder: Json) -> None:
        kind = holder.get("type")
        for key in ("content", "system", "output"):
            holds = "role" in holder or "messages" in holder or kind in RESULTS
            if isinstance(holder.get(key), str) and holds:
                said = holder[key]
                holder[key] = [{"type": _text_type(holder), "text": said}] if said else []

    return each(value, change)


RESULTS = ("tool_result", "message", "function_call_output", "custom_tool_call_output")


def _text_type(holder: Json) -> str:
    """What a text in `holder` is called: Responses has words of its own."""
    kind = holder.get("type")
    if kind not in ("message", "function_call_output", "custom_tool_call_output"):
        return "text"
    return "output_text" if holder.get("role") == "assistant" else "input_text"


def no_content_is_empty(value: Any) -> Any:
    """A message or result without content, with null, with "" or with [] is the same."""

    def change(holder: Json) -> None:
        if "role" in holder or holder.get("type") in RESULTS:
            for key in ("content", "output"):
                said = holder.get(key)
                texts = said if isinstance(said, list) else [said] if said else []
                if all(isinstance(x, dict) and x.get("text") == "" for x in texts):
                    holder.pop(key, None)

    return each(value, change)


def false_is_absent(value: Any) -> Any:
    """`stream: false`, `is_error: false` are what their absence is."""

    def change(holder: Json) -> None:
        for key in ("stream", "is_error"):
            if holder.get(key) is False:
                del holder[key]

    return each(value, change)


def data_is_padded(value: Any) -> Any:
    """Base64 of either alphabet, padded or not; a data URL's type in lower case."""

    def change(holder: Json) -> None:
        for key in ("data", "url", "image_url", "file_data", "thoughtSignature"):
            said = holder.get(key)
            if isinstance(said, str):
                holder[key] = _padded(said)

    return each(value, change)


_DATA_URL = re.compile(r"(data:[^;,]*(?:;[^;,]*)*;base64,)(.*)", re.DOTALL | re.IGNORECASE)


def _padded(text: str) -> str:
    found = _DATA_URL.fullmatch(text)
    head, data = (found[1].lower(), found[2]) if found else ("", text)
    data = data.replace("-", "+").replace("_", "/").rstrip("=")
    data += "=" * (-len(data) % 4)
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error:
        return text
    return head + data


def usage_is_always_asked(value: Any) -> Any:
    """relayd asks every stream for its usage, and hides it from who did not."""
    return {key: inner for key, inner in value.items() if key != "stream_options"}


def thinking_has_two_names(value: Any) -> Any:
    """Hosts call it `reasoning` or `reasoning_content`, and send it empty where there is none."""

    def change(holder: Json) -> None:
        if "role" in holder and isinstance(holder.get("reasoning"), str):
            said = holder.pop("reasoning")
            holder["reasoning_content"] = said or holder.get("reasoning_content")
        if "role" in holder and not holder.get("reasoning_content"):
            holder.pop("reasoning_content", None)

    return each(value, change)


def a_picture_is_an_object(value: Any) -> Any:
    """`"image_url": "x"` is `{"url": "x"}`."""

    def change(holder: Json) -> None:
        if isinstance(holder.get("image_url"), str):
            holder["image_url"] = {"url": holder["image_url"]}

    return each(value, change)


def no_arguments_are_an_object(value: Any) -> Any:
    """A call with the arguments `""` has `{}`."""

    def change(holder: Json) -> None:
        if "arguments" in holder and "name" in holder and not (holder["arguments"] or "").strip():
            holder["arguments"] = "{}"

    return each(value, change)


def functions_say_so(value: Any) -> Any:
    """A call or a tool with a `function` is of type function; a call's `index` is its place."""

    def change(holder: Json) -> None:
        if isinstance(holder.get("function"), dict):
            holder.setdefault("type", "function")
            if holder["type"] == "function":
                holder.pop("index", None)

    return each(value, change)


def input_is_a_list(value: Any) -> Any:
    """`"input": "x"` is one message of the user's."""
    if isinstance(value.get("input"), str):
        said = {"type": "message", "role": "user", "content": value["input"]}
        return value | {"input": [said]}
    return value


def an_item_with_a_role_is_a_message(value: Any) -> Any:
    """`type: message` may be left out of an input item."""

    def change(holder: Json) -> None:
        if "role" in holder:
            holder.setdefault("type", "message")

    return each(value, change)


def plain_text_is_usual(value: Any) -> Any:
    """`text: {"format": {"type": "text"}}`, `text: {}` and `reasoning: {}` are what is usual."""
    copy = dict(value)
    text = copy.get("text")
    if isinstance(text, dict) and text.get("format") == {"type": "text"}:
        copy["text"] = {key: inner for key, inner in text.items() if key != "format"}
    return {k: v for k, v in copy.items() if not (k in ("text", "reasoning") and v == {})}


_SNAKE = re.compile(r"_([a-z0-9])")


def spelling_is_one(value: Any) -> Any:
    """snake_case and camelCase are the same field, at every level."""
    if isinstance(value, dict):
        spelled = {_SNAKE.sub(lambda m: m[1].upper(), key): v for key, v in value.items()}
        return {k: v if k in OWN_JSON else spelling_is_one(v) for k, v in spelled.items()}
    return [spelling_is_one(inner) for inner in value] if isinstance(value, list) else value


def declarations_are_one_list(value: Any) -> Any:
    """Functions may be spread over several tools, and one object may stand for a list of one."""
    copy = dict(value)
    for key in ("tools", "contents"):
        if isinstance(copy.get(key), dict):
            copy[key] = [copy[key]]
    found, others = [], []
    for tool in copy.get("tools") or ():
        for key, inner in tool.items():
            if key == "functionDeclarations":
                found += inner if isinstance(inner, list) else [inner]
            else:
                others.append({key: inner})
    if "tools" in copy:
        copy["tools"] = ([{"functionDeclarations": found}] if found else []) + others
    return copy


def an_instruction_is_parts(value: Any) -> Any:
    """`systemInstruction` may be a text, a part, or a content with or without a role."""
    said = value.get("systemInstruction")
    if isinstance(said, str):
        said = {"parts": [{"text": said}]}
    if not isinstance(said, dict):
        return value
    parts = said.get("parts", {k: v for k, v in said.items() if k != "role"})
    return value | {"systemInstruction": {"parts": parts if isinstance(parts, list) else [parts]}}
