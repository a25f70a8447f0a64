"""The tools of a request, written as Anthropic's, and which of them may be called.

Every tool is a function here: one that takes free text gets a single string, and the reply's calls
are changed back. There is no choice among some of the tools, so the others are not declared. And a
model that knows no schemas for its answer gets one as a tool that it has to call.
"""

from __future__ import annotations

from typing import Final

from relayd.wire import checked, controls, schemas
from relayd.wire.messages.content import Content
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Hosted, Request, Shape, Tool, ToolChoice
from relayd.wire.parts import Document, ToolCall
from relayd.wire.searches import search
from relayd.wire.setting import Going

ANSWER: Final = "json_output"  # the tool whose input is the answer
_WEB_SEARCH: Final[Document] = {"type": "web_search_20250305", "name": "web_search"}
_ANY_OBJECT: Final[Document] = {"type": "object", "properties": {}}
_MODES: Final = {"none": "none", "auto": "auto", "required": "any"}


class Tools:
    """Writes the tools of one request.

    Arguments:
        content: knows the names, and which marks are kept.
    """

    __slots__ = ("_content", "_going", "_names", "_request")

    def __init__(self, request: Request, going: Going, names: Names, content: Content) -> None:
        self._request = request
        self._going = going
        self._names = names
        self._content = content

    def __repr__(self) -> str:
        return f"<Tools {self._names!r}>"

    # --- natively -------------------------------------------------------------------------------

    def native(self) -> list[Document]:
        """The tools as they came."""
        return [self._native(tool) for tool in self._request.tools]

    def _native(self, tool: Tool) -> Document:
        if isinstance(tool, Hosted):
            return tool.document
        assert isinstance(tool, Function)  # the format has no others
        document = self._named(tool)
        document["input_schema"] = tool.schema
        document |= {} if tool.strict is None else {"strict": tool.strict}
        return checked.written(tool.extra, document)

    def native_choice(self) -> Document | None:
        """The choice as it came."""
        choice, parallel = self._request.tool_choice, self._request.parallel
        if choice is None:
            return None
        said = self._chosen(choice)
        if parallel is not None:
            said["disable_parallel_tool_use"] = not parallel
        return checked.written(choice.extra, said)

    # --- for others -----------------------------------------------------------------------------

    def write(self, document: Document) -> str:
        """Put the tools and the choice into `document`; returns the name of the tool that is the
        answer, "" for none. Raises CannotTranslate."""
        request, going = self._request, self._going
        tools, choice = controls.usable(request, going), controls.chosen(request, going)
        shape = request.output.shape
        if shape is not None and shape.schema is not None and not going.can.native_schema:
            return self._answer(shape, tools, document)
        if choice is not None and choice.names and not choice.forced:
            allowed = frozenset(choice.names)
            tools = [tool for tool in tools if tool.name in allowed]
        written = [self._tool(tool) for tool in tools]
        if not written:
            self._past(document)
            return ""
        document["tools"] = written
        one = controls.one_call_at_a_time(request)
        if choice is not None or one:
            said = self._chosen(choice or ToolChoice("auto"))
            document["tool_choice"] = said | ({"disable_parallel_tool_use": True} if one else {})
        return ""

    def _past(self, document: Document) -> None:
        """Tools that the history calls have to be declared, though none may be called now."""
        calls = [part for part in self._request.parts() if isinstance(part, ToolCall)]
        names = dict.fromkeys(self._names.there(call.name, call.namespace) for call in calls)
        if names:
            document["tools"] = [{"name": name, "input_schema": _ANY_OBJECT} for name in names]
            document["tool_choice"] = {"type": "none"}

    def _answer(self, shape: Shape, tools: list[Tool], document: Document) -> str:
        """The answer's schema as a tool that has to be called."""
        going, param = self._going, self._request.param("shape")
        if tools:
            why = "this model cannot have both tools and a schema for its answer"
            raise going.losses.refusal(param, why, code="unsupported_value")
        if going.can.forced_tool == "no":
            why = "this model knows no schemas for its answer"
            raise going.losses.refusal(param, why, code="unsupported_value")
        about = shape.description or "The answer. Call this tool once, with all of it."
        schema = schemas.for_anthropic(shape.schema or {}, ANSWER, going.losses, param)
        name = self._names.there(ANSWER)
        document["tools"] = [{"name": name, "description": about, "input_schema": schema}]
        document["tool_choice"] = {"type": "tool", "name": name}
        return name

    def _tool(self, tool: Tool) -> Document:
        document = self._named(tool)
        losses = self._going.losses
        match tool:
            case Function():
                schema = tool.schema if tool.schema is not None else _ANY_OBJECT
                strict = bool(tool.strict) and self._going.can.strict_tools
                said = schemas.for_anthropic(schema, tool.name, losses, tool.at, strict=strict)
                document["input_schema"] = said
                if strict:
                    document["strict"] = True
            case Custom() if self._going.rules.wrap_custom:
                document["input_schema"] = _wrapped(tool)
            case Hosted() if controls.searches(tool, self._going):
                return _WEB_SEARCH | search(tool, self._going)
            case _:
                why = "this model has no tools that take free text"
                raise losses.refusal(tool.at, why, code="unsupported_value")
        return document

    def _named(self, tool: Tool) -> Document:
        group = tool.namespace.name if tool.namespace is not None else ""
        document: Document = {"name": self._names.there(tool.name, group)}
        document |= {} if tool.description is None else {"description": tool.description}
        return document | self._content.mark(tool, tool.cache)

    def _chosen(self, choice: ToolChoice) -> Document:
        if not choice.forced:
            return {"type": _MODES[choice.mode]}
        for tool in self._request.all_tools():
            if tool.name == choice.forced and tool.namespace is not None:
                name = self._names.there(tool.name, tool.namespace.name)
                return {"type": "tool", "name": name}
        return {"type": "tool", "name": self._names.there(choice.forced)}


def _wrapped(tool: Custom) -> Document:
    """The schema of a tool that takes free text."""
    about = "The text, as it is."
    if tool.grammar:
        about = f"Text of this {tool.syntax or 'formal'} grammar:\n{tool.grammar}"
    properties = {"input": {"type": "string", "description": about}}
    return {"type": "object", "properties": properties, "required": ["input"]}
