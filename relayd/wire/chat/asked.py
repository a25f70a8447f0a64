"""What a chat request asks for beside the conversation: sampling, limits, form, thinking.

Hosts have switched thinking on in many ways before `reasoning_effort` was one, and still do. Each
is read as what it means, and kept beside it as it was written, for its own host. A member that is
not known is left in `extra`: another format refuses it, or leaves it out where it may.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from relayd.errors import BadCall
from relayd.wire import checked
from relayd.wire.neutral import Effort, Output, Request, Sampling, Shape, Thinking, ToolChoice
from relayd.wire.parts import Document, Extra, Loss

TIERS: Final = {"default": "standard"}
# Members of the body, and what it means that another format does not have them.
LOSSES: Final[dict[str, Loss]] = {
    "stream_options": "silent",
    "store": "silent",
    "user": "silent",
    "max_tokens": "silent",  # where there are two limits, the newer one counts
    "prompt_cache_retention": "silent",
    "audio": "refuse",
    "prediction": "lenient",
    "moderation": "refuse",
}
_EFFORTS: Final[dict[str, Effort]] = {each: each for each in get_args(Effort)}
_NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_WHOLES: Final = ("top_k", "seed", "top_logprobs", "n")
# By their names in the hub: what is called otherwise here, also where nobody said it.
_PLACES: Final = {"parallel": "parallel_tool_calls", "output.limit": "max_completion_tokens"}
_SMALLEST: Final = -(2**63)
_REASONING: Final = frozenset({"effort", "max_tokens", "enabled", "exclude"})
_MODES: Final[dict[object, Any]] = {
    "enabled": "on",
    "disabled": "off",
    "adaptive": "adaptive",
    "auto": "adaptive",
    True: "on",
    False: "off",
}
KNOWN: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "web_search_options",
        "max_completion_tokens",
        "stop",
        "logprobs",
        "logit_bias",
        "metadata",
        "service_tier",
        "verbosity",
        "modalities",
        "prompt_cache_key",
        "prompt_cache_options",
        *_NUMBERS,
        *_WHOLES,
    }
)


def read(document: Document, request: Request) -> None:
    """Read into `request` all that is no message and no tool. Raises BadCall."""
    request.extra = checked.rest(document, KNOWN, LOSSES)
    request.places |= _PLACES
    request.tool_choice = _tool_choice(document, request)
    request.parallel = checked.flag(document, "parallel_tool_calls")
    request.sampling = _sampling(document)
    _output(document, request)
    _thinking(document, request)
    request.caching.key = checked.string(document, "prompt_cache_key") or ""
    request.caching.options = checked.section(document, "prompt_cache_options")
    _user(document, request)
    request.metadata = checked.section(document, "metadata")
    tier = checked.string(document, "service_tier") or ""
    request.tier = TIERS.get(tier, tier)
    request.store = checked.flag(document, "store")
    request.extra.pop("store", None)
    _stream(document, request)


def _stream(document: Document, request: Request) -> None:
    request.stream = checked.flag(document, "stream") or False
    options = checked.section(document, "stream_options")
    if options is not None and not request.stream:
        message = "`stream_options` is only allowed where `stream` is true."
        raise BadCall(message, code="invalid_value", param="stream_options")
    asked = checked.flag(options or {}, "include_usage", "stream_options")
    request.show_usage = asked or False


def _user(document: Document, request: Request) -> None:
    for name in ("safety_identifier", "user"):
        said = checked.string(document, name)
        if said:
            request.user = said
            request.places["user"] = name
            del request.extra[name]
            return


# --- choice of tools ----------------------------------------------------------------------------


def _tool_choice(document: Document, request: Request) -> ToolChoice | None:
    said = document.get("tool_choice")
    if said is None and document.get("function_call") is not None:
        said = document["function_call"]
        request.places["tool_choice"] = "function_call"
    if said is None:
        return None
    if said in ("none", "auto", "required"):
        return ToolChoice(said)
    if said == "any":  # Mistral's word
        return ToolChoice("required", extra={"tool_choice": Extra(said, "silent")})
    if not isinstance(said, dict):
        raise checked.wrong(request.param("tool_choice"), "none, auto, required or an object")
    allowed = said.get("allowed_tools")
    if isinstance(allowed, dict):
        tools = checked.sections(allowed, "tools", "tool_choice.allowed_tools")
        names = tuple(_named(tool, at) for at, tool in tools)
        must = allowed.get("mode") == "required"
        return ToolChoice("required" if must else "auto", names, listed=True)
    if said.keys() == {"type"}:
        return ToolChoice("required", hosted=said)
    return ToolChoice("required", (_named(said, request.param("tool_choice")),))


def _named(value: Document, at: str) -> str:
    """The name in `{type, function: {name}}`, whatever the type."""
    inner = value.get("function") or value.get("custom") or value
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str):
        raise checked.missing(f"{at}.function.name")
    return name


# --- sampling and output ------------------------------------------------------------------------


def _sampling(document: Document) -> Sampling:
    sampling = Sampling(
        logprobs=checked.flag(document, "logprobs"),
        logit_bias=checked.section(document, "logit_bias"),
    )
    for name in _NUMBERS:
        setattr(sampling, name, checked.number(document, name))
    for name in _WHOLES:
        setattr(sampling, name, checked.whole(document, name, least=_SMALLEST))
    return sampling


def _output(document: Document, request: Request) -> None:
    output = request.output = Output(verbosity=checked.string(document, "verbosity") or "")
    for name in ("max_completion_tokens", "max_tokens"):
        limit = checked.whole(document, name)
        if limit is not None:
            output.limit = limit
            request.places["output.limit"] = name
            request.extra.pop(name, None)
            break
    stop = document.get("stop")
    output.stop = [stop] if isinstance(stop, str) else checked.strings(document, "stop")
    output.modalities = checked.strings(document, "modalities")
    request.places["shape"] = "response_format"
    form = checked.section(document, "response_format")
    if form is None:
        return
    output.shape = _shape(form)
    # Any other form that hosts have (a grammar, a regular expression) must not be left out.
    plain = form.get("type") == "text"
    request.extra["response_format"] = Extra(form, "silent" if plain else "refuse")
    if output.shape is not None:
        del request.extra["response_format"]


def _shape(form: Document) -> Shape | None:
    if form.get("type") == "json_object":
        return Shape("json", extra=checked.rest(form, {"type"}, {}))
    if form.get("type") != "json_schema":
        return None
    at = "response_format.json_schema"
    schema = checked.section(form, "json_schema", "response_format") or {}
    return Shape(
        "schema",
        checked.string(schema, "name", at) or "",
        checked.string(schema, "description", at) or "",
        checked.section(schema, "schema", at),
        checked.flag(schema, "strict", at),
        checked.rest(schema, {"name", "description", "schema", "strict"}, {}),
    )


# --- thinking -----------------------------------------------------------------------------------


def _thinking(document: Document, request: Request) -> None:
    request.places["thinking"] = "reasoning_effort"
    said = checked.string(document, "reasoning_effort")
    effort = _EFFORTS.get(said or "")
    if effort is not None:
        request.thinking = Thinking("off" if effort == "none" else "on", effort)
        del request.extra["reasoning_effort"]
    elif said:
        request.extra["reasoning_effort"] = Extra(said, "refuse")
    for name, understand in (
        ("reasoning", _reasoning),
        ("thinking", _switched),
        ("enable_thinking", _switched),
        ("reasoning_format", _formatted),
    ):
        value = document.get(name)
        if value is not None and understand(value, request.thinking):
            request.extra[name] = Extra(value, "silent")
            if effort is None:
                request.places["thinking"] = name


def _reasoning(value: object, thinking: Thinking) -> bool:
    """OpenRouter's object; whether it was understood."""
    if not isinstance(value, dict) or not value.keys() <= _REASONING:
        return False
    effort, budget, enabled = value.get("effort"), value.get("max_tokens"), value.get("enabled")
    if isinstance(effort, str) and effort in _EFFORTS:
        thinking.effort = _EFFORTS[effort]
        thinking.mode = "off" if effort == "none" else "on"
    elif effort is not None:
        return False
    if budget is not None:
        if budget.__class__ is not int or budget < 0:
            return False
        thinking.budget, thinking.mode = budget, "on"
    if isinstance(enabled, bool) and thinking.mode is None:
        thinking.mode = _MODES[enabled]
    if value.get("exclude") is True:
        thinking.show = "none"
    return True


def _switched(value: object, thinking: Thinking) -> bool:
    """A switch, bare or in an object, as DeepSeek, Z.ai and Qwen have it. What else is in the
    object (whether earlier thinking is kept) only its host knows."""
    holder = value if isinstance(value, dict) else {"type": value}
    mode = holder.get("type")
    if mode is None and holder.keys() == {"clear_thinking"}:
        return True
    if not isinstance(mode, str | bool) or mode not in _MODES:
        return False
    thinking.mode = thinking.mode or _MODES[mode]
    budget = holder.get("budget_tokens")
    if isinstance(budget, int) and budget > 0 and thinking.mode == "on":
        thinking.budget = budget
    return True


def _formatted(value: object, thinking: Thinking) -> bool:
    """How Groq shows the thinking."""
    if value == "hidden":
        thinking.show = "none"
    return value in ("hidden", "parsed", "raw")
