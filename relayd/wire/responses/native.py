"""A Responses request that stays in its format: every item as it came.

Neighbouring texts of one `Item` are one message again; whatever only this format says is written
back. Two things are left out: what is sealed for another provider, and the id of a reasoning item
that has nothing else, where nobody has kept it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from relayd.wire import checked, envelope, media
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration, Message, Request
from relayd.wire.parts import (
    Audio,
    Document,
    Image,
    Item,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.responses import contents, settings
from relayd.wire.setting import Going, Written


def native(request: Request, going: Going) -> Written:
    """The body for an upstream of the client's own format."""
    output, sampling, choice = request.output, request.sampling, request.tool_choice
    said: dict[str, Any] = {
        "model": going.model,
        "instructions": settings.instructions(request),
        "input": [item for m in request.messages for item in _replayed(m, going)],
        "tools": settings.tools(request.tools) or None,
        "tool_choice": settings.choice(choice) if choice is not None else None,
        "parallel_tool_calls": request.parallel,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_logprobs": sampling.top_logprobs,
        "max_output_tokens": output.limit,
        "text": settings.text(output) or None,
        "reasoning": settings.reasoning(request.thinking) or None,
        request.param("user"): request.user or None,
        "metadata": request.metadata,
        "service_tier": settings.tier(request),
        "store": request.store,
        "stream": request.stream or None,
        "prompt_cache_key": request.caching.key or None,
        "prompt_cache_options": request.caching.options,
    }
    document = {name: value for name, value in said.items() if value is not None}
    if request.store is False:
        document["input"] = [_kept(item) for item in document["input"]]
    for path, (value, _) in request.extra.items():
        name, _, inner = path.partition(".")
        if inner:
            document[name] = document.get(name, {}) | {inner: value}
        else:
            document.setdefault(name, value)
    return Written(document, Names(request.all_tools(), "responses", custom=True))


def _kept(item: Document) -> Document:
    """A reasoning item that says nothing but its id points to one that nobody has kept."""
    if item.get("type") != "reasoning" or item.get("encrypted_content"):
        return item
    return {name: value for name, value in item.items() if name != "id"}


# --- items --------------------------------------------------------------------------------------


def _replayed(message: Message, going: Going) -> Iterable[Document]:
    """The items that `message` was."""
    for _, members in groupby(message.parts, _item_of):
        parts = list(members)
        first = parts[0]
        if isinstance(first, Reasoning):
            thoughts = [part for part in parts if isinstance(part, Reasoning)]
            yield from _thought(thoughts, going)
        elif _is_item(first):
            yield _item(first, message, going)
        else:
            yield _message(message, parts, going)
    if not message.parts:
        yield _message(message, [], going)


def _item_of(part: Part) -> object:
    """Neighbours of one item have the same."""
    alone = _is_item(part)
    return ("item", id(part)) if alone else (type(part) is Reasoning, id(part.item))


def _is_item(part: Part) -> bool:
    """Whether it is an item rather than a part of a message."""
    if isinstance(part, Image) and part.item is not None:
        return "type" in part.item.extra  # the model had it drawn
    if isinstance(part, Opaque):
        return part.item is None
    return isinstance(part, ToolCall | ToolResult | Declaration)


def _message(message: Message, parts: list[Part], going: Going) -> Document:
    document: Document = {"type": "message", "role": message.spoken or message.role}
    document["content"] = _said(parts, "content", message.role, going)
    return _owned(document, parts[0].item if parts else None)


def _said(parts: list[Part], member: str, role: str, going: Going) -> str | list[Document]:
    """Parts, or the one text that they came as: a history whose beginning changes is not found in
    the provider's cache."""
    first = parts[0] if parts else None
    if len(parts) == 1 and isinstance(first, Text) and first.at.endswith(f".{member}"):
        return first.text
    return [_part(part, role, going) for part in parts]


def _part(part: Part, role: str, going: Going) -> Document:
    if isinstance(part, Opaque):
        return dict(envelope.unsealed(part.document))
    if isinstance(part, Audio):
        sound = {"data": part.data, "format": media.sound_name(part.mime)}
        document: Document = {"type": "input_audio", "input_audio": sound}
    else:
        document = contents.content(part, role, going)
    if part.cache is not None:
        document |= part.cache.native
    return checked.written(part.extra, document)


def _thought(parts: list[Reasoning], going: Going) -> Iterable[Document]:
    """The item that these were; nothing where what is sealed in it is not this provider's."""
    carrier = parts[-1].carrier
    if carrier is not None and going.own(carrier) is None:
        return
    yield _owned(contents.thinking(parts, carrier), parts[0].item)


def _item(part: Part, message: Message, going: Going) -> Document:
    document: Document
    match part:
        case ToolCall():
            kind = "custom_tool_call" if part.custom else "function_call"
            said = "input" if part.custom else "arguments"
            document = {"type": kind, "call_id": part.id, "name": part.name, said: part.arguments}
            if part.namespace:
                document["namespace"] = part.namespace
        case ToolResult():
            kind = "custom_tool_call_output" if part.custom else "function_call_output"
            output = _said(part.parts, "output", "user", going)
            document = {"type": kind, "call_id": part.id, "output": output}
        case Declaration():
            document = {"tools": settings.tools(part.tools)}
            if message.role == "system":
                document |= {"type": "additional_tools", "role": message.spoken}
        case Image():
            document = {"result": part.data}
        case _:
            assert isinstance(part, Opaque), part
            return dict(envelope.unsealed(part.document))
    return _owned(document, part.item)


def _owned(document: Document, item: Item | None) -> Document:
    """The same with what the item is beside its content."""
    if item is None:
        return document
    return checked.written(item.extra, {"id": item.id} | document if item.id else document)
