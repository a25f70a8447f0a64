"""The cheapest request to a model that shows whether it answers, in each format, as data.

One token is asked for, or as few as the format allows. The word to the model is as short as can be,
because every probe of every key is billed. Whether the reply is good is decided elsewhere; the list
of models, which costs nothing, is a path of the dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from relayd.model import FormatName
from relayd.wire.dialects import Dialect
from relayd.wire.headers import DEFAULT_ANTHROPIC_VERSION
from relayd.wire.paths import Target

# What a client of the format would bring along, and no client does here.
HEADERS: Mapping[FormatName, tuple[tuple[bytes, bytes], ...]] = {
    "chat": (),
    "responses": (),
    "messages": ((b"anthropic-version", DEFAULT_ANTHROPIC_VERSION),),
    "gemini": (),
}

_WORD = "Hi"
_MESSAGES = [{"role": "user", "content": _WORD}]
_CONTENTS = [{"role": "user", "parts": [{"text": _WORD}]}]
# OpenAI's newer models know only this name of the bound, the other providers only the old one.
_BOUNDS = {"openai": "max_completion_tokens"}
_FEWEST = 16  # the Responses API takes no smaller bound

_TARGETS: Mapping[FormatName, Target] = {
    "chat": Target("chat", "generate", verb="chat/completions"),
    "responses": Target("responses", "generate", verb="responses"),
    "messages": Target("messages", "generate", verb="messages"),
    "gemini": Target("gemini", "generate", stream=False, verb="generateContent"),
}


def one_token(dialect: Dialect, format_name: FormatName, model: str) -> tuple[Target, bytes]:
    """What to call, and the body to send it, for one token of `model`."""
    document = _BODIES[format_name](model, _BOUNDS.get(dialect.name, "max_tokens"))
    return _TARGETS[format_name], orjson.dumps(document)


def _chat(model: str, bound: str) -> dict[str, Any]:
    return {"model": model, "messages": _MESSAGES, bound: 1}


def _responses(model: str, bound: str) -> dict[str, Any]:
    return {"model": model, "input": _WORD, "max_output_tokens": _FEWEST, "store": False}


def _messages(model: str, bound: str) -> dict[str, Any]:
    return {"model": model, "messages": _MESSAGES, "max_tokens": 1}


def _gemini(model: str, bound: str) -> dict[str, Any]:
    return {"contents": _CONTENTS, "generationConfig": {"maxOutputTokens": 1}}


_BODIES: Mapping[FormatName, Callable[[str, str], dict[str, Any]]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
}
