"""The controls of a request, written as chat has them."""

from __future__ import annotations

from typing import Any, Final

from relayd.wire import checked, controls, ids
from relayd.wire.chat.asked import TIERS
from relayd.wire.neutral import Request, Sampling, Shape
from relayd.wire.parts import Document, Text
from relayd.wire.schemas import for_openai, takes_strict
from relayd.wire.setting import Going
from relayd.wire.thinking import thought

LONGEST_USER: Final = 64
_TIERS: Final = {word: name for name, word in TIERS.items()}
_KNOWN_TIERS: Final = frozenset({"auto", "standard", "flex", "priority"})


def native(request: Request, document: Document) -> None:
    """The controls as they came."""
    output, thinking = request.output, request.thinking
    _sampling(request.sampling, document)
    said: dict[str, Any] = {
        request.param("output.limit"): output.limit,
        "stop": output.stop or None,
        "modalities": output.modalities or None,
        "verbosity": output.verbosity or None,
        "response_format": _shape(output.shape) if output.shape is not None else None,
        "prompt_cache_key": request.caching.key or None,
        "prompt_cache_options": request.caching.options,
        "metadata": request.metadata,
        "service_tier": _TIERS.get(request.tier, request.tier) or None,
        request.param("user"): request.user or None,
        "store": request.store,
    }
    if request.param("thinking") == "reasoning_effort":
        said["reasoning_effort"] = thinking.effort
    document |= {name: value for name, value in said.items() if value is not None}
    _stream(request, document)
    checked.written(request.extra, document)


def foreign(request: Request, going: Going, document: Document) -> None:
    """The controls of a request that came in another format. Raises CannotTranslate."""
    can, output = going.can, request.output
    _sampling(controls.sampled(request, going), document)
    controls.modalities(request, going)
    if output.audio is not None or output.image is not None:
        name = "output.audio" if output.audio is not None else "output.image"
        going.losses.lose("lenient", request.param(name))
    own = can.output_field == "max_completion_tokens"  # OpenAI's models: others know less
    tier = request.tier if own and request.tier in _KNOWN_TIERS else ""
    effort = thought(request, going).effort
    said: dict[str, Any] = {
        can.output_field: controls.limit(request, going),
        "stop": controls.stops(request, going) or None,
        "verbosity": controls.verbosity(request, going) or None,
        "response_format": _demanded(request, going),
        "prompt_cache_key": request.caching.key or None if own else None,
        "prompt_cache_options": request.caching.options if own else None,
        "service_tier": _TIERS.get(tier, tier) or None,
        "safety_identifier" if own else "user": _user(request) or None,
        "reasoning_effort": effort,
    }
    document |= {name: value for name, value in said.items() if value is not None}
    _stream(request, document)


def cache_key(request: Request) -> str:
    """What groups requests with the same beginning, where the client marked one and named none."""
    parts, _ = request.opening()
    said = "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return ids.digest(f"{request.user}\0{said}")


def _sampling(sampling: Sampling, document: Document) -> None:
    for name in Sampling.__slots__:
        value = getattr(sampling, name)
        if value is not None:
            document[name] = value


def _user(request: Request) -> str:
    """Who asks; long names are bounded there."""
    user = request.user
    return user if len(user) <= LONGEST_USER else ids.digest(user)


def _stream(request: Request, document: Document) -> None:
    if not request.stream:
        return
    document["stream"] = True
    asked = request.extra.get("stream_options") if request.source == "chat" else None
    options = asked.value if asked is not None else {}
    document["stream_options"] = options | {"include_usage": True}


# --- the form of the answer ---------------------------------------------------------------------


def _shape(shape: Shape) -> Document:
    if shape.kind == "json":
        return checked.written(shape.extra, {"type": "json_object"})
    schema: Document = {"name": shape.name} if shape.name else {}
    for name in ("description", "schema", "strict"):
        value = getattr(shape, name)
        if value not in (None, ""):
            schema[name] = value
    return {"type": "json_schema", "json_schema": checked.written(shape.extra, schema)}


def _demanded(request: Request, going: Going) -> Document | None:
    """The form that another format's client demands."""
    shape = request.output.shape
    if shape is None:
        return None
    if shape.kind == "json" or shape.schema is None:
        return {"type": "json_object"}
    strict = shape.strict
    if strict and not takes_strict(for_openai(shape.schema, strict=True)):
        going.losses.lose("drop", f"{request.param('shape')}.strict")
        strict = None
    schema: Document = {"name": shape.name or "answer"}
    if shape.description:
        schema["description"] = shape.description
    schema["schema"] = for_openai(shape.schema, strict=bool(strict))
    if going.can.output_field == "max_completion_tokens":  # other hosts take any
        controls.rooted_in_object(request, going, schema["schema"])
    if strict is not None:
        schema["strict"] = strict
    return {"type": "json_schema", "json_schema": schema}
