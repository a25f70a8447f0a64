"""Model lists and single models in the three shapes (wire-formats 1.1).

The lists hold the plain names and every misbehaviour. A single model is found whatever its name,
because any name is answered; except one that asks for 404.
"""

from __future__ import annotations

from typing import Final

from relayd.demo.ask import Document
from relayd.demo.names import MISBEHAVIOURS, PLAIN, parse
from relayd.demo.refusal import Refusal
from relayd.model import FormatName

LISTED: Final = (*PLAIN, *MISBEHAVIOURS)
# A fixed moment: a demo model was not made when it was asked for.
CREATED: Final = 1_767_225_600
CREATED_AT: Final = "2026-01-01T00:00:00Z"
_METHODS: Final = ["generateContent", "countTokens", "embedContent", "batchEmbedContents"]


def models(format: FormatName, query: dict[str, str]) -> Document:
    """One page of the list, in the shape of this format."""
    if format == "gemini":
        return _gemini_page(query)
    if format == "messages":
        return _anthropic_page(query)
    return {"object": "list", "data": [model("chat", name) for name in _safe(LISTED)]}


def model(format: FormatName, name: str) -> Document:
    """One model, in the shape of this format."""
    if parse(name).has("404"):
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise Refusal(404, message, code="model_not_found", param="model")
    if format == "gemini":
        return {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": _METHODS,
        }
    if format == "messages":
        return {"type": "model", "id": name, "display_name": name, "created_at": CREATED_AT}
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "relayd-demo"}


def _gemini_page(query: dict[str, str]) -> Document:
    start, size = _number(query, "pageToken", 0), _number(query, "pageSize", 50)
    page: Document = {"models": [model("gemini", n) for n in _safe(LISTED[start : start + size])]}
    if start + size < len(LISTED):
        page["nextPageToken"] = str(start + size)
    return page


def _anthropic_page(query: dict[str, str]) -> Document:
    size = _number(query, "limit", 20)
    after = query.get("after_id", "")
    start = LISTED.index(after) + 1 if after in LISTED else 0
    names = LISTED[start : start + size]
    return {
        "data": [model("messages", name) for name in _safe(names)],
        "has_more": start + size < len(LISTED),
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _safe(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not parse(name).has("404")]


def _number(query: dict[str, str], field: str, default: int) -> int:
    value = query.get(field, "")
    return min(int(value), 1000) if value.isdecimal() and len(value) < 9 else default
