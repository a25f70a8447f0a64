"""What a request asks, whatever its format; and readers of documents that may hold anything.

The four formats reduce their request to one `Ask`. Requests come from strangers, so nothing here
trusts a type: a field of the wrong shape reads as absent, and what must be there is demanded with a
`Refusal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from relayd.demo.refusal import Refusal

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that may be called; `schema` is None for a tool that takes free text."""

    name: str
    schema: Document | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One generation, reduced to what the demo provider heeds.

    Arguments:
        text: the last thing that the user said.
        prompt_tokens: the size of everything that was sent along.
        result: the text of a tool's result, when the conversation ends on one.
        tools: the tools that may be called now, the preferred one first.
        parallel: whether several of them may be called at once.
        schema: the schema of the JSON document that is wanted, if one is.
        reasoning: whether thinking was asked for.
        max_tokens: the most to be said, thinking included.
        stops: texts that end the answer.
        choices: how many answers.
        picture: the pixels, across and down, of the picture that is wanted, if one is.
        mute: nothing but the picture is wanted.
        searches: a web search was allowed, and is told about.
    """

    text: str
    prompt_tokens: int
    result: str | None = None
    tools: tuple[Tool, ...] = ()
    parallel: bool = True
    schema: Document | None = None
    reasoning: bool = False
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    choices: int = 1
    picture: tuple[int, int] | None = None
    mute: bool = False
    searches: bool = False


def parse_document(body: bytes) -> Document:
    """The request's JSON object, or a Refusal."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(document, dict):
        raise Refusal(400, "The body of your request must be a JSON object.")
    return document


def dicts(value: object) -> list[Document]:
    """The objects of a list; nothing when it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def strings(value: object) -> tuple[str, ...]:
    """The strings of a list; nothing when it is no list."""
    return tuple(s for s in value if isinstance(s, str)) if isinstance(value, list) else ()


def table(value: object) -> Document:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def string(value: object) -> str:
    """The string, or an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """The whole number, if it is one; JSON's true is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text_of(content: object) -> str:
    """The text of a message's content: a string, or the `text` of its parts."""
    if isinstance(content, str):
        return content
    return "".join([string(part.get("text")) for part in dicts(content)])


def tokens_of(size: int) -> int:
    """Tokens for so many bytes: about four bytes each, and something is never nothing."""
    return (size + 3) // 4


def weigh(*values: object) -> int:
    """The tokens of every string in these documents, at least 1."""
    size = 0
    heap: list[object] = list(values)
    while heap:
        value = heap.pop()
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        elif isinstance(value, dict):
            heap.extend(value.values())
        elif isinstance(value, list):
            heap.extend(value)
    return max(1, tokens_of(size))


def callable_now(
    tools: Sequence[Tool], *, forbidden: bool, allowed: Iterable[str] = ()
) -> tuple[Tool, ...]:
    """The tools that may be called: none when forbidden, else the allowed ones if some are."""
    if forbidden:
        return ()
    names = [name for name in allowed if name]
    return tuple(tool for tool in tools if not names or tool.name in names)


def last_of(messages: Sequence[Document], matches: Callable[[Document], bool]) -> Document:
    """The last message that matches, or an empty one."""
    return next((message for message in reversed(messages) if matches(message)), {})


def demand_bool(document: Document, field: str) -> bool:
    """A flag that is absent, null or a JSON bool; anything else is refused."""
    value = document.get(field)
    if value is not None and not isinstance(value, bool):
        raise Refusal(400, f"Invalid type for '{field}': expected a boolean.", param=field)
    return bool(value)
