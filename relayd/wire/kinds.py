"""Which endpoints a request takes besides the one that it asks: by the kind of model, and by what
the model is asked to make.

A group may have no pictures, and a picture can be had in many ways: by an image model that is
chatted with, by asking for it among the modalities of an answer, by a hosted tool. A model that is
for making pictures or audio makes them unless the request says that it wants text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from relayd.accounts import Endpoint
from relayd.model import FormatName

MADE: Final[Mapping[str, Endpoint]] = {"image": "images", "audio": "audio"}
MAKING: Final = frozenset(MADE.values())
_NUMBERED: Final = {1: "text", 2: "image", 3: "audio"}  # Google's enums, which may be numbers
_TOOLS: Final[Mapping[str, Endpoint]] = {"image_generation": "images"}


def needed(
    tasks: Sequence[Endpoint], request: Mapping[str, Any], format: FormatName
) -> set[Endpoint]:
    """The endpoints that the caller has to have for this request to a model that talks.

    Arguments:
        tasks: what the model is for; () is unknown.
        request: as the client sent it; whatever is wrong with it is not looked at.
    """
    asked = set(_modalities(request, format))
    found = {MADE[medium] for medium in asked if medium in MADE} | set(_by_tools(request))
    if tasks and "chat" not in tasks:
        found.add(tasks[0])
    elif asked != {"text"}:
        found.update(MAKING.intersection(tasks))
    return found


def usable(tasks: Sequence[Endpoint], allowed: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Of what a model is for, what a caller with these endpoints may use it for."""
    makes_what_is_not = any(task in MAKING and task not in allowed for task in tasks)
    return tuple(
        task for task in tasks if task in allowed and not (task == "chat" and makes_what_is_not)
    )


def _modalities(request: Mapping[str, Any], format: FormatName) -> Iterator[str]:
    """What is asked to come out, in lower case; nothing where that is left to the model."""
    if format == "chat":
        holders: list[Any] = [request.get("modalities")]
    elif format == "gemini":
        configs = [request.get(name) for name in ("generationConfig", "generation_config")]
        names = ("responseModalities", "response_modalities")
        holders = [c.get(name) for c in configs if isinstance(c, dict) for name in names]
    else:
        return
    for medium in (each for held in holders if isinstance(held, list) for each in held):
        if isinstance(medium, str):
            yield medium.lower()
        elif isinstance(medium, int):
            yield _NUMBERED.get(medium, "")


def _by_tools(request: Mapping[str, Any]) -> Iterator[Endpoint]:
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind in _TOOLS:
            yield _TOOLS[kind]
