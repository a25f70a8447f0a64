"""A Messages request, read into the hub.

Results stand among the user's blocks, and stay there. What Anthropic runs itself (server tools,
their results, containers) has no other words: it stays opaque. `parts` reads the blocks.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from relayd.wire import checked, envelope
from relayd.wire.controls import WEB_SEARCH
from relayd.wire.messages.parts import block, cache, content
from relayd.wire.neutral import (
    Effort,
    Function,
    Hosted,
    Message,
    Output,
    Request,
    Role,
    Sampling,
    Shape,
    Thinking,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import (
    Document,
    Extra,
    Extras,
    Loss,
    Media,
    Opaque,
    Part,
    Text,
)
from relayd.wire.paths import Target

ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
TIERS: Final = {"auto": "auto", "standard_only": "standard"}
# Members of the body, and what it means that another format does not have them.
LOSSES: Final[dict[str, Loss]] = {
    "container": "refuse",
    "mcp_servers": "refuse",
    "context_management": "lenient",
    "diagnostics": "drop",
    "inference_geo": "refuse",
    "speed": "drop",
    "fallbacks": "lenient",
}
# The same for members of tools.
_TOOL_LOSSES: Final[dict[str, Loss]] = {
    "defer_loading": "silent",  # elsewhere all tools are known all the time
    "eager_input_streaming": "silent",
}
# Claude Code says there what it may cost, anew with each request: no provider's business but
# Anthropic's, and it would spoil the others' caches.
BILLING: Final = "x-anthropic-billing-header:"
_KNOWN: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "service_tier",
        "cache_control",
        "output_format",
    }
)
_TOOL: Final = frozenset({"name", "description", "input_schema", "strict", "cache_control", "type"})
_CHOICES: Final[dict[str, Literal["auto", "required", "none"]]] = {
    "auto": "auto",
    "any": "required",
    "none": "none",
}
_CHOICE: Final = frozenset({"type", "name", "disable_parallel_tool_use"})
_MODES: Final[dict[str, Literal["on", "adaptive", "off", "between_tools"]]] = {
    "enabled": "on",
    "adaptive": "adaptive",
    "disabled": "off",
    "between_tools": "between_tools",
}
_SHOWN: Final[dict[str, Literal["summary", "none"]]] = {"summarized": "summary", "omitted": "none"}
_THINKING: Final = frozenset({"type", "budget_tokens", "display"})


def decode(document: Document, target: Target) -> Request:
    """The request in `document`. Raises BadCall."""
    request = Request(source="messages", model=checked.string(document, "model") or "", messages=[])
    request.instructions = _system(document)
    request.messages = [_message(value, at) for at, value in checked.sections(document, "messages")]
    envelope.bound(request.messages)
    request.tools = [_tool(value, at) for at, value in checked.sections(document, "tools")]
    _choose(document, request)
    request.sampling = Sampling(
        temperature=checked.number(document, "temperature"),
        top_p=checked.number(document, "top_p"),
        top_k=checked.whole(document, "top_k"),
    )
    request.output = Output(
        limit=checked.whole(document, "max_tokens"),
        stop=checked.strings(document, "stop_sequences"),
    )
    request.extra = checked.rest(document, _KNOWN, LOSSES)
    _think(document, request)
    _shape(document, request)
    request.caching.mark = cache(document)
    metadata = checked.section(document, "metadata") or {}
    request.user = checked.string(metadata, "user_id", "metadata") or ""
    _beside(request, "metadata", checked.rest(metadata, {"user_id"}, {}), "drop")
    tier = checked.string(document, "service_tier") or ""
    request.tier = TIERS.get(tier, tier)
    request.stream = checked.flag(document, "stream") or False
    request.places |= {
        "output.limit": "max_tokens",
        "stop": "stop_sequences",
        "user": "metadata.user_id",
        "parallel": "tool_choice.disable_parallel_tool_use",
    }
    return request


def decode_count(document: Document, target: Target) -> Request:
    """The request for a count: the same without a limit, which decoding does not ask for."""
    return decode(document, target)


def _beside(request: Request, name: str, extra: Extras, loss: Loss) -> None:
    """Members of a section that have no place in the hub."""
    if extra:
        request.extra[name] = Extra({k: v.value for k, v in extra.items()}, loss)


def _system(document: Document) -> list[Part]:
    said = document.get("system")
    if not said:
        return []
    if isinstance(said, str):
        return [_instruction(Text(said, at="system"), {"type": "text", "text": said})]
    return [_instruction(block(v, at), v) for at, v in checked.sections(document, "system")]


def _instruction(part: Part, value: Document) -> Part:
    """A block of the instructions; nobody else is told what Anthropic is told in passing."""
    if isinstance(part, Text) and part.text.startswith(BILLING):
        return Opaque("messages", "billing header", value, "silent", at=part.at)
    return part


# --- messages -----------------------------------------------------------------------------------


def _message(value: Document, at: str) -> Message:
    spoken = checked.needed(value, "role", at)
    role = ROLES.get(spoken)
    if role is None:
        raise checked.wrong(f"{at}.role", "one of " + ", ".join(ROLES))
    extra = checked.rest(value, {"role", "content"}, {}, "drop")
    parts = content(value, "content", at)
    if role == "assistant":
        for part in parts:
            if isinstance(part, Media):
                # It is the model's own; no other model says such a thing.
                part.extra["source"] = Extra(None, "refuse")
    return Message(role, parts, at, spoken, extra=extra)


# --- tools and controls -------------------------------------------------------------------------


def _tool(value: Document, at: str) -> Tool:
    kind = checked.string(value, "type", at)
    if kind not in (None, "custom"):
        name = checked.string(value, "name", at) or kind
        known = WEB_SEARCH if kind.startswith("web_search_") else kind
        return Hosted(at=at, name=name, format="messages", kind=known, document=value)
    name = checked.needed(value, "name", at)
    extra = checked.rest(value, _TOOL, _TOOL_LOSSES, "drop")
    if kind == "custom":
        extra["type"] = Extra("custom", "silent")
    return Function(
        at=at,
        name=name,
        description=checked.string(value, "description", at),
        schema=checked.section(value, "input_schema", at),
        strict=checked.flag(value, "strict", at),
        cache=cache(value),
        extra=extra,
    )


def _choose(document: Document, request: Request) -> None:
    said = checked.section(document, "tool_choice")
    if said is None:
        return
    alone = checked.flag(said, "disable_parallel_tool_use", "tool_choice")
    request.parallel = None if alone is None else not alone
    kind = checked.needed(said, "type", "tool_choice")
    if kind == "tool":
        name = checked.needed(said, "name", "tool_choice")
        request.tool_choice = ToolChoice("required", (name,))
    elif kind in _CHOICES:
        request.tool_choice = ToolChoice(_CHOICES[kind])
    else:
        raise checked.wrong("tool_choice.type", "auto, any, tool or none")
    request.tool_choice.extra = checked.rest(said, _CHOICE, {})


def _think(document: Document, request: Request) -> None:
    said = checked.section(document, "thinking") or {}
    kind = checked.needed(said, "type", "thinking") if said else ""
    shown = checked.string(said, "display", "thinking") or ""
    if said and kind not in _MODES:
        raise checked.wrong("thinking.type", "one of " + ", ".join(_MODES))
    if shown and shown not in _SHOWN:
        raise checked.wrong("thinking.display", "one of " + ", ".join(_SHOWN))
    request.thinking = Thinking(
        _MODES.get(kind),
        budget=checked.whole(said, "budget_tokens", "thinking"),
        show=_SHOWN.get(shown),
        extra=checked.rest(said, _THINKING, {}),
    )
    config = checked.section(document, "output_config") or {}
    known = {"format"}
    for effort in get_args(Effort):
        if config.get("effort") == effort:
            request.thinking.effort = effort
            known.add("effort")
    _beside(request, "output_config", checked.rest(config, known, {}), "lenient")


def _shape(document: Document, request: Request) -> None:
    config = checked.section(document, "output_config") or {}
    form = checked.section(config, "format", "output_config")
    place, extra = "output_config.format", {}
    if form is None:
        # The name that it had before.
        form, place = checked.section(document, "output_format"), "output_format"
        extra = {"output_format": Extra(value=True, loss="silent")}
    if form is not None:
        schema = checked.section(form, "schema", place)
        request.output.shape = Shape("schema", schema=schema, strict=True, extra=extra)
        request.places["shape"] = place
