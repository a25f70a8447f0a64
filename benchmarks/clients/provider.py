"""A provider that plays a model with tools: it calls the one tool that a task wants, then it talks.

Strategy: programs declare twenty tools and send notes beside the prompt, and the demo provider
would call the first of them whatever was said. So every task has a word that stands in its prompt,
and by it a request is known. As long as the secret, which only the tool can tell, is not in the
request, nothing but the wanted tool is left in it, with a schema that admits nothing but the wanted
arguments; once it is, no tool is left, and the secret is what the demo repeats. It does the rest,
in all formats.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from relayd.demo.playback import Played
from relayd.demo.provider import DemoProvider
from relayd.demo.routes import Request
from relayd.model import FormatName
from tests.demo.serving import Serving

_CHOICES: Final = ("tools", "tool_choice", "toolConfig", "tool_config", "parallel_tool_calls")


@dataclass
class Task:
    """What a run is to bring about.

    Attributes:
        tag: a word that is in every request of it that matters.
        secret: what the tool tells.
        tool: the tool to call, None where nothing but text is wanted.
        arguments: what it is called with.
        asked: the paths of its requests, in order.
        called: how often the tool was called for.
    """

    tag: str
    secret: str
    tool: str | None
    arguments: Mapping[str, str]
    asked: list[str] = field(default_factory=list)
    called: int = 0


class Agent(DemoProvider):
    """Answers the requests of tasks as a model would; owns the tasks."""

    def __init__(self, key: str | None = None) -> None:
        super().__init__(key)
        self.tasks: dict[str, Task] = {}

    def answer(self, request: Request) -> Played:
        """The demo's answer to what is left of the request."""
        tags = [tag for tag in self.tasks if tag.encode() in request.body]
        if not tags:
            return super().answer(request)
        found = self.tasks[max(tags, key=len)]  # one may be the beginning of another
        found.asked.append(request.path)
        return super().answer(request._replace(body=_narrowed(request, found)))

    def __repr__(self) -> str:
        return f"<Agent with {len(self.tasks)} tasks at {self.url}>"


class Playing(Serving):
    """An agent in a thread of its own."""

    def __init__(self, key: str) -> None:
        self.agent = Agent(key)
        super().__init__(asyncio.new_event_loop, provider=self.agent)


def format_of(path: str) -> FormatName:
    """The format that a provider is spoken to in, by the path."""
    if "enerateContent" in path:
        return "gemini"
    named: tuple[tuple[str, FormatName], ...] = (
        ("/messages", "messages"),
        ("/responses", "responses"),
    )
    return next((name for part, name in named if part in path), "chat")


def _narrowed(request: Request, task: Task) -> bytes:
    document: dict[str, Any] = orjson.loads(request.body)
    format = format_of(request.path)
    for name in _CHOICES:
        document.pop(name, None)
    told = task.secret.encode() in request.body
    found = find_tool(task.tool, request.body) if task.tool and not told else None
    if found is None:
        return orjson.dumps(document | _said(format, task.secret if told else task.tag))
    task.called += 1
    name, custom = found
    if custom:  # it gets what was said
        document["tools"] = [{"type": "custom", "name": name}]
        return orjson.dumps(document | _said(format, task.arguments["input"]))
    document["tools"] = [_declared(format, name, task.arguments)]
    return orjson.dumps(document | _said(format, task.tag))


def find_tool(tool: str, body: bytes) -> tuple[str, bool] | None:
    """The name that a tool is declared by, which may have its namespace before it, and whether it
    takes free text."""
    pattern = rb'(?:"type":\s*"(\w+)",\s*)?"name":\s*"((?:\w+__)?%b)"'
    found = re.search(pattern % tool.encode(), body)
    return (found[2].decode(), found[1] == b"custom") if found else None


def _said(format: FormatName, text: str) -> dict[str, Any]:
    """A conversation of which the demo repeats the whole text."""
    if format == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    field = "input" if format == "responses" else "messages"
    return {field: [{"role": "user", "content": text}]}


def _declared(format: FormatName, name: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {one: {"const": value} for one, value in arguments.items()},
        "required": list(arguments),
    }
    if format == "chat":
        return {"type": "function", "function": {"name": name, "parameters": schema}}
    if format == "responses":
        return {"type": "function", "name": name, "parameters": schema}
    if format == "messages":
        return {"name": name, "input_schema": schema}
    return {"functionDeclarations": [{"name": name, "parametersJsonSchema": schema}]}
