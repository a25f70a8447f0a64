"""A request of the hub, written as a Gemini request: what it asks for, around its contents."""

from __future__ import annotations

from typing import Any, Final

from relayd.wire import controls, schemas
from relayd.wire.gemini.history import History, kept, kept_parts, place
from relayd.wire.names import Names
from relayd.wire.neutral import (
    Custom,
    Function,
    Hosted,
    Output,
    Request,
    Sampling,
    Shape,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import Document
from relayd.wire.pictures import sizes
from relayd.wire.searches import search
from relayd.wire.setting import Going, Written
from relayd.wire.thinking import thought

_MODES: Final = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_TIERS: Final = frozenset({"standard", "flex", "priority"})


def encode(request: Request, going: Going) -> Written:
    """The body for a Gemini upstream. Raises CannotTranslate."""
    names = Names(request.all_tools(), "gemini")
    if request.source == "gemini":
        return Written(_same(request, going), names)
    going.losses.of_request(request)
    instruction, contents = History(request, going, names).contents()
    document: Document = {"contents": contents}
    if instruction:
        document["systemInstruction"] = {"parts": instruction}
    _declare(request, going, names, document)
    config = _config(request, going, _shape(request, going, document))
    if config:
        document["generationConfig"] = config
    if request.tier in _TIERS:
        document["serviceTier"] = request.tier
    return Written(document, names)


def encode_count(request: Request, going: Going) -> Written:
    """The body of a request for a count. Raises CannotTranslate."""
    written = encode(request, going)
    document = {k: v for k, v in written.document.items() if k != "generateContentRequest"}
    if request.source == "gemini":
        if "generateContentRequest" not in request.extra:
            return written._replace(document=document)
    elif document.keys() == {"contents"}:
        return written
    whole = {"model": f"models/{going.model}"} | document
    return written._replace(document={"generateContentRequest": whole})


# --- the same format ----------------------------------------------------------------------------


def _same(request: Request, going: Going) -> Document:
    document: Document = {"contents": kept(request.messages, going)}
    if request.instructions:
        document["systemInstruction"] = {"parts": kept_parts(request.instructions, going)}
    declared = [_function(tool) for tool in request.tools if isinstance(tool, Function)]
    tools: list[Document] = [{"functionDeclarations": declared}] if declared else []
    tools += [tool.document for tool in request.tools if isinstance(tool, Hosted)]
    if tools:
        document["tools"] = tools
    config = _generation(request.sampling, request.output) | _thinking(request)
    if config:
        document["generationConfig"] = config
    choice = request.tool_choice
    if choice is not None:
        said: Document = {"mode": choice.extra["mode"].value}
        said |= {"allowedFunctionNames": list(choice.names)} if choice.names else {}
        document["toolConfig"] = {"functionCallingConfig": said}
    if request.tier:
        document["serviceTier"] = request.tier
    for path, (value, _) in request.extra.items():
        place(document, path, value)
    return document


def _function(tool: Function) -> Document:
    document: Document = {"name": tool.name}
    if tool.description is not None:
        document["description"] = tool.description
    for name, (value, _) in tool.extra.items():
        document.setdefault(name, value)
    return document


def _thinking(request: Request) -> Document:
    thinking = request.thinking
    level = thinking.extra.get("thinkingLevel")
    said = {
        "thinkingBudget": thinking.budget,
        "thinkingLevel": level.value if level is not None else None,
        "includeThoughts": None if thinking.show is None else thinking.show != "none",
    }
    config = {name: value for name, value in said.items() if value is not None}
    return {"thinkingConfig": config} if config else {}


def _generation(sampling: Sampling, output: Output) -> Document:
    said: dict[str, Any] = _drawn(sampling) | {
        "maxOutputTokens": output.limit,
        "stopSequences": output.stop or None,
        "responseModalities": [each.upper() for each in output.modalities] or None,
        "imageConfig": _image_config(output.image),
    }
    shape = output.shape
    if shape is not None:
        said["responseMimeType"] = "application/json"
        said |= {name: extra.value for name, extra in shape.extra.items()}
    return {name: value for name, value in said.items() if value is not None}


def _image_config(said: Document | None) -> Document | None:
    """What a client says of a picture. Google knows a size by its capital K alone."""
    size = None if said is None else said.get("imageSize")
    return said | {"imageSize": size.upper()} if said and isinstance(size, str) else said


def _drawn(sampling: Sampling) -> Document:
    return {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "frequencyPenalty": sampling.frequency_penalty,
        "presencePenalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "responseLogprobs": sampling.logprobs,
        "logprobs": sampling.top_logprobs,
        "candidateCount": sampling.n,
    }


# --- another format -----------------------------------------------------------------------------


def _declare(request: Request, going: Going, names: Names, document: Document) -> None:
    """The tools, and which of them may be called."""
    tools = controls.usable(request, going)
    declared = [_declared(tool, going, names) for tool in tools if not isinstance(tool, Hosted)]
    hosted = [tool for tool in tools if isinstance(tool, Hosted)]
    if declared and hosted and not going.can.hosted_with_functions:
        why = "this model cannot search and call functions in one request"
        raise going.losses.refusal(hosted[0].at, why, code="unsupported_value")
    found: list[Document] = [{"functionDeclarations": declared}] if declared else []
    found += [{"googleSearch": {}} for _ in hosted[:1]]
    for tool in hosted:
        search(tool, going)
    if found:
        document["tools"] = found
    choice = controls.chosen(request, going)
    if choice is not None and declared:
        document["toolConfig"] = {"functionCallingConfig": _choice(choice, names)}
    if controls.one_call_at_a_time(request) and declared:
        going.losses.lose("drop", request.param("parallel"))


def _declared(tool: Tool, going: Going, names: Names) -> Document:
    group = tool.namespace.name if tool.namespace is not None else ""
    document: Document = {"name": names.there(tool.name, group)}
    if tool.description:
        document["description"] = tool.description
    if isinstance(tool, Custom):
        if not going.rules.wrap_custom:
            why = "this model has no tools that take free text"
            raise going.losses.refusal(tool.at, why, code="unsupported_value")
        document["parametersJsonSchema"] = schemas.of_text(tool.syntax, tool.grammar)
    elif isinstance(tool, Function) and not _takes_nothing(tool.schema):
        document["parametersJsonSchema"] = schemas.for_gemini(tool.schema or {})
    return document


def _takes_nothing(schema: Document | None) -> bool:
    """A function without arguments is declared without a schema."""
    if not schema:
        return True
    said = {name for name, value in schema.items() if value not in ({}, [], False)}
    return said <= {"type", "$schema", "title"} and schema.get("type", "object") == "object"


def _choice(choice: ToolChoice, names: Names) -> Document:
    allowed = [names.there(name) for name in choice.names]
    if not allowed:
        return {"mode": _MODES[choice.mode]}
    # Names go with a mode that holds the model to them; AUTO with names is refused.
    mode = "VALIDATED" if choice.mode == "auto" else _MODES[choice.mode]
    return {"mode": mode} | ({"allowedFunctionNames": allowed} if mode != "NONE" else {})


def _shape(request: Request, going: Going, document: Document) -> Shape | None:
    """The shape of the answer. Older models know none beside functions; where a function has to be
    called there is no answer that needs it: libraries ask for both, to be sure."""
    shape = request.output.shape
    functions = any("functionDeclarations" in tool for tool in document.get("tools", ()))
    if shape is None or going.can.schema_with_functions or not functions:
        return shape
    calling = document.get("toolConfig", {}).get("functionCallingConfig", {})
    if calling.get("mode") != "ANY":
        why = "this model cannot answer in JSON and call functions in one request"
        raise going.losses.refusal(request.param("shape"), why, code="unsupported_value")
    going.losses.lose("drop", request.param("shape"))
    return None


def _config(request: Request, going: Going, shape: Shape | None) -> Document:
    controls.verbosity(request, going)
    asked = request.output
    output = Output(
        limit=controls.limit(request, going),
        stop=controls.stops(request, going),
        modalities=controls.modalities(request, going),
    )
    sampling = controls.sampled(request, going)
    if not sampling.logprobs:
        sampling.top_logprobs = None  # Google takes a number of them only where there are any
    config = _generation(sampling, output)
    if asked.picture is not None and asked.picture.width:
        wanted = sizes.Pixels(asked.picture.width, asked.picture.height)
        config["imageConfig"] = sizes.for_google(wanted, going.can)
    if shape is not None:
        config["responseMimeType"] = "application/json"
        if shape.schema is not None:
            config["responseJsonSchema"] = schemas.for_gemini(shape.schema)
    control = thought(request, going)
    said: Document = {}
    if control.form == "level" and control.effort is not None:
        said["thinkingLevel"] = control.effort.upper()
    elif control.form == "budget":
        said["thinkingBudget"] = control.budget
    if control.show is not None:
        said["includeThoughts"] = control.show != "none"
    return config | ({"thinkingConfig": said} if said else {})
