"""The head of a Gemini request: model, verb and streaming are in the path, the body is left alone.

Three things are not. Where the body repeats the model's name (batches, counts), it is renamed like
the path. A picture's size, which Google knows with a capital K only, gets one. And turns of the
role `system`, which Google refuses although published examples use it, are hoisted into
`systemInstruction`, as slices of the very bytes that came. A request with no other turn has its
role changed to `user` instead, because Google answers no request without contents.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

from relayd.errors import BadCall
from relayd.wire import splice
from relayd.wire.head import (
    Head,
    checked_model,
    checked_stream,
    estimated_input,
    largest_count,
    read_object,
)
from relayd.wire.paths import Target
from relayd.wire.splice import Edit, Span

_INSTRUCTION = ("systemInstruction", "system_instruction")
_GENERATION = ("generation_config", "generationConfig")
_IMAGE = ("imageConfig", "image_config")
_SIZE = ("imageSize", "image_size")
_SMALL = re.compile(r"[0-9]{1,2}k")
_NESTED = ("generateContentRequest", "generate_content_request")


def read_head(body: bytes, target: Target) -> Head:
    """What routing must know of this request; BadCall when path or body are no request."""
    model = _path_model(target)
    value = read_object(body)
    edits = _renames(body, value) + _hoists(body, value, target)
    stream = checked_stream(target.stream)
    size = estimated_input(body)
    head = Head(target, model, stream, body, edits, input_estimate=size, request=value)
    for key in _GENERATION:
        wanted = value.get(key)
        if isinstance(wanted, dict):
            head.max_output = largest_count(wanted, "maxOutputTokens", "max_output_tokens")
            head.choices = largest_count(wanted, "candidateCount", "candidate_count") or 1
            head.edits += _sizes(body, key, wanted)
    return head


def _path_model(target: Target) -> str:
    model = checked_model(target.model or None)
    # The name becomes a part of the upstream's path, where dots would lead elsewhere.
    if any(step in ("", ".", "..") for step in model.split("/")):
        raise BadCall("The path holds no model name.", code="invalid_value", param="model")
    return model


def _renames(body: bytes, value: dict[str, Any]) -> tuple[Edit, ...]:
    """An edit for each place where the body repeats the model of the path."""
    if b"model" not in body and b"\\u006" not in body:
        return ()
    start = splice.object_start(body)
    holders = [start] if "model" in value else []
    holders += [
        span.start for key in _NESTED if key in value for span in splice.values(body, start, key)
    ]
    if isinstance(value.get("requests"), list):
        batches = splice.values(body, start, "requests")
        holders += [each.start for batch in batches for each in _listed(body, batch)]
    return tuple(_rename(body, span) for at in holders for span in _models(body, at))


def _models(body: bytes, at: int) -> list[Span]:
    return splice.values(body, at, "model") if body[at : at + 1] == b"{" else []


def _rename(body: bytes, span: Span) -> Edit:
    prefixed = body.startswith(b'"models/', span.start)
    return Edit(span.start, span.end, prefix="models/" if prefixed else "")


def _sizes(body: bytes, key: str, config: dict[str, Any]) -> tuple[Edit, ...]:
    """The edits that give sizes of pictures, under `key`, their capital letter."""
    edits: tuple[Edit, ...] = ()
    for image in (name for name in _IMAGE if isinstance(config.get(name), dict)):
        for size in _SIZE:
            said = config[image].get(size)
            if isinstance(said, str) and _SMALL.fullmatch(said):
                at = splice.object_start(body)
                for step in (key, image):
                    at = splice.values(body, at, step)[-1].start
                span = splice.values(body, at, size)[-1]
                edits += (Edit(span.start, span.end, b'"%b"' % said.upper().encode()),)
    return edits


def _hoists(body: bytes, value: dict[str, Any], target: Target) -> tuple[Edit, ...]:
    """The edits that take system turns out of every `contents` of this request."""
    if b'"system"' not in body or target.operation == "embed":
        return ()
    edits: tuple[Edit, ...] = ()
    start = splice.object_start(body)
    if _has_system_turn(value):
        # A bare count has no field for instructions: there the turn is counted as a user's.
        edits += _hoist(body, start, value, bare=target.operation == "count_tokens")
    for key in _NESTED:
        if isinstance(value.get(key), dict) and _has_system_turn(value[key]):
            edits += _hoist(body, splice.values(body, start, key)[-1].start, value[key], bare=False)
    return edits


def _has_system_turn(value: dict[str, Any]) -> bool:
    contents = value.get("contents")
    turns = contents if isinstance(contents, list) else [contents]
    return any(_is_system(turn) for turn in turns)


def _is_system(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "system"


def _hoist(body: bytes, start: int, value: dict[str, Any], *, bare: bool) -> tuple[Edit, ...]:
    contents = splice.values(body, start, "contents")[-1]
    listed = isinstance(value["contents"], list)
    turns = list(splice.elements(body, contents.start)) if listed else [contents]
    parsed = value["contents"] if listed else [value["contents"]]
    systems = [span for span, turn in zip(turns, parsed, strict=True) if _is_system(turn)]
    if bare or len(systems) == len(turns):
        return tuple(
            Edit(*splice.values(body, span.start, "role")[-1], b'"user"') for span in systems
        )
    parts = [part for span in systems for part in _parts(body, span)]
    return (*_removals(turns, systems), _instruct(body, start, value, parts))


def _removals(turns: list[Span], systems: list[Span]) -> list[Edit]:
    """Take `systems` out of the list, with the comma behind each, or before the last ones."""
    last_kept = max(number for number, span in enumerate(turns) if span not in systems)
    pairs = itertools.pairwise(turns[: last_kept + 1])
    edits = [Edit(span.start, following.start, b"") for span, following in pairs if span in systems]
    if last_kept + 1 < len(turns):
        edits.append(Edit(turns[last_kept].end, turns[-1].end, b""))
    return edits


def _instruct(body: bytes, start: int, value: dict[str, Any], parts: list[bytes]) -> Edit:
    """The edit that adds `parts` to the instruction there is, or writes a new one."""
    for key in _INSTRUCTION:
        if value.get(key):
            span = splice.values(body, start, key)[-1]
            return Edit(span.start, span.end, _instruction(_parts(body, span) + parts))
    stale = [span for key in _INSTRUCTION for span in splice.values(body, start, key)]
    if stale:
        return Edit(stale[-1].start, stale[-1].end, _instruction(parts))
    return Edit(start + 1, start + 1, b'"systemInstruction":' + _instruction(parts) + b",")


def _instruction(parts: list[bytes]) -> bytes:
    return b'{"parts":[' + b",".join(parts) + b"]}"


def _parts(body: bytes, content: Span) -> list[bytes]:
    """The parts of a content as they were written: a list, one object, or a bare string."""
    if body[content.start : content.start + 1] != b"{":
        return _as_parts(body, content)
    spans = splice.values(body, content.start, "parts")
    return _as_parts(body, spans[-1]) if spans else []


def _as_parts(body: bytes, span: Span) -> list[bytes]:
    return [part for each in _listed(body, span) for part in _as_part(body[each.start : each.end])]


def _as_part(raw: bytes) -> list[bytes]:
    if raw.startswith(b'"'):
        return [b'{"text":' + raw + b"}"]
    return [raw] if raw.startswith(b"{") else []


def _listed(body: bytes, span: Span) -> list[Span]:
    return (
        list(splice.elements(body, span.start))
        if body[span.start : span.start + 1] == b"["
        else [span]
    )
