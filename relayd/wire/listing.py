"""Lists of models in the three shapes that clients read: OpenAI's, Anthropic's and Google's.

A model is `(id, owned_by, created)`, the moment in Unix seconds. What relayd does not know of a
model (its limits, its capabilities) is left out rather than invented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from relayd.model import FormatName

Model = tuple[str, str, int]

_VERBS = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
]


def many(shape: FormatName, models: Iterable[Model]) -> bytes:
    """All of `models`, as one complete page."""
    rows = [SHAPES[shape](model) for model in models]
    return orjson.dumps(PAGES[shape](rows))


def one(shape: FormatName, models: Iterable[Model], model_id: str) -> bytes | None:
    """The model of that id, or None when it is not among `models`."""
    for model in models:
        if model[0] == model_id:
            return orjson.dumps(SHAPES[shape](model))
    return None


def _openai(model: Model) -> dict[str, Any]:
    return {"id": model[0], "object": "model", "created": model[2], "owned_by": model[1]}


def _anthropic(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model[2], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model[0], "display_name": model[0], "created_at": created}


def _google(model: Model) -> dict[str, Any]:
    return {
        "name": f"models/{model[0]}",
        "displayName": model[0],
        "supportedGenerationMethods": _VERBS,
    }


def _openai_page(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": rows}


def _anthropic_page(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ends = (
        {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        if rows
        else dict.fromkeys(("first_id", "last_id"))
    )
    return {"data": rows, "has_more": False, **ends}


def _google_page(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"models": rows}


SHAPES: Mapping[FormatName, Callable[[Model], dict[str, Any]]] = {
    "chat": _openai,
    "responses": _openai,
    "messages": _anthropic,
    "gemini": _google,
}
PAGES: Mapping[FormatName, Callable[[list[dict[str, Any]]], dict[str, Any]]] = {
    "chat": _openai_page,
    "responses": _openai_page,
    "messages": _anthropic_page,
    "gemini": _google_page,
}
