"""Tools of other formats, and what the answer shall be like, in the words of the Responses API.

`strict` is always said: the API takes its absence for a yes, and then makes every property of a
tool's schema a required one.
"""

from __future__ import annotations

from typing import Any, Final

from relayd.wire import controls, schemas
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Hosted, Request, Shape, Tool
from relayd.wire.parts import Document
from relayd.wire.responses import settings
from relayd.wire.searches import search
from relayd.wire.setting import Going

_NO_SCHEMA: Final[Document] = {"type": "object", "properties": {}}


class Declared:
    """What one request declares, on its way to one upstream.

    Arguments:
        names: of the tools there.
    """

    __slots__ = ("_custom", "_going", "_names", "_request")

    def __init__(self, request: Request, going: Going, names: Names) -> None:
        self._request = request
        self._going = going
        self._names = names
        self._custom = going.can.custom_tools

    def __repr__(self) -> str:
        return f"<Declared {len(self._request.tools)} tools of {self._request.source}>"

    def tools(self) -> list[Document]:
        """The tools that the upstream can have. Raises CannotTranslate."""
        return [self._tool(tool) for tool in controls.usable(self._request, self._going)]

    def text(self) -> Document:
        """The member `text`. Raises CannotTranslate."""
        shape, verbosity = (
            self._request.output.shape,
            controls.verbosity(self._request, self._going),
        )
        document: Document = {"format": self._format(shape)} if shape is not None else {}
        return document | ({"verbosity": verbosity} if verbosity else {})

    def _format(self, shape: Shape) -> Document:
        if shape.kind == "json":
            return {"type": "json_object"}
        at = f"{self._request.param('shape')}.strict"
        schema, strict = self._schema(shape.schema, shape.strict, at)
        controls.rooted_in_object(self._request, self._going, schema)
        name = {"name": shape.name or "answer"}
        about = {"description": shape.description} if shape.description else {}
        return {"type": "json_schema", **name, **about, "schema": schema, "strict": strict}

    def choice(self) -> Any:
        """Which tools may be called; None says nothing. Raises CannotTranslate."""
        choice = controls.chosen(self._request, self._going)
        if choice is None:
            return None
        if choice.forced:
            return self._named(choice.forced)
        if choice.names:
            named = [self._named(name) for name in choice.names]
            return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
        return choice.mode

    def _named(self, name: str) -> Document:
        custom = {tool.name for tool in self._request.all_tools() if isinstance(tool, Custom)}
        kind = "custom" if self._custom and name in custom else "function"
        return {"type": kind, "name": self._names.there(name)}

    def _tool(self, tool: Tool) -> Document:
        if isinstance(tool, Hosted) and controls.searches(tool, self._going):
            return {"type": "web_search"} | search(tool, self._going)
        group = tool.namespace.name if tool.namespace is not None else ""
        name = self._names.there(tool.name, group)
        about = {} if tool.description is None else {"description": tool.description}
        if isinstance(tool, Custom) and self._custom:
            return {"type": "custom", "name": name, **about} | settings.grammar(tool)
        schema: Document
        strict = False
        if isinstance(tool, Function):
            schema, strict = self._schema(tool.schema, tool.strict, f"{tool.at}.strict")
        elif isinstance(tool, Custom) and self._going.rules.wrap_custom:
            said = {"type": "string", "description": tool.grammar or "Free text."}
            schema = {"type": "object", "properties": {"input": said}, "required": ["input"]}
        else:
            why = "this model does not have that tool"
            raise self._going.losses.refusal(tool.at, why, code="unsupported_value")
        function = {"type": "function", "name": name, **about}
        return function | {"parameters": schema, "strict": strict}

    def _schema(
        self, schema: Document | None, strict: bool | None, at: str
    ) -> tuple[Document, bool]:
        """A schema as this format takes it, and whether it is enforced. `strict` is always said:
        the API takes its absence for a yes."""
        if schema is None:
            return _NO_SCHEMA, False
        if strict:
            closed = schemas.for_openai(schema, strict=True)
            if schemas.takes_strict(closed):
                return closed, True
            self._going.losses.lose("drop", at)
        return schemas.for_openai(schema, strict=False), False
