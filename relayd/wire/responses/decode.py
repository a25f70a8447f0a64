"""A Responses request, read into the hub: `items` reads its input, `tools` its tools."""

from __future__ import annotations

from typing import Final, get_args

from relayd.wire import checked
from relayd.wire.neutral import Effort, Output, Request, Sampling, Shape, Thinking
from relayd.wire.parts import Document, Extra, Extras, Loss, Text
from relayd.wire.paths import Target
from relayd.wire.responses import items, tools

TIERS: Final = {"default": "standard"}
LOSSES: Final[dict[str, Loss]] = {
    # What the provider keeps: nobody else has it, and without it the model has no history.
    "previous_response_id": "refuse",
    "conversation": "refuse",
    "background": "refuse",
    "prompt": "refuse",
    "moderation": "refuse",
    "include": "silent",
    "client_metadata": "silent",
    "stream_options": "silent",
    "truncation": "silent",
    "prompt_cache_retention": "silent",
    "context_management": "lenient",
    "max_tool_calls": "lenient",
    "reasoning.context": "silent",
    "reasoning.generate_summary": "silent",
    "reasoning.mode": "lenient",
    "reasoning.effort": "lenient",
    "text.format": "refuse",
}
LOGPROBS: Final = "message.output_text.logprobs"
_KNOWN: Final = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "top_logprobs",
        "max_output_tokens",
        "text",
        "reasoning",
        "user",
        "safety_identifier",
        "metadata",
        "service_tier",
        "store",
        "stream",
        "prompt_cache_key",
        "prompt_cache_options",
    }
)
_FORMAT: Final = frozenset({"type", "name", "description", "schema", "strict"})
# By their names in the hub: what the client calls otherwise.
_PLACES: Final = {
    "output.limit": "max_output_tokens",
    "thinking": "reasoning",
    "shape": "text.format",
    "verbosity": "text.verbosity",
    "parallel": "parallel_tool_calls",
    "tier": "service_tier",
    "logprobs": "include",
}


def decode(document: Document, target: Target) -> Request:
    """The request in `document`. Raises BadCall."""
    request = Request(
        source="responses",
        model=checked.string(document, "model") or "",
        messages=items.messages(document),
        tools=tools.tools(document, ""),
        tool_choice=tools.choice(document.get("tool_choice")),
        parallel=checked.flag(document, "parallel_tool_calls"),
        sampling=_sampling(document),
        output=_output(document),
        thinking=_thinking(document),
        metadata=checked.section(document, "metadata"),
        store=checked.flag(document, "store"),
        stream=checked.flag(document, "stream") or False,
        places=dict(_PLACES),
        extra=checked.rest(document, _KNOWN, LOSSES) | _text_rest(document),
    )
    instructions = checked.string(document, "instructions")
    if instructions is not None:
        request.instructions = [Text(instructions, at="instructions")]
    request.caching.key = checked.string(document, "prompt_cache_key") or ""
    request.caching.options = checked.section(document, "prompt_cache_options")
    tier = checked.string(document, "service_tier") or ""
    request.tier = TIERS.get(tier, tier)
    _identify(document, request)
    return request


decode_count = decode  # a count is asked for with the same members


def _identify(document: Document, request: Request) -> None:
    """Who the user is: the newer of two members, where both are there."""
    for name in ("safety_identifier", "user"):
        said = checked.string(document, name) or ""
        if said and request.user:
            request.extra[name] = Extra(said, "silent")
        elif said:
            request.user, request.places["user"] = said, name


def _sampling(document: Document) -> Sampling:
    return Sampling(
        temperature=checked.number(document, "temperature"),
        top_p=checked.number(document, "top_p"),
        top_logprobs=checked.whole(document, "top_logprobs"),
        logprobs=True if LOGPROBS in checked.strings(document, "include") else None,
    )


def _output(document: Document) -> Output:
    text = checked.section(document, "text") or {}
    output = Output(
        limit=checked.whole(document, "max_output_tokens"),
        verbosity=checked.string(text, "verbosity", "text") or "",
    )
    form = checked.section(text, "format", "text") or {}
    if form.get("type") == "json_object":
        output.shape = Shape("json")
    elif form.get("type") == "json_schema":
        output.shape = Shape(
            "schema",
            checked.string(form, "name", "text.format") or "",
            checked.string(form, "description", "text.format") or "",
            checked.section(form, "schema", "text.format"),
            checked.flag(form, "strict", "text.format"),
            checked.rest(form, _FORMAT, {}, "drop"),
        )
    return output


def _text_rest(document: Document) -> Extras:
    """What `text` says that the hub has no place for, by paths from the root."""
    text = document.get("text")
    if not isinstance(text, dict):
        return {}
    found = {
        f"text.{name}": extra
        for name, extra in checked.rest(text, {"format", "verbosity"}, {}).items()
    }
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") not in ("text", "json_object", "json_schema"):
        found["text.format"] = Extra(form, LOSSES["text.format"])
    return found


def _thinking(document: Document) -> Thinking:
    value = checked.section(document, "reasoning") or {}
    said = checked.string(value, "effort", "reasoning")
    effort: Effort | None = next((e for e in get_args(Effort) if e == said), None)
    style = checked.string(value, "summary", "reasoning") or ""
    thinking = Thinking(effort=effort, style=style, show="summary" if style else None)
    if effort is not None:
        thinking.mode = "off" if effort == "none" else "on"
    known = {"summary"} if said is not None and effort is None else {"summary", "effort"}
    losses = {name.removeprefix("reasoning."): loss for name, loss in LOSSES.items()}
    thinking.extra = checked.rest(value, known, losses)
    return thinking
