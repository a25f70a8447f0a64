"""Walking through a JSON Schema, and the changes that more than one provider needs.

Nothing here changes what it is given, and all of it keeps the order of keys: the same schema is
written to the same bytes on every turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from relayd.wire.checked import DEEPEST
from relayd.wire.parts import Document

COMBINED: Final = ("allOf", "anyOf", "oneOf")
_ONE: Final = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LONGEST_TOLD: Final = 200  # characters of one keyword in a description
_LONGEST_POINTER: Final = 1000  # characters: many references may follow the same one
MOST_STEPS: Final = 16  # from one root reference to the next


def walked(schema: Document, change: Callable[[Document], Document], depth: int = 0) -> Document:
    """A copy of `schema` with `change` applied to each schema in it, the outermost first."""
    if depth > DEEPEST:
        return schema
    return {
        name: _inner(name, value, lambda inner: walked(inner, change, depth + 1))
        for name, value in change(schema).items()
    }


def _inner(name: str, value: Any, walk: Callable[[Document], Document]) -> Any:
    """The value of a keyword, with `walk` applied to the schemas that it holds."""
    if isinstance(value, dict):
        if name in _ONE:
            return walk(value)
        if name in _NAMED:
            return {k: walk(v) if isinstance(v, dict) else v for k, v in value.items()}
    elif isinstance(value, list) and name in _LISTS:
        return [walk(each) if isinstance(each, dict) else each for each in value]
    return value


def told(schema: Document, lost: Document) -> Document:
    """`schema` whose description says what `lost` said."""
    said = {name: orjson.dumps(value).decode() for name, value in lost.items()}
    line = ", ".join(f"{k}: {v}" for k, v in said.items() if len(v) <= _LONGEST_TOLD)
    if not line:
        return schema
    before = schema.get("description")
    told = f"{before}\n\n{{{line}}}" if isinstance(before, str) and before else f"{{{line}}}"
    return schema | {"description": told}


def renamed(schema: Document) -> Document:
    """The words of older drafts in the newest one's; a choice of one is a choice."""
    found: Document = {}
    for name, value in schema.items():
        if name == "$ref" and isinstance(value, str):
            found[name] = value.replace("#/definitions/", "#/$defs/", 1)
        elif name == "oneOf" and "anyOf" not in schema:
            found["anyOf"] = value
        else:
            found["$defs" if name == "definitions" else name] = value
    return found


def closed(schema: Document) -> Document:
    """An object that takes nothing but its properties."""
    if schema.get("type") == "object" or "properties" in schema:
        return schema | {"additionalProperties": False}
    return schema


def alone(schema: Document) -> Document:
    """A reference stands alone: what is said beside it goes one level up."""
    if "$ref" not in schema or all(name.startswith("$") for name in schema):
        return schema
    found = {name: value for name, value in schema.items() if name != "$ref"}
    found.pop("anyOf", None)
    return found | {"anyOf": [{"$ref": schema["$ref"]}]}


def rooted(schema: Document) -> Document:
    """The same with a root that says its type rather than where it is said."""
    found = resolved(schema, schema)
    if found.get("type") is None and not _chooses(found):
        return {"type": "object"} | {k: v for k, v in found.items() if k != "type"}
    return found


def _chooses(schema: Document) -> bool:
    """A root whose type its branches say."""
    return any(name in schema for name in (*COMBINED, "enum", "const", "$ref"))


def resolved(schema: Document, root: Document) -> Document:
    """What a reference at the root points to, with all that stands beside it."""
    for _ in range(MOST_STEPS):
        target = pointed(root, schema.get("$ref"))
        if target is None:
            break
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = target | beside
    return schema


def pointed(root: Document, pointer: object) -> Document | None:
    """The schema that `pointer` names inside of `root`; None where there is none."""
    if not isinstance(pointer, str) or not pointer.startswith("#/"):
        return None
    if len(pointer) > _LONGEST_POINTER:
        return None
    found: Any = root
    for step in pointer[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if _is(found) else None
    return found if _is(found) else None


def _is(value: object) -> bool:
    return isinstance(value, dict)
