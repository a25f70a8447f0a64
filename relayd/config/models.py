"""The `models:` of an upstream: which public names it offers, and what is particular to each.

Strategy: a model is written as shortly as it can be. A list holds names, a section renames, and a
section inside that adds timeouts and a cost. Timeouts of a model start from the upstream's, which
stand on another line: so lines are read first and made into rules when the whole upstream is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from relayd.config.document import Place, Wrong
from relayd.config.values import Reader, fields, number, record, seconds
from relayd.model import ModelRule, Timeouts

_MODEL_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")
_TIMEOUTS: Mapping[str, Reader] = dict.fromkeys(
    ("connect", "first_byte", "stall", "total"), seconds()
)

# Those of a whole upstream.
timeouts = record(Timeouts, _TIMEOUTS)


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A rule as it is written, with those timeouts that its line names."""

    rule: ModelRule
    timeouts: Mapping[str, float] = field(default_factory=dict)


def models(place: Place) -> tuple[ModelLine, ...]:
    """A list of names and wildcards, or a section `public name: the upstream's name`, where
    `openai/*: '*'` takes over what the wildcard stood for."""
    lines: dict[str, ModelLine] = {}
    named = place.members().items() if not place.is_list else [(None, i) for i in place.items()]
    for pattern, member in named:
        line = member.take(_listed if pattern is None else _renamed(pattern))
        if line and line.rule.pattern in lines:
            member.complain(f"{line.rule.pattern!r} stands here twice")
        elif line:
            lines[line.rule.pattern] = line
    if not named:
        raise Wrong("names no model: list names and wildcards such as gpt-*, or * for any")
    return tuple(lines.values())


def rules(lines: Iterable[ModelLine], usual: Timeouts) -> tuple[ModelRule, ...]:
    """The rules, their timeouts completed with the upstream's `usual` ones."""
    return tuple(
        replace(line.rule, timeouts=replace(usual, **line.timeouts)) if line.timeouts else line.rule
        for line in lines
    )


def model_name(text: str) -> str:
    """The name of a model or a wildcard; raises `Wrong` where it cannot be one."""
    if not _MODEL_NAME.fullmatch(text):
        raise Wrong("is not the name of a model (1 to 256 characters, no spaces)")
    return text


def _listed(place: Place) -> ModelLine:
    return ModelLine(ModelRule(model_name(place.text())))


def _renamed(pattern: str) -> Reader:
    def target(place: Place) -> str:
        text = model_name(place.text())
        if text.count("*") > pattern.count("*"):
            raise Wrong("has more wildcards than the public name has to fill them")
        return text

    readers: Mapping[str, Reader] = {
        "name": target,
        "timeouts": lambda place: fields(place, _TIMEOUTS),
        "cost": number(0.0, 1_000_000.0),
    }

    def read(place: Place) -> ModelLine:
        values = fields(place, readers) if place.is_section else {}
        name = values.get("name") if place.is_section else target(place)
        other = None if name == pattern else name
        rule = ModelRule(model_name(pattern), other, cost=values.get("cost"))
        return ModelLine(rule, values.get("timeouts", {}))

    return read
