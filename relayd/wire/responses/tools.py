"""The tools of a Responses request, and which of them may be called, read into the hub."""

from __future__ import annotations

from typing import Final

from relayd.wire import checked
from relayd.wire.neutral import Custom, Function, Hosted, Namespace, Tool, ToolChoice
from relayd.wire.parts import Document, Extra, Loss

# Kinds that have one word in the hub.
_KINDS: Final = {
    "web_search_preview": "web_search",
    "web_search_preview_2025_03_11": "web_search",
    "web_search_2025_08_26": "web_search",
}
_LOSSES: Final[dict[str, Loss]] = {"defer_loading": "silent"}
_NAMED: Final = ("function", "custom")


def tools(value: Document, at: str) -> list[Tool]:
    """The tools of a request, of an item, or of a namespace. Raises BadCall."""
    found: list[Tool] = []
    for place, each in checked.sections(value, "tools", at):
        if checked.string(each, "type", place) != "namespace":
            found.append(_tool(each, place))
            continue
        known = {"type", "name", "description", "tools"}
        about = checked.string(each, "description", place)
        extra = checked.rest(each, known, {}, "silent")
        group = Namespace(checked.needed(each, "name", place), about, extra)
        # A namespace has none inside: their tools would be in two.
        for tool in _members(each, place):
            tool.namespace = group
            found.append(tool)
    return found


def _members(value: Document, at: str) -> list[Tool]:
    return [_tool(each, place) for place, each in checked.sections(value, "tools", at)]


def _tool(value: Document, at: str) -> Tool:
    kind = checked.string(value, "type", at) or ""
    if kind == "function":
        known = {"type", "name", "description", "parameters", "strict"}
        return Function(
            at=at,
            name=checked.needed(value, "name", at),
            description=checked.string(value, "description", at),
            schema=checked.section(value, "parameters", at),
            strict=checked.flag(value, "strict", at),
            extra=checked.rest(value, known, _LOSSES, "drop"),
        )
    if kind == "custom":
        form = checked.section(value, "format", at) or {}
        inside = f"{at}.format"
        return Custom(
            at=at,
            name=checked.needed(value, "name", at),
            description=checked.string(value, "description", at),
            syntax=checked.string(form, "syntax", inside) or "",
            grammar=checked.string(form, "definition", inside) or "",
            extra=_custom_rest(value, form),
        )
    word = _KINDS.get(kind, kind)
    return Hosted(at=at, name=kind, format="responses", kind=word, document=value)


def _custom_rest(value: Document, form: Document) -> dict[str, Extra]:
    known = {"type", "name", "description", "format"}
    found = checked.rest(value, known, _LOSSES, "drop")
    if form and not form.get("definition"):
        found["format"] = Extra(form, "silent")  # any text
    return found


def choice(said: object) -> ToolChoice | None:
    """Which tools may be called. Raises BadCall."""
    if said is None:
        return None
    if said == "none" or said == "auto" or said == "required":
        return ToolChoice(said)
    if not isinstance(said, dict):
        raise checked.wrong("tool_choice", "none, auto, required or an object")
    if said.get("type") == "allowed_tools" or (said.get("type") is None and "tools" in said):
        return _allowed(said)
    kind = checked.string(said, "type", "tool_choice")
    if kind in _NAMED:
        name = checked.needed(said, "name", "tool_choice")
        return ToolChoice("required", (name,), extra={"document": Extra(said, "silent")})
    return ToolChoice("required", hosted=said)


def _allowed(said: Document) -> ToolChoice:
    named = [each for _, each in checked.sections(said, "tools", "tool_choice")]
    names = tuple(checked.string(each, "name", "tool_choice.tools") or "" for each in named)
    mode = checked.string(said, "mode", "tool_choice")
    hosted = None if all(each.get("type") in _NAMED for each in named) else said
    extra = {"document": Extra(said, "silent")}
    return ToolChoice("required" if mode == "required" else "auto", names, True, hosted, extra)
