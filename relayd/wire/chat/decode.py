"""A chat request, read into the hub.

Content is a text or a list of parts. Tool results are messages of their own. What OpenAI-compatible
hosts add (`reasoning_content`, `cache_control`, a bare picture URL) is read as what it means. The
older `functions` are tools whose calls have no ids: they get one from where they stand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from relayd.wire import checked, envelope, ids
from relayd.wire.chat import asked, details
from relayd.wire.chat.asked import LOSSES
from relayd.wire.chat.details import Returned
from relayd.wire.chat.parts import cache, content, image
from relayd.wire.facts import objects, text
from relayd.wire.neutral import Custom, Function, Hosted, Message, Request, Role, Tool
from relayd.wire.parts import (
    Carrier,
    Document,
    Extra,
    Extras,
    Part,
    Reasoning,
    Refusal,
    ToolCall,
    ToolResult,
)
from relayd.wire.paths import Target

__all__ = ["LOSSES", "decode"]

ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
WEB_SEARCH: Final = "web_search"
SEARCH_OPTIONS: Final = "web_search_options"
# By a function's name: the id of its latest call that had none.
Nameless = dict[str, str]


def decode(document: Document, target: Target) -> Request:
    """The request in `document`. Raises BadCall."""
    request = Request(source="chat", model=checked.string(document, "model") or "", messages=[])
    asked.read(document, request)
    nameless: Nameless = {}
    request.messages = [
        _message(value, at, nameless) for at, value in checked.sections(document, "messages")
    ]
    if not request.messages:
        raise checked.missing("messages")
    envelope.bound(request.messages)
    request.tools = _tools(document, request)
    return request


# --- messages -----------------------------------------------------------------------------------


def _message(value: Document, at: str, nameless: Nameless) -> Message:
    spoken = checked.needed(value, "role", at)
    role = ROLES.get(spoken)
    if role is None:
        raise checked.wrong(f"{at}.role", "one of " + ", ".join(ROLES))
    message = Message(role, [], at, spoken, checked.string(value, "name", at) or "")
    known = {"role", "content", "name"}
    if role == "tool":
        message.parts.append(_result(value, at, nameless))
        known |= {"tool_call_id", "is_error"}
    elif role == "assistant":
        message.parts, more = _assistant(value, at, nameless)
        known |= more
    else:
        message.parts = content(value, at)
    message.extra = _own(checked.rest(value, known, {"audio": "refuse"}, "silent"))
    return message


def _result(value: Document, at: str, nameless: Nameless) -> Part:
    name = checked.string(value, "name", at) or ""
    call_id = checked.string(value, "tool_call_id", at) or nameless.get(name, "")
    failed = checked.flag(value, "is_error", at) or False
    return ToolResult(call_id, name, content(value, at), failed=failed, at=at)


def _assistant(value: Document, at: str, nameless: Nameless) -> tuple[list[Part], set[str]]:
    """The model's turn, and the members that were read for it. Thinking stands where it stood, as
    far as the client kept what says so."""
    thoughts, known = _thinking(value, at)
    said = content(value, at) + [image(each, place) for place, each in _images(value, at)]
    refusal = checked.string(value, "refusal", at)
    if refusal:
        said.append(Refusal(refusal, at=f"{at}.refusal"))
    calls = [call(each, place) for place, each in checked.sections(value, "tool_calls", at)]
    calls += _legacy_call(value, at, nameless)
    ends = {each.id for each in calls}
    first = [each for each in thoughts if each.after not in ends]
    parts = details.interleaved(said, [each for each in first if not _is_behind(each.part)])
    parts += [each.part for each in first if _is_behind(each.part)]
    behind: dict[str, list[Part]] = {}
    for thought in thoughts:
        behind.setdefault(thought.after, []).append(thought.part)
    for each in calls:
        # Calls may share an id: a thought stands once all the same.
        parts += [each, *behind.pop(each.id, [])]
    return parts, known | {"refusal", "tool_calls", "function_call", "images"}


def _is_behind(part: Part) -> bool:
    """Google's signature of a text stands behind it."""
    carrier = part.carrier
    bare = isinstance(part, Reasoning) and not any(part.text)
    return bare and carrier is not None and carrier.kind == "gemini-signature"


def _images(value: Document, at: str) -> list[tuple[str, Document]]:
    """Pictures that the model drew."""
    return list(checked.sections(value, "images", at)) if value.get("images") else []


# --- thinking -----------------------------------------------------------------------------------


def _thinking(value: Document, at: str) -> tuple[list[Returned], set[str]]:
    """The thinking of a turn, and the members that it was in. Envelopes hold another provider's:
    what stands beside them is that same thinking, for the user to read."""
    entries = objects(value.get("reasoning_details"))
    field = next((name for name in details.FIELDS if text(value.get(name))), details.NOWHERE)
    returned = details.returned(entries, f"{at}.reasoning_details")
    if returned is not None:
        return returned, {"reasoning_details", *details.FIELDS}
    found: list[Returned] = []
    if entries or field:
        said = value[field] if field else details.said_in(entries)
        carrier = details.carrier(field, entries)
        place = f"{at}.{field or 'reasoning_details'}"
        part = Reasoning([said] if said else [], raw=True, carrier=carrier, at=place)
        found.append(Returned("", part))
    return found + _blocks(value, at), {field, "reasoning_details"}


def _blocks(value: Document, at: str) -> list[Returned]:
    """Anthropic's thinking, as LiteLLM's clients have it beside the rest. It stays in `extra` for
    its own host."""
    found: list[Returned] = []
    for each in objects(value.get("thinking_blocks")):
        said, signature = text(each.get("thinking")), text(each.get("signature"))
        part = Reasoning([said], raw=True, at=f"{at}.thinking_blocks")
        sealed = _sealed(each)
        if sealed:
            part.carrier = envelope.unwrap(sealed)
        elif each.get("type") == "redacted_thinking":
            part.carrier = Carrier("anthropic-redacted", text(each.get("data")))
        elif signature:
            part.carrier = Carrier("anthropic-signature", signature)
        if each.get("type") == "redacted_thinking":
            part.text = []
        if part.carrier is not None or not sealed:
            found.append(Returned("", part))
    return found


def _own(extra: Extras) -> Extras:
    """Leave to the host what is its own: thinking that came in an envelope is another's."""
    blocks = extra.get("thinking_blocks")
    if blocks is not None and isinstance(blocks.value, list):
        own = [each for each in blocks.value if not (isinstance(each, dict) and _sealed(each))]
        extra["thinking_blocks"] = blocks._replace(value=own)
    return envelope.without(extra)


def _sealed(block: Document) -> str:
    """The envelope in one of Anthropic's blocks; "" where there is none."""
    said = (text(block.get(name)) for name in ("signature", "data"))
    return next((each for each in said if envelope.is_envelope(each)), "")


# --- calls --------------------------------------------------------------------------------------


def call(value: Document, at: str) -> ToolCall:
    """A tool call of the history."""
    call_id = checked.string(value, "id", at) or ""
    custom = checked.section(value, "custom", at)
    if value.get("type") == "custom" and custom is not None:
        name = checked.needed(custom, "name", f"{at}.custom")
        said = checked.string(custom, "input", f"{at}.custom") or ""
        found = ToolCall(call_id, name, said, True, at=at)
    else:
        function = checked.section(value, "function", at) or {}
        found = _function_call(function, call_id, at, f"{at}.function")
    found.carrier, enveloped = _signature(value)
    known = {"id", "type", "function", "index", "custom"} | ({"extra_content"} & enveloped)
    found.extra = envelope.without(checked.rest(value, known, {}, "silent"))
    return found


def _function_call(function: Document, call_id: str, at: str, at_function: str) -> ToolCall:
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = details.dumped(arguments)
    elif arguments is not None and not isinstance(arguments, str):
        raise checked.wrong(f"{at_function}.arguments", "a string")
    return ToolCall(call_id, checked.needed(function, "name", at_function), arguments or "", at=at)


def _legacy_call(value: Document, at: str, nameless: Nameless) -> list[ToolCall]:
    """The one call of a message in the older way; its id is made of where it stands."""
    function = checked.section(value, "function_call", at)
    if function is None:
        return []
    place = f"{at}.function_call"
    found = _function_call(function, "call_" + ids.digest(place), at, place)
    found.extra = {"function_call": Extra(True, "silent")}
    nameless[found.name] = found.id
    return [found]


def _signature(value: Document) -> tuple[Carrier | None, set[str]]:
    """The signature that stands on a call in Google's way, and where it is an envelope's, the
    member that nobody else may see."""
    holder = value.get("extra_content")
    google = holder.get("google") if isinstance(holder, dict) else None
    said = text(google.get("thought_signature")) if isinstance(google, dict) else ""
    if not said:
        return None, set()
    if envelope.is_envelope(said):
        carrier = envelope.unwrap(said)
        return (replace(carrier, call_id="") if carrier else None), {"extra_content"}
    return Carrier("gemini-signature", said), set()


# --- tools --------------------------------------------------------------------------------------


def _tools(document: Document, request: Request) -> list[Tool]:
    tools = [_tool(value, at) for at, value in checked.sections(document, "tools")]
    if not tools:
        legacy = list(checked.sections(document, "functions"))
        tools += [_function(value, value, at, at) for at, value in legacy]
        if legacy:
            request.places["tools"] = request.places["parallel"] = "functions"
            request.parallel = False  # a reply in the older way has one call
    search = checked.section(document, SEARCH_OPTIONS)
    if search is not None:
        tools.append(
            Hosted(
                at=SEARCH_OPTIONS,
                name=WEB_SEARCH,
                format="chat",
                kind=WEB_SEARCH,
                document=search,
            )
        )
    return tools


def _tool(value: Document, at: str) -> Tool:
    kind = value.get("type")
    if kind == "custom":
        return _custom(value, at)
    function = checked.section(value, "function", at)
    if function is None:
        name = str(value.get("name") or kind or "")
        return Hosted(at=at, name=name, format="chat", kind=str(kind), document=value)
    found = _function(function, value, at, f"{at}.function")
    found.extra |= checked.rest(value, {"type", "function", "cache_control"}, {}, "drop")
    return found


def _function(function: Document, holder: Document, at: str, at_function: str) -> Function:
    known = {"name", "description", "parameters", "strict"}
    inner = checked.rest(function, known, {}, "drop") if function is not holder else {}
    return Function(
        at=at,
        name=checked.needed(function, "name", at_function),
        description=checked.string(function, "description", at_function),
        schema=checked.section(function, "parameters", at_function),
        strict=checked.flag(function, "strict", at_function),
        cache=cache(holder),
        extra={f"function.{name}": each for name, each in inner.items()},
    )


def _custom(value: Document, at: str) -> Tool:
    custom, at_custom = checked.section(value, "custom", at) or {}, f"{at}.custom"
    form = checked.section(custom, "format", at_custom) or {}
    grammar = checked.section(form, "grammar", f"{at_custom}.format") or {}
    return Custom(
        at=at,
        name=checked.needed(custom, "name", at_custom),
        description=checked.string(custom, "description", at_custom),
        syntax=checked.string(grammar, "syntax", at_custom) or "",
        grammar=checked.string(grammar, "definition", at_custom) or "",
        cache=cache(value),
        extra=checked.rest(value, {"type", "custom", "cache_control"}, {}, "drop"),
    )
