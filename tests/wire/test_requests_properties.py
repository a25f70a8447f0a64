"""Whatever a client sends, it is translated or refused: nothing else may come of it.

Requests that each format's clients send are made hostile as upstreams' replies are (`strategies`):
members missing, of the wrong type, enormous, nested. Decoding raises BadCall or gives a request
that every encoder writes or refuses by name, strict or lenient; what is written is JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.capabilities import Capability
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.paths import Target
from relayd.wire.setting import Going, Rules
from tests.wire.strategies import NAMES, PIXEL, examples, mutated
from tests.wire.test_prefixes import Turn, body

Document = dict[str, Any]

TURNS: Final = [
    Turn("Hi", True, (("call_1", "sunny"), ("call_2", "rain")), "So"),
    Turn("More", False, (), "Yes"),
]
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "a": {"type": ["string", "null"], "enum": ["x", None]},
        "b": {"$ref": "#/$defs/b"},
    },
    "$defs": {"b": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {}}]}},
    "required": ["a"],
}
URL: Final = "https://e.org/a.png"

# What a request may hold beside its history, much of it at once.
RICH: Final[dict[FormatName, Document]] = {
    "chat": {
        "temperature": 1,
        "top_p": 1,
        "max_completion_tokens": 99,
        "stop": ["x"],
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "metadata": {"a": "b"},
        "stream": True,
        "stream_options": {"include_usage": True},
        "service_tier": "auto",
        "user": "u",
    },
    "responses": {
        "temperature": 1,
        "max_output_tokens": 99,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}},
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "stream": True,
        "truncation": "disabled",
        "metadata": {"a": "b"},
    },
    "messages": {
        "temperature": 1,
        "stop_sequences": ["x"],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u"},
        "stream": True,
        "service_tier": "auto",
        "cache_control": {"type": "ephemeral"},
    },
    "gemini": {
        "generationConfig": {
            "temperature": 1,
            "maxOutputTokens": 99,
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
        },
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    },
}
# Parts and items that conversations of `test_prefixes` do not have.
MORE: Final[dict[FormatName, list[Document]]] = {
    "chat": [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "name": "n",
            "content": [
                {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}},
            ],
        },
        {
            "role": "assistant",
            "reasoning_content": "Hm",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "index": 0}],
            "refusal": "No.",
            "function_call": {"name": "f", "arguments": "{}"},
        },
        {"role": "function", "name": "f", "content": "1"},
    ],
    "responses": [
        {"role": "developer", "content": "Be kind."},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "x",
        },
        {"type": "custom_tool_call", "call_id": "c9", "name": "p", "input": "raw"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c9",
            "output": [{"type": "input_text", "text": "1"}],
        },
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": URL},
                {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD"},
            ],
        },
        {"type": "web_search_call", "id": "ws", "action": {"query": "q"}},
    ],
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "t9", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t9",
                    "is_error": True,
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                        }
                    ],
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                    "title": "t",
                },
                {"type": "image", "source": {"type": "url", "url": URL}},
            ],
        },
    ],
    "gemini": [
        {
            "role": "model",
            "parts": [
                {"text": "Hm", "thought": True, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "g", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "g",
                        "name": "f",
                        "response": {"a": [1, {"$ref": "x"}]},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
                    }
                },
                {"fileData": {"fileUri": URL, "mimeType": "image/png"}},
                {"text": "Go on"},
            ],
        },
    ],
}
HISTORY: Final = {"chat": "messages", "responses": "input", "messages": "messages"}


def requests(name: FormatName) -> list[Document]:
    """Of one client: a conversation, one with much set, and one with rare parts."""
    plain = body(name, TURNS)
    history = HISTORY.get(name, "contents")
    # No turn of the model's at the end: not every model takes that.
    plain = {**plain, history: plain[history][:-1]}
    rare = {**plain, history: [*plain[history][:1], *MORE[name], plain[history][0]]}
    return [plain, plain | RICH[name], rare]


def translated(source: FormatName, document: Document, up: FormatName, *, lenient: bool) -> bytes:
    """The body for an upstream. Raises BadCall."""
    here, there = FORMATS[source].codec, FORMATS[up].codec
    assert here is not None
    assert there is not None
    request = here.decode(document, Target(source, "generate", "m", stream=False))
    losses = Losses(up, lenient=lenient)
    rules = Rules(orphan_results=lenient, append_user_turn=lenient)
    can = Capability(custom_tools=not lenient, call_ids=lenient, mid_system=not lenient)
    going = Going(up, "m", can, losses, rules=rules, native=source == up)
    written = there.encode(request, going)
    assert all(name for name in losses.dropped)
    return orjson.dumps(written.document)


@pytest.mark.parametrize("up", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_a_usual_request_is_translated_everywhere(source: FormatName, up: FormatName) -> None:
    plain, *_ = requests(source)
    assert orjson.loads(translated(source, plain, up, lenient=False))


@pytest.mark.parametrize("up", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_a_hostile_request_is_translated_or_refused(source: FormatName, up: FormatName) -> None:
    @examples(20)
    @given(document=st.sampled_from(requests(source)).flatmap(mutated), lenient=st.booleans())
    def holds(document: Any, lenient: bool) -> None:
        if not isinstance(document, dict):
            return
        note(orjson.dumps(document).decode())
        kept = orjson.dumps(document)
        try:
            translated(source, document, up, lenient=lenient)
        except BadCall as refused:
            assert refused.status == 400
            assert refused.message
        assert orjson.dumps(document) == kept

    holds()


@pytest.mark.parametrize("junk", [None, -1.5, 1e308, "x", [None], {"a": {}}], ids=repr)
@pytest.mark.parametrize("source", NAMES)
def test_junk_in_every_place_is_translated_or_refused(source: FormatName, junk: Any) -> None:
    """Each value of each request in turn, however deep it stands, is replaced by the same thing."""
    for document in requests(source):
        for changed in _replaced(document, junk):
            data = orjson.dumps(changed)
            for up in NAMES:
                with suppress(BadCall):
                    translated(source, orjson.loads(data), up, lenient=True)


def _replaced(value: Any, junk: Any) -> Iterator[Any]:
    """`value` with one of the values in it replaced."""
    if isinstance(value, dict):
        for key, held in value.items():
            yield {**value, key: junk}
            for inner in _replaced(held, junk):
                yield {**value, key: inner}
    elif isinstance(value, list):
        for at, held in enumerate(value):
            for inner in [junk, *_replaced(held, junk)]:
                yield [*value[:at], inner, *value[at + 1 :]]
