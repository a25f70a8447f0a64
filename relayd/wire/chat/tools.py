"""Tools and the choice among them, written as chat has them."""

from __future__ import annotations

from typing import Final

from relayd.wire import checked, controls
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Hosted, Request, Tool, ToolChoice
from relayd.wire.parts import Document
from relayd.wire.schemas import for_openai, takes_strict
from relayd.wire.searches import search
from relayd.wire.setting import Going

SEARCH_OPTIONS: Final = "web_search_options"
_INNER: Final = "function."


class Tools:
    """The tools of one request on their way to chat. Owns nothing; `names` grows."""

    __slots__ = ("_going", "_names", "_native", "_older", "_request")

    def __init__(self, request: Request, going: Going, names: Names) -> None:
        self._request = request
        self._going = going
        self._names = names
        self._native = request.source == "chat"
        self._older = self._native and request.param("tools") == "functions"

    def __repr__(self) -> str:
        return f"<Tools {self._names!r}>"

    def write(self, document: Document) -> None:
        """Write the tools, and which of them may or must be called."""
        request, going = self._request, self._going
        usable = request.tools if self._native else controls.usable(request, going)
        tools: list[Document] = []
        for tool in usable:
            if isinstance(tool, Hosted) and tool.at == SEARCH_OPTIONS and self._native:
                document[SEARCH_OPTIONS] = tool.document
            elif isinstance(tool, Hosted) and controls.searches(tool, going):
                document[SEARCH_OPTIONS] = search(tool, going)
            else:
                tools.append(self._tool(tool))
        if self._older:
            document["functions"] = [tool["function"] for tool in tools]
        elif tools:
            document["tools"] = tools
        self._choose(document, several=bool(tools))

    # --- tools ----------------------------------------------------------------------------------

    def _tool(self, tool: Tool) -> Document:
        group = tool.namespace.name if tool.namespace is not None else ""
        name = self._names.there(tool.name, group)
        about = {} if tool.description is None else {"description": tool.description}
        match tool:
            case Function():
                return self._with_own(tool, self._function(tool, {"name": name} | about))
            case Custom() if self._native or self._going.can.custom_tools:
                custom = {"name": name} | about | _grammar(tool)
                return self._with_own(tool, {"type": "custom", "custom": custom})
            case Custom() if self._going.rules.wrap_custom:
                said = {"type": "string", "description": tool.grammar or "Free text."}
                schema = {"type": "object", "properties": {"input": said}, "required": ["input"]}
                wrapped = {"name": name} | about | {"parameters": schema}
                return {"type": "function", "function": wrapped}
            case Hosted() if tool.format == "chat":
                return dict(tool.document)
        why = "this model does not have that tool"
        raise self._going.losses.refusal(tool.at, why, code="unsupported_value")

    def _function(self, tool: Function, function: Document) -> Document:
        if self._native:
            plain = {"parameters": tool.schema, "strict": tool.strict}
            function |= {name: value for name, value in plain.items() if value is not None}
            for name, (value, _) in tool.extra.items():
                if name.startswith(_INNER):
                    function[name.removeprefix(_INNER)] = value
            return {"type": "function", "function": function}
        schema, strict = tool.schema, self._strict(tool)
        if schema is not None:
            function["parameters"] = for_openai(schema, strict=bool(strict))
        if strict is not None:
            function["strict"] = strict
        return {"type": "function", "function": function}

    def _strict(self, tool: Function) -> bool | None:
        """Whether the arguments must fit; None says nothing. Not every schema can be demanded."""
        if not tool.strict or tool.schema is None:
            return tool.strict if self._going.can.strict_tools else None
        if self._going.can.strict_tools and takes_strict(for_openai(tool.schema, strict=True)):
            return True
        self._going.losses.lose("drop", f"{tool.at}.strict")
        return None

    def _with_own(self, tool: Tool, document: Document) -> Document:
        """The tool with what only its own host knows of it."""
        if not self._native:
            return document
        if tool.cache is not None:
            document |= tool.cache.native
        own = {n: extra for n, extra in tool.extra.items() if not n.startswith(_INNER)}
        return checked.written(own, document)

    # --- choice ---------------------------------------------------------------------------------

    def _choose(self, document: Document, *, several: bool) -> None:
        request = self._request
        choice = request.tool_choice if self._native else controls.chosen(request, self._going)
        if self._native:
            if request.parallel is not None and not self._older:
                document["parallel_tool_calls"] = request.parallel
        elif several and controls.one_call_at_a_time(request):
            document["parallel_tool_calls"] = False
        if choice is None:
            return
        if request.param("tool_choice") == "function_call" and self._native:
            document["function_call"] = {"name": choice.forced} if choice.forced else choice.mode
        else:
            document["tool_choice"] = self._choice(choice)

    def _choice(self, choice: ToolChoice) -> str | Document:
        if choice.hosted is not None:
            return choice.hosted
        if "tool_choice" in choice.extra and self._native:
            return str(choice.extra["tool_choice"].value)
        if not choice.names:
            return choice.mode
        tools = [self._named(name) for name in choice.names]
        if choice.forced:
            return tools[0]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}

    def _named(self, name: str) -> Document:
        """A tool in a choice, which says its type again."""
        tool = next((tool for tool in self._request.all_tools() if tool.name == name), None)
        free = self._native or self._going.can.custom_tools
        kind = "custom" if isinstance(tool, Custom) and free else "function"
        group = tool.namespace.name if tool is not None and tool.namespace is not None else ""
        return {"type": kind, kind: {"name": self._names.there(name, group)}}


def _grammar(tool: Custom) -> Document:
    if not tool.grammar:
        return {}
    form = {"syntax": tool.syntax, "definition": tool.grammar}
    return {"format": {"type": "grammar", "grammar": form}}
