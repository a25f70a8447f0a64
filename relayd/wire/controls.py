"""What may be asked of a model, asked once for all encoders: sampling, limits, tools, cache marks.

The capability table says what a model takes, and the format what has a field at all; an encoder of
another format than the client's asks here and writes down what comes back. Values equal to the
default say nothing, so they are left out in silence; everything else that cannot be said goes
through `Losses`. `thinking` does the same for thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from relayd.model import FormatName
from relayd.wire.capabilities import Capability
from relayd.wire.neutral import Hosted, Message, Request, Sampling, Tool, ToolChoice
from relayd.wire.parts import Cache, Document, Loss, Part, Text
from relayd.wire.setting import Going
from relayd.wire.thinking import is_idle, thought

# What the providers do where nobody says otherwise.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "n": 1,
}
_DRAWN: Final = frozenset({"temperature", "top_p", "top_k"})
_PENALTIES: Final = frozenset({"frequency_penalty", "presence_penalty"})
_LOGPROBS: Final = frozenset({"logprobs", "top_logprobs"})
# What each format has a field for.
_FIELDS: Final[Mapping[FormatName, frozenset[str]]] = {
    "chat": frozenset(_DEFAULTS) | {"temperature", "top_p", "seed"},
    "responses": frozenset({"temperature", "top_p"}) | _LOGPROBS,
    "messages": _DRAWN,
    "gemini": _DRAWN | _PENALTIES | _LOGPROBS | {"seed", "n"},
}
# What must never be left out: who asked gets fewer answers, or none of the numbers.
_REFUSED: Final = _LOGPROBS | {"n"}
HOTTEST: Final[Mapping[FormatName, float]] = {"messages": 1.0}
USUAL_HOTTEST: Final = 2.0
WEB_SEARCH: Final = "web_search"
JSON_ONLY: Final = "Answer with one JSON object and nothing else."


# --- sampling -----------------------------------------------------------------------------------


def sampled(request: Request, going: Going) -> Sampling:
    """The sampling that can be said. Raises CannotTranslate for what cannot and is missed."""
    kept: dict[str, Any] = {}
    for name in Sampling.__slots__:
        value = getattr(request.sampling, name)
        if value is None:
            continue
        why = _missing(name, value, request, going)
        if why is None:
            kept[name] = value
        elif name not in _DEFAULTS or value != _DEFAULTS[name]:
            loss: Loss = "refuse" if name in _REFUSED else "lenient"
            going.losses.lose(loss, request.param(name), why, code="unsupported_value")
    hottest = HOTTEST.get(going.format, USUAL_HOTTEST)
    if kept.get("temperature", 0) > hottest:
        why = f"temperatures end at {hottest:g} there"
        going.losses.lose("lenient", request.param("temperature"), why, code="unsupported_value")
        kept["temperature"] = hottest
    return Sampling(**kept)


def _missing(name: str, value: Any, request: Request, going: Going) -> str | None:
    """Why `name` cannot be said there; None where it can, "" where there is no field."""
    can, to = going.can, going.format
    if name not in _FIELDS[to]:
        return "it gives one answer only" if name == "n" else ""
    if name == "n" and value > can.max_choices:
        return f"it gives {can.max_choices} at most"
    if name in _LOGPROBS and not can.logprobs:
        return "this model does not tell them"
    if (name in _PENALTIES or (name == "seed" and to == "gemini")) and not can.penalties:
        return "this model does not take it"
    if name in _DRAWN:
        return _fixed(name, value, request, going)
    return None


def _fixed(name: str, value: Any, request: Request, going: Going) -> str | None:
    """Why the drawing of tokens cannot be changed; None where it can."""
    can = going.can
    if can.sampling == "no" or (can.sampling == "idle" and not is_idle(request, can)):
        return "this model does not take it" + (
            " while it thinks" if can.sampling == "idle" else ""
        )
    if going.format == "messages" and value == _DEFAULTS.get(name):
        return ""  # newer versions of that API take no such field at all
    if going.format == "messages" and name != "top_p" and _thinks(request, going):
        return "it cannot be changed while the model thinks"
    heat = request.sampling.temperature
    if name == "top_p" and can.sampling == "one" and heat is not None and heat != 1:
        if _fixed("temperature", heat, request, going) is None:
            return "this model takes it or a temperature, not both"
    return None


def _thinks(request: Request, going: Going) -> bool:
    return thought(request, going).thinks


# --- the form of the answer ---------------------------------------------------------------------


def instructed(request: Request, said: list[Part], rest: list[Message]) -> list[Part]:
    """The instructions `said`, and where the answer shall be any JSON, that it shall.

    OpenAI refuses a request for JSON that does not have the word in its text. Only what comes first
    is looked at (`rest` is all behind the instructions), so that a history that grows always begins
    alike.
    """
    shape = request.output.shape
    if shape is None or shape.schema is not None:
        return said
    first = [*said, *(rest[0].parts if rest else [])]
    if any(isinstance(part, Text) and "json" in part.text.lower() for part in first):
        return said
    return [*said, Text(JSON_ONLY)]


def rooted_in_object(request: Request, going: Going, schema: Document) -> None:
    """Refuse the form of an answer that is no object, where only objects are made. Raises
    CannotTranslate."""
    if schema.get("type", "object") != "object":
        why = "the answer has to be an object there"
        raise going.losses.refusal(request.param("shape"), why, code="invalid_value")


# --- limits -------------------------------------------------------------------------------------


def limit(request: Request, going: Going) -> int | None:
    """The most tokens of the answer, thinking included; None where nothing has to be said."""
    asked, largest = request.output.limit, going.can.max_output
    if asked == 0:
        why = "only the messages format can warm a cache without an answer"
        raise going.losses.refusal(request.param("output.limit"), why, code="unsupported_value")
    if asked is None:
        if going.format != "messages":
            return None
        # Thinking counts towards the limit, and nobody meant it to take the answer's place.
        asked = going.can.default_output + (thought(request, going).budget or 0)
        return asked if largest is None else min(asked, largest)
    if largest is not None and asked > largest:
        going.losses.lose("drop", request.param("output.limit"))
        return largest
    return asked


def stops(request: Request, going: Going) -> list[str]:
    """The texts that end an answer. Raises CannotTranslate where there are none or too many."""
    asked, most, param = request.output.stop, going.can.max_stop, request.param("stop")
    if not asked:
        return []
    if going.format == "responses" or not most:
        raise going.losses.refusal(param, "it knows no texts that end an answer")
    if going.format == "messages":
        kept = [text for text in asked if text.strip()]
        if kept != asked:
            going.losses.lose("lenient", param, "a text of nothing but space ends no answer there")
        asked = kept
    if len(asked) > most:
        going.losses.lose("lenient", param, f"it knows {most} at most", code="unsupported_value")
    return asked[:most]


def modalities(request: Request, going: Going) -> list[str]:
    """What the answer is made of; empty is text alone. Raises CannotTranslate for all else that
    the format cannot bring to the client."""
    asked = request.output.modalities
    if set(asked) <= {"text"}:
        return []
    for medium in asked:
        if medium != "text" and not (medium == "image" and going.format == "gemini"):
            param = request.param("modalities")
            raise going.losses.refusal(param, f"no {medium} comes back from there")
    return asked


def verbosity(request: Request, going: Going) -> str:
    """How long the answer shall be; "" says nothing. It is a wish, and programs send it to any
    model of a known name: it is left out where there is no word for it."""
    asked = request.output.verbosity
    if going.format in ("chat", "responses"):
        return asked
    if asked not in ("", "medium"):
        going.losses.lose("drop", request.param("verbosity"))
    return ""


# --- tools --------------------------------------------------------------------------------------


def usable(request: Request, going: Going) -> list[Tool]:
    """The tools that this upstream can have, in order. Raises CannotTranslate where one is missed:
    a tool that its provider runs exists in one format only."""
    return [tool for tool in request.all_tools() if not _is_lost(tool, going)]


def searches(tool: Tool, going: Going) -> bool:
    """Whether `tool` is another format's web search that becomes the upstream's own."""
    if not isinstance(tool, Hosted) or tool.format == going.format:
        return False
    return tool.kind == WEB_SEARCH and going.rules.map_search


def _is_elsewhere(tool: Tool, going: Going) -> bool:
    """Whether only another provider has this tool."""
    return isinstance(tool, Hosted) and tool.format != going.format and not searches(tool, going)


def _is_lost(tool: Tool, going: Going) -> bool:
    if not isinstance(tool, Hosted) or not _is_elsewhere(tool, going):
        return False
    why = f"only the {tool.format} format has the tool `{tool.kind}`"
    going.losses.lose("lenient", tool.at, why, code="unsupported_value")
    return True


def chosen(request: Request, going: Going) -> ToolChoice | None:
    """Which tools may or must be called; None says nothing.

    Call it once `usable` was: it does not ask again for tools that are left out. Raises
    CannotTranslate for a name that is not declared, and for a call that cannot be demanded.
    """
    choice, param = request.tool_choice, request.param("tool_choice")
    if choice is None:
        return None
    if choice.hosted is not None:
        why = "tools that the provider runs cannot be chosen there"
        going.losses.lose("lenient", param, why, code="unsupported_value")
        return None
    there = {tool.name: not _is_elsewhere(tool, going) for tool in request.all_tools()}
    for name in choice.names:
        if name not in there:
            why = f"there is no tool `{name[:64]}`"
            raise going.losses.refusal(param, why, code="invalid_value")
    names = tuple(name for name in choice.names if there[name])
    if not any(there.values()) or (choice.names and not names):
        if choice.mode == "required":
            why = "there is no such tool to call there"
            going.losses.lose("lenient", param, why, code="invalid_value")
        return None
    if choice.mode == "required" and going.can.forced_tool == "no":
        why = "this model cannot be made to call a tool"
        going.losses.lose("lenient", param, why, code="unsupported_value")
        return replace(choice, mode="auto", names=names, listed=bool(names))
    return replace(choice, names=names)


def one_call_at_a_time(request: Request) -> bool:
    """Whether the model may call one tool only, and could call more."""
    choice = request.tool_choice
    never = choice is not None and choice.mode == "none"
    return request.parallel is False and bool(request.all_tools()) and not never


# --- caches -------------------------------------------------------------------------------------


class Marks:
    """The cache marks that a request may keep: the last ones, because they cover the most.

    Arguments:
        request: whose marks; those of tools stand before all others.
        can: of the model.
    """

    __slots__ = ("_kept",)

    def __init__(self, request: Request, can: Capability) -> None:
        marked = [tool for tool in request.all_tools() if tool.cache is not None]
        holders: list[object] = [*marked]
        holders += [part for part in request.parts() if part.cache is not None]
        self._kept = {id(holder) for holder in holders[-can.cache_marks :]}
        if not can.cache_marks:
            self._kept.clear()

    def __repr__(self) -> str:
        return f"<Marks {len(self._kept)}>"

    def of(self, holder: object, cache: Cache | None) -> Cache | None:
        """The mark of a part or a tool, where it is kept."""
        return cache if cache is not None and id(holder) in self._kept else None
