"""What models take: `capabilities:`, for all upstreams or under one, and the table that is shipped.

Strategy: all three are one small language, read by one reader, so that what an operator writes is
checked as strictly as what we write ourselves. A row names one model pattern or several, with
commas between, and the lines that it changes; the lines are the fields of `Capability`. Where a
field may be unknown, `null` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args

from relayd.accounts import ENDPOINTS
from relayd.config.document import ConfigProblems, Place, Source, Wrong, root
from relayd.config.models import model_name
from relayd.config.values import Reader, choice, distinct, fields, is_one_of, switch, whole
from relayd.model import FormatName
from relayd.wire.capabilities import EFFORTS, Medium, Rows, ThinkingForm
from relayd.wire.pictures.sizes import CLASSES, SHAPES, pixels

NOTHING: Final = object()
_MOST_TOKENS: Final = 10**9


def capabilities(place: Place) -> Rows:
    """Read a section: pattern -> what it changes. A pattern may stand in several rows, of which a
    later one goes on where an earlier one ends."""
    rows: dict[str, dict[str, Any]] = {}
    for written, member in place.members().items():
        changes = member.take(_row) or {}
        for pattern in member.take(partial(_patterns, written)) or ():
            rows[pattern] = rows.get(pattern, {}) | changes
    return rows


@cache
def shipped() -> Rows:
    """The table that comes with relayd."""
    return table(files("relayd").joinpath("data", "capabilities.yaml").read_text("utf-8"))


def table(text: str) -> Rows:
    """A table of its own file; raises ConfigProblems with all that is wrong with it."""
    source = Source(Path(), {})
    rows = capabilities(root(text, source))
    if source.problems:
        raise ConfigProblems(source.problems)
    return rows


def _patterns(written: str, _: Place) -> list[str]:
    return [model_name(name) for name in written.split(", ")]


def _row(place: Place) -> dict[str, Any]:
    values = fields(place, READERS)
    return {name: None if value is NOTHING else value for name, value in values.items()}


def _unknown(reader: Reader) -> Reader:
    """A line that may say `null`."""

    def read(place: Place) -> Any:
        return NOTHING if place.is_nothing else reader(place)

    return read


def _several(names: tuple[str, ...]) -> Reader:
    """A list of words, which may be empty."""
    word = is_one_of(names)

    def read(place: Place) -> tuple[str, ...]:
        return tuple(distinct(place, word, "")) if not place.is_list or place.items() else ()

    return read


def _sizes(place: Place) -> tuple[str, ...]:
    """Classes or pixels, of which there may be none."""
    return tuple(distinct(place, _size, "")) if not place.is_list or place.items() else ()


def _size(place: Place) -> str:
    text = place.text()
    if text not in CLASSES and pixels(text) is None:
        known = ", ".join(CLASSES)
        raise Wrong(f"{place.written!r} is none of {known}, nor a size such as 1024x1024")
    return text


def _range(place: Place) -> tuple[int, int]:
    bounds = [item.take(_TOKENS) for item in place.items()]
    match bounds:
        case [int(least), int(most)] if least <= most:
            return least, most
    raise Wrong("is not the smallest and the largest, such as [1024, 32768]")


_TOKENS = whole(0, _MOST_TOKENS)
_FORMATS: tuple[str, ...] = get_args(FormatName)
_ANSWER = choice("yes", "no", "idle")
_SAMPLING = choice("yes", "no", "idle", "one")
_MEDIA = _several(get_args(Medium))

READERS: Mapping[str, Reader] = {
    "tasks": _several(ENDPOINTS),
    "context": _unknown(_TOKENS),
    "max_output": _unknown(_TOKENS),
    "default_output": whole(1, _MOST_TOKENS),
    "endpoints": _several(_FORMATS),
    "tools_endpoint": _unknown(is_one_of(_FORMATS)),
    "thinking": _several(get_args(ThinkingForm)),
    "always_thinks": switch,
    "disabled_up_to": _unknown(is_one_of(EFFORTS)),
    "efforts": _several(EFFORTS),
    "default_effort": _unknown(is_one_of(EFFORTS)),
    "budgets": _range,
    "shows_thinking": switch,
    "sampling": _SAMPLING,
    "penalties": switch,
    "logprobs": switch,
    "prefill": switch,
    "mid_system": switch,
    "forced_tool": _ANSWER,
    "native_schema": switch,
    "strict_tools": switch,
    "custom_tools": switch,
    "hosted_with_functions": switch,
    "schema_with_functions": switch,
    "call_ids": switch,
    "signatures": switch,
    "cache_marks": whole(0, 100),
    "inputs": _MEDIA,
    "outputs": _MEDIA,
    "aspects": _several(tuple(SHAPES)),
    "picture_sizes": _sizes,
    "image_urls": switch,
    "result_media": switch,
    "max_choices": whole(1, 1000),
    "max_stop": whole(0, 10_000),
    "output_field": choice("max_tokens", "max_completion_tokens"),
}
