"""The items of a Responses request, read into messages.

Items are finer than turns: what the model said in a row (thinking, texts, calls, the calls of
hosted tools) is one message here, and each part keeps its `Item`, so that it can be cut again in
the same way. An item that nobody else knows is an `Opaque` part of the turn that it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from relayd.wire import checked, envelope, media
from relayd.wire.neutral import Declaration, Message, Role
from relayd.wire.parts import (
    Audio,
    Cache,
    Carrier,
    Document,
    Extra,
    File,
    Image,
    Item,
    Loss,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.responses.tools import tools

ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
# What another format makes of an item that it cannot say: what the search for tools found is
# declared like all other tools, so the search itself may be forgotten where the client allows it.
_LOSSES: Final[Mapping[str, Loss]] = {"tool_search_call": "lenient"}
_MEMBERS: Final[dict[str, Loss]] = {"annotations": "silent", "logprobs": "silent"}
_PART: Final = frozenset(
    {
        "type",
        "text",
        "refusal",
        "image_url",
        "detail",
        "file_id",
        "filename",
        "file_data",
        "file_url",
        "input_audio",
        "prompt_cache_breakpoint",
    }
)


def messages(document: Document) -> list[Message]:
    """The messages in `input`. Raises BadCall."""
    said = document.get("input")
    if isinstance(said, str):
        return [Message("user", [Text(said, at="input")], "input")]
    found: list[Message] = []
    for at, value in checked.sections(document, "input"):
        message = _read(value, at)
        before = found[-1] if found else None
        if before is not None and message.role == before.role == "assistant":
            before.parts += message.parts
        else:
            found.append(message)
    envelope.bound(found)
    return found


def _read(value: Document, at: str) -> Message:
    kind = checked.string(value, "type", at) or ("message" if "role" in value else "")
    if kind == "message":
        return _message(value, at)
    if kind == "additional_tools":
        role = checked.string(value, "role", at) or ""
        item = _item(value, {"type", "id", "role", "tools"}, at)
        return Message("system", [Declaration(tools(value, at), at=at, item=item)], at, role)
    read = _ITEMS.get(kind)
    if read is None:
        loss = _LOSSES.get(kind, "refuse")
        return Message("assistant", [Opaque("responses", kind, value, loss, at=at)], at)
    parts = read(value, at)
    return Message("tool" if isinstance(parts[0], ToolResult) else "assistant", parts, at)


def _item(value: Document, known: set[str], at: str) -> Item:
    """What an item is beside its content: nothing of it means anything to another format."""
    extra = envelope.without(checked.rest(value, known, {}, "silent"))
    return Item(checked.string(value, "id", at) or "", extra)


# --- contents -----------------------------------------------------------------------------------


def _message(value: Document, at: str) -> Message:
    spoken = checked.needed(value, "role", at)
    role = ROLES.get(spoken)
    if role is None:
        raise checked.wrong(f"{at}.role", "one of " + ", ".join(ROLES))
    item = _item(value, {"type", "role", "content", "id"}, at)
    parts = _content(value, "content", at)
    for part in parts:
        part.item = item
    return Message(role, parts, at, spoken)


def _content(value: Document, name: str, at: str) -> list[Part]:
    """Parts, or one text."""
    said = value.get(name)
    if isinstance(said, str):
        return [Text(said, at=f"{at}.{name}")]
    return [_part(each, place) for place, each in checked.sections(value, name, at)]


def _part(value: Document, at: str) -> Part:
    kind = checked.string(value, "type", at) or ""
    read = _PARTS.get(kind)
    if read is None:
        return Opaque("responses", kind, value, at=at)
    found = read(value, at)
    mark = checked.section(value, "prompt_cache_breakpoint", at)
    if mark is not None:
        ttl = checked.string(mark, "ttl", f"{at}.prompt_cache_breakpoint") or ""
        found.cache = Cache(ttl, {"prompt_cache_breakpoint": mark})
    found.extra = envelope.without(checked.rest(value, _PART, _MEMBERS, "drop"))
    return found


def _text(value: Document, at: str) -> Part:
    return Text(checked.needed(value, "text", at), at=at)


def _refusal(value: Document, at: str) -> Part:
    return Refusal(checked.needed(value, "refusal", at), at=at)


def _image(value: Document, at: str) -> Part:
    found = Image(at=at, detail=checked.string(value, "detail", at) or "")
    found.file_id = checked.string(value, "file_id", at) or ""
    return _placed(found, checked.string(value, "image_url", at) or "", at)


def _file(value: Document, at: str) -> Part:
    found = File(at=at, name=checked.string(value, "filename", at) or "")
    found.detail = checked.string(value, "detail", at) or ""
    found.file_id = checked.string(value, "file_id", at) or ""
    found.url = checked.string(value, "file_url", at) or ""
    data = checked.string(value, "file_data", at)
    if data:
        _placed(found, data if data.startswith("data:") else f"data:;base64,{data}", at)
    return found


def _audio(value: Document, at: str) -> Part:
    inside = f"{at}.input_audio"
    holder = checked.section(value, "input_audio", at) or {}
    data = media.standard(checked.needed(holder, "data", inside))
    if data is None:
        raise checked.wrong(f"{inside}.data", "valid base64")
    return Audio(media.sound_type(checked.needed(holder, "format", inside)), data, at=at)


def _placed(found: Media, url: str, at: str) -> Media:
    inline = media.data_url(url)
    if inline is not None:
        found.mime, found.data = inline
    elif url.startswith("data:"):
        raise checked.wrong(at, "valid base64")
    else:
        found.url = url
    return found


_PARTS: Final[Mapping[str, Callable[[Document, str], Part]]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


# --- items --------------------------------------------------------------------------------------


def _call(value: Document, at: str) -> list[Part]:
    custom = value["type"] == "custom_tool_call"
    said = checked.string(value, "input" if custom else "arguments", at) or ""
    known = {"type", "id", "call_id", "name", "input" if custom else "arguments", "namespace"}
    call_id, name = checked.needed(value, "call_id", at), checked.needed(value, "name", at)
    group = checked.string(value, "namespace", at) or ""
    return [ToolCall(call_id, name, said, custom, group, at=at, item=_item(value, known, at))]


def _result(value: Document, at: str) -> list[Part]:
    item = _item(value, {"type", "id", "call_id", "output"}, at)
    custom = value["type"] == "custom_tool_call_output"
    parts = _content(value, "output", at)
    call_id = checked.needed(value, "call_id", at)
    return [ToolResult(call_id, parts=parts, custom=custom, at=at, item=item)]


def _reasoning(value: Document, at: str) -> list[Part]:
    """Thinking: where both it and its summary are shown they are two parts, the summary first, and
    what is sealed stands on the last."""
    item = _item(value, {"type", "id", "summary", "content", "encrypted_content"}, at)
    carrier = _carrier(checked.string(value, "encrypted_content", at) or "", item.id)
    parts: list[Part] = []
    for name, raw in (("summary", False), ("content", True)):
        texts = [checked.needed(p, "text", place) for place, p in checked.sections(value, name, at)]
        if texts:
            parts.append(Reasoning(texts, raw, at=at, item=item))
    if not parts:
        parts.append(Reasoning([], at=at, item=item))
    parts[-1].carrier = carrier
    if value.get("content") == []:
        item.extra["content"] = Extra([], "silent")
    return parts


def _carrier(sealed: str, item_id: str) -> Carrier | None:
    if not sealed:
        return None
    if envelope.is_envelope(sealed):
        return envelope.unwrap(sealed) or envelope.UNSEALED
    return Carrier("openai-encrypted", sealed, id=item_id)


def _found_tools(value: Document, at: str) -> list[Part]:
    """What a search for tools found: from here on they are declared."""
    extra = {"type": Extra(value["type"], "silent")}
    item = _item(value, {"type", "id", "tools"}, at)
    item.extra = extra | item.extra
    return [Declaration(tools(value, at), at=at, item=item)]


def _drawn(value: Document, at: str) -> list[Part]:
    """A picture that the model had drawn."""
    data = media.standard(checked.string(value, "result", at) or "")
    if not data:
        return [Opaque("responses", value["type"], value, at=at)]
    form = checked.string(value, "output_format", at) or ""
    mime = media.sniffed(f"image/{form}" if form else "", data) or "image/png"
    return [Image(mime, data, at=at, item=_item(value, {"id", "result"}, at))]


_ITEMS: Final[Mapping[str, Callable[[Document, str], list[Part]]]] = {
    "function_call": _call,
    "custom_tool_call": _call,
    "function_call_output": _result,
    "custom_tool_call_output": _result,
    "reasoning": _reasoning,
    "tool_search_output": _found_tools,
    "image_generation_call": _drawn,
}
