"""A Gemini request, read into the hub: what it asks for, beside its contents.

What only this format says is kept by its path from the body's root, with what its loss means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from relayd.errors import BadCall
from relayd.wire import checked, schemas
from relayd.wire.gemini.contents import camel, instruction, messages, one_or_more
from relayd.wire.neutral import (
    Effort,
    Function,
    Hosted,
    Output,
    Request,
    Sampling,
    Shape,
    Thinking,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import Document, Extra, Extras, Loss
from relayd.wire.paths import Target

LOSSES: Final[dict[str, Loss]] = {
    "cachedContent": "refuse",
    "continuationToken": "refuse",
    "labels": "silent",
    "store": "silent",
    "safetySettings": "lenient",
    "modelArmorConfig": "lenient",
    "toolConfig.retrievalConfig": "refuse",
    "toolConfig.includeServerSideToolInvocations": "silent",
    "generationConfig.mediaResolution": "silent",
    "generationConfig.speechConfig": "lenient",
}
SEARCHES: Final = {"googleSearch": "web_search", "googleSearchRetrieval": "web_search"}
EFFORTS: Final[dict[str, Effort]] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
_GENERATION: Final = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "responseModalities",
        "thinkingConfig",
        "imageConfig",
    }
)


_BODY: Final = frozenset(
    {
        "contents",
        "systemInstruction",
        "tools",
        "generationConfig",
        "serviceTier",
        "toolConfig",
        "model",
    }
)
_CONFIG: Final = "generationConfig"
PLACES: Final = {
    "n": f"{_CONFIG}.candidateCount",
    "seed": f"{_CONFIG}.seed",
    "temperature": f"{_CONFIG}.temperature",
    "top_p": f"{_CONFIG}.topP",
    "top_k": f"{_CONFIG}.topK",
    "frequency_penalty": f"{_CONFIG}.frequencyPenalty",
    "presence_penalty": f"{_CONFIG}.presencePenalty",
    "logprobs": f"{_CONFIG}.responseLogprobs",
    "top_logprobs": f"{_CONFIG}.logprobs",
    "output.limit": f"{_CONFIG}.maxOutputTokens",
    "stop": f"{_CONFIG}.stopSequences",
    "modalities": f"{_CONFIG}.responseModalities",
    "image": f"{_CONFIG}.imageConfig",
    "thinking": f"{_CONFIG}.thinkingConfig",
    "shape": f"{_CONFIG}.responseJsonSchema",
    "tool_choice": "toolConfig.functionCallingConfig",
    "tier": "serviceTier",
}


def decode(document: Document, target: Target) -> Request:
    """The request in `document`. Raises BadCall."""
    body = camel(document)
    request = Request(
        source="gemini",
        model=target.model or "",
        messages=messages(body),
        instructions=instruction(body.get("systemInstruction")),
        tools=list(_tools(body)),
        tier=_tier(body),
        stream=bool(target.stream),
        places=dict(PLACES),
    )
    _choose(body, request)
    _generation(checked.section(body, _CONFIG) or {}, request)
    request.extra |= checked.rest(body, _BODY, LOSSES)
    return request


def decode_count(document: Document, target: Target) -> Request:
    """The request whose tokens are to be counted: the contents alone, or a whole request."""
    body = camel(document)
    whole = checked.section(body, "generateContentRequest")
    request = decode(whole if whole is not None else body, target)
    if whole is not None and "contents" not in body:
        request.extra["generateContentRequest"] = Extra(True, "silent")
    return request


def _tier(body: Document) -> str:
    said = checked.string(body, "serviceTier") or ""
    return said.lower() if said.lower() in ("standard", "flex", "priority") else said


# --- tools and controls -------------------------------------------------------------------------


def _tools(body: Document) -> Iterator[Tool]:
    for at, value in one_or_more(body, "tools", ""):
        for name, each in value.items():
            if each is None:
                continue
            if name != "functionDeclarations":
                kind = SEARCHES.get(name, name)
                yield Hosted(at=at, name=name, format="gemini", kind=kind, document={name: each})
                continue
            for place, declared in one_or_more(value, name, at):
                yield _function(declared, place)


def _function(value: Document, at: str) -> Function:
    known = {"name", "description", "parameters", "parametersJsonSchema"}
    schema, written = _schema(value, at, ("parametersJsonSchema", "parameters"))
    extra = checked.rest(value, known, {}, "drop") | written
    return Function(
        at=at,
        name=checked.needed(value, "name", at),
        description=checked.string(value, "description", at),
        schema=schema,
        extra=extra,
    )


def _choose(body: Document, request: Request) -> None:
    config = checked.section(body, "toolConfig") or {}
    said = checked.section(config, "functionCallingConfig", "toolConfig") or {}
    at = "toolConfig.functionCallingConfig"
    mode = checked.string(said, "mode", at)
    names = tuple(checked.strings(said, "allowedFunctionNames", at))
    extra: Extras = {}
    if mode is not None:
        extra["mode"] = Extra(mode, "silent")
        if mode == "ANY":
            request.tool_choice = ToolChoice("required", names, extra=extra)
        else:
            choice = ToolChoice("none" if mode == "NONE" else "auto", names, bool(names))
            choice.extra = extra
            request.tool_choice = choice
    _keep(said, {"mode", "allowedFunctionNames"}, at, request)
    _keep(config, {"functionCallingConfig"}, "toolConfig", request)


def _generation(config: Document, request: Request) -> None:
    at = "generationConfig"
    request.sampling = Sampling(
        temperature=checked.number(config, "temperature", at),
        top_p=checked.number(config, "topP", at),
        top_k=checked.whole(config, "topK", at),
        frequency_penalty=checked.number(config, "frequencyPenalty", at),
        presence_penalty=checked.number(config, "presencePenalty", at),
        seed=checked.whole(config, "seed", at, least=-(2**63)),
        logprobs=checked.flag(config, "responseLogprobs", at),
        top_logprobs=checked.whole(config, "logprobs", at),
        n=checked.whole(config, "candidateCount", at),
    )
    request.output = Output(
        limit=checked.whole(config, "maxOutputTokens", at),
        stop=checked.strings(config, "stopSequences", at),
        modalities=[each.lower() for each in checked.strings(config, "responseModalities", at)],
        image=checked.section(config, "imageConfig", at),
    )
    _shape(config, request)
    _think(checked.section(config, "thinkingConfig", at) or {}, request)
    _keep(config, _GENERATION, at, request)


def _keep(section: Document, known: Collection[str], at: str, request: Request) -> None:
    """Keep what nobody asked for, by its path."""
    losses = {name: LOSSES.get(f"{at}.{name}", "lenient") for name in section}
    for name, extra in checked.rest(section, known, losses).items():
        request.extra[f"{at}.{name}"] = extra


def _shape(config: Document, request: Request) -> None:
    mime = checked.string(config, "responseMimeType", _CONFIG)
    names = ("responseJsonSchema", "_responseJsonSchema", "responseSchema")
    schema, extra = _schema(config, _CONFIG, names)
    if mime:
        extra["responseMimeType"] = Extra(mime, "silent")
    if schema is not None:
        request.output.shape = Shape("schema", schema=schema, extra=extra)
    elif mime == "application/json":
        request.output.shape = Shape("json", extra=extra)
    elif mime is not None:
        loss: Loss = "silent" if mime == "text/plain" else "lenient"
        request.extra["generationConfig.responseMimeType"] = Extra(mime, loss)


def _think(config: Document, request: Request) -> None:
    at = "generationConfig.thinkingConfig"
    budget = checked.whole(config, "thinkingBudget", at, least=-1)
    level = checked.string(config, "thinkingLevel", at)
    shown = checked.flag(config, "includeThoughts", at)
    if budget is not None and level:
        message = f"`{at}` has a budget and a level: only one of them can be said."
        raise BadCall(message, code="invalid_value", param=at)
    thinking = Thinking(budget=budget)
    if budget == 0:
        thinking.mode = "off"
    elif budget is not None or level:
        thinking.mode = "on"
    if level:
        thinking.effort = EFFORTS.get(level.upper())
        thinking.extra["thinkingLevel"] = Extra(level, "silent")
    if shown is not None:
        thinking.show = "summary" if shown else "none"
    request.thinking = thinking
    _keep(config, {"thinkingBudget", "thinkingLevel", "includeThoughts"}, at, request)


def _schema(value: Document, at: str, names: Iterable[str]) -> tuple[Document | None, Extras]:
    """The schema under the first of `names` that is there, and what was written for it.

    Clients write Google's own dialect under the names of either, and its upper-case types are no
    types to anybody else.
    """
    found: Document | None = None
    written: Extras = {}
    for name in names:
        said = checked.section(value, name, at)
        if said is not None:
            found = schemas.from_gemini(said) if found is None else found
            written[name] = Extra(said, "silent")
    return found, written
