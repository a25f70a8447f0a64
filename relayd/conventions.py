"""What a span says, in the words of OpenTelemetry's GenAI and HTTP conventions where these have
one; what begins with `relayd.` is ours. Out of the row of a request, and of whom an attempt asks.
What nobody knows is not said, and no prompt, reply or secret is. Needs nothing of the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from relayd.model import Entry, UpstreamSpec
from relayd.money import DOLLAR
from relayd.tracing import Place
from relayd.wire.head import without_key

LONGEST: Final = 256  # characters of what clients may have made up
# Dialects whose provider the conventions have another name for.
PROVIDERS: Final[Mapping[str, str]] = {
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
# The conventions' names of operations; where they have none, ours will do.
OPERATIONS: Final[Mapping[str, str]] = {
    "embed": "embeddings",
    "generate": "chat",
    "image": "generate_content",
    "speech": "generate_content",
}
OUTPUTS: Final[Mapping[str, str]] = {"image": "image", "speech": "speech", "transcribe": "text"}
LEGACY: Final = "completions"

Attributes = dict[str, str | int | float | bool]


def provider_of(dialect: str) -> str:
    """The conventions' name of a dialect's provider."""
    return PROVIDERS.get(dialect, dialect)


def operation_of(entry: Entry, verb: str = "") -> str:
    """The conventions' name of what was asked; ours where they have none."""
    return operation_named(entry.operation, entry.format_in, verb)


def operation_named(operation: str, format_in: str, verb: str) -> str:
    """The same of an operation by relayd's name, in a format; `verb`: what its path asks for."""
    if operation == "generate" and format_in == "gemini":
        return "generate_content"
    if operation == "generate" and verb == LEGACY:
        return "text_completion"
    return OPERATIONS.get(operation, operation or "request")


def of_place(place: Place) -> Attributes:
    """Where an attempt goes, and with whose key."""
    spec: UpstreamSpec = place.spec
    where = urlsplit(spec.base_urls[place.site])
    return {
        "gen_ai.provider.name": provider_of(spec.dialect),
        "gen_ai.request.model": without_key(place.model)[:LONGEST],
        "server.address": where.hostname or "",
        "server.port": where.port or (443 if where.scheme == "https" else 80),
        "relayd.upstream": spec.name,
        "relayd.upstream.key": place.key,
    }


def of_request(entry: Entry, key: str, operation: str) -> Attributes:
    """All that the row of a request says, without what nobody knows."""
    usage = entry.usage
    known: dict[str, str | int | float | bool | None] = {
        "http.response.status_code": entry.status or None,
        "error.type": entry.error_code or None,
        "gen_ai.operation.name": operation,
        "gen_ai.output.type": OUTPUTS.get(entry.operation),
        "gen_ai.request.model": entry.model_asked[:LONGEST] or None,
        "gen_ai.request.stream": entry.stream or None,
        "gen_ai.response.model": entry.model_used or None,
        "gen_ai.response.time_to_first_chunk": entry.first_byte,
        "gen_ai.usage.output_tokens": usage.out_total,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "relayd.request_id": entry.request_id,
        "relayd.operation": entry.operation or None,
        "relayd.outcome": entry.outcome,
        "relayd.key": key or None,
        "relayd.upstream": entry.upstream or None,
        "relayd.format_in": entry.format_in or None,
        "relayd.format_out": entry.format_out or None,
        "relayd.attempts": entry.attempts or None,
        "relayd.usage_source": entry.usage_source,
        "relayd.cost_dollars": entry.cost / DOLLAR if entry.cost else None,
    }
    if usage.in_uncached is not None:
        whole = usage.in_uncached + (usage.cache_read or 0) + usage.cache_write
        known["gen_ai.usage.input_tokens"] = whole + (usage.tool_prompt or 0)
    return {name: value for name, value in known.items() if value is not None}
