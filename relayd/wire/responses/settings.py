"""What a Responses request says beside its input, as documents: tools, choice, text, thinking.

Requests have it, and replies repeat it. These are the words for what came in this format; what
another format's request makes of them is the encoder's business.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from relayd.wire import checked
from relayd.wire.neutral import Custom, Function, Hosted, Output, Request, Thinking, Tool
from relayd.wire.neutral import ToolChoice as Choice
from relayd.wire.parts import Document, Text

TIERS = {"standard": "default"}


def tier(request: Request) -> str | None:
    """The service tier in this format's words."""
    return TIERS.get(request.tier, request.tier) or None


def tools(declared: list[Tool]) -> list[Document]:
    """Tools; neighbours of one namespace are one entry."""
    found: list[Document] = []
    for _, members in groupby(declared, lambda tool: id(tool.namespace)):
        group = list(members)
        written = [_tool(tool) for tool in group]
        space = group[0].namespace
        if space is None:
            found += written
            continue
        about = {} if space.description is None else {"description": space.description}
        document = {"type": "namespace", "name": space.name, **about, "tools": written}
        found.append(checked.written(space.extra, document))
    return found


def _tool(tool: Tool) -> Document:
    if isinstance(tool, Hosted):
        return dict(tool.document)
    about = {} if tool.description is None else {"description": tool.description}
    if isinstance(tool, Function):
        document: Document = {"type": "function", "name": tool.name, **about}
        document |= {"parameters": tool.schema, "strict": tool.strict}
    else:
        assert isinstance(tool, Custom)
        document = {"type": "custom", "name": tool.name, **about} | grammar(tool)
    return checked.written(tool.extra, document)


def grammar(tool: Custom) -> Document:
    """What restricts a custom tool's text; {} where any will do."""
    if not tool.grammar:
        return {}
    form = {"type": "grammar", "syntax": tool.syntax, "definition": tool.grammar}
    return {"format": form}


def choice(said: Choice) -> Any:
    """Which tools may be called."""
    if said.hosted is not None:
        return said.hosted
    if "document" in said.extra:
        return said.extra["document"].value
    return said.mode


def text(output: Output) -> Document:
    """The member `text`: what form the answer shall have, and how long it shall be."""
    document: Document = {}
    shape = output.shape
    if shape is not None and shape.kind == "json":
        document["format"] = {"type": "json_object"}
    elif shape is not None:
        form: Document = {"type": "json_schema", "name": shape.name, "schema": shape.schema}
        form |= {"strict": shape.strict} if shape.strict is not None else {}
        form |= {"description": shape.description} if shape.description else {}
        document["format"] = checked.written(shape.extra, form)
    return document | ({"verbosity": output.verbosity} if output.verbosity else {})


def reasoning(thinking: Thinking) -> Document:
    """The member `reasoning`."""
    said = {"effort": thinking.effort, "summary": thinking.style or None}
    document = {name: value for name, value in said.items() if value is not None}
    return checked.written(thinking.extra, document)


def instructions(request: Request) -> str | None:
    """The instructions as one text."""
    texts = [part.text for part in request.instructions if isinstance(part, Text)]
    return "\n\n".join(texts) if texts else None


def repeated(request: Request) -> Document:
    """What a reply repeats of its request."""
    asked = request.tool_choice
    return {
        "background": False,
        "instructions": instructions(request),
        "max_output_tokens": request.output.limit,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None} | reasoning(request.thinking),
        "store": False,
        "temperature": request.sampling.temperature,
        "text": {"format": {"type": "text"}} | text(request.output),
        "tool_choice": choice(asked) if asked is not None else "auto",
        "tools": tools(request.tools),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "user": request.user or None,
    }
