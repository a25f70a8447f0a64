"""Schemas of tools and answers, brought into the dialect that each provider takes.

In the hub a schema is usual JSON Schema, as OpenAI's and Anthropic's clients write it. Only Google
has a second dialect (upper-case types, `nullable`, numbers as text), which is read into that once.
On the way out each provider refuses other keywords: what may be left out becomes a line of the
description, so that the model still reads it, and what cannot is named in a refusal. All of this
is pure, keeps the order of keys, and goes no deeper than `DEEPEST`: what lies below stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from relayd.wire.losses import Losses
from relayd.wire.parts import Document
from relayd.wire.schema_flat import flattened, joined, listed
from relayd.wire.schema_walk import (
    COMBINED,
    alone,
    closed,
    renamed,
    rooted,
    told,
    walked,
)

# --- from Google's own dialect ------------------------------------------------------------------

_SPELLED: Final = {
    "any_of": "anyOf",
    "one_of": "oneOf",
    "prefix_items": "prefixItems",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "additional_properties": "additionalProperties",
    "property_ordering": "propertyOrdering",
    "defs": "$defs",
    "ref": "$ref",
}
_COUNTS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)


def from_gemini(schema: Document) -> Document:
    """Google's `Schema` as JSON Schema; what is JSON Schema already stays as it is."""
    return walked(schema, _from_gemini)


def _from_gemini(schema: Document) -> Document:
    found: Document = {}
    for name, value in schema.items():
        found |= _keyword(_SPELLED.get(name, name), value)
    return _nullable(found)


def _keyword(name: str, value: Any) -> Document:
    """A keyword of Google's in the words of JSON Schema; {} for one that says nothing there."""
    unsaid = name == "propertyOrdering" or (name == "format" and value == "enum")
    if unsaid or (name == "type" and value == "TYPE_UNSPECIFIED"):
        return {}
    if name == "example":
        return {"examples": [value]}
    if name == "type":
        return {name: _lower(value)}
    if isinstance(value, str):
        if name == "$ref":
            return {name: value.replace("#/defs/", "#/$defs/")}
        if name in _COUNTS and value.isdecimal():
            return {name: int(value)}
    return {name: value}


def _lower(value: Any) -> Any:
    """A type, or the types that there may be, in lower case."""
    if isinstance(value, list):
        return [_lower(each) if isinstance(each, str) else each for each in value]
    return value.lower() if isinstance(value, str) else value


def _nullable(schema: Document) -> Document:
    """`nullable` as JSON Schema says it: null is one more type, and one more of the values."""
    if "nullable" not in schema:
        return schema
    found = {name: value for name, value in schema.items() if name != "nullable"}
    if schema["nullable"] is not True:
        return found
    if isinstance(found.get("type"), str):
        return _with_null(found | {"type": [found["type"], "null"]})
    return {"anyOf": [found, {"type": "null"}]}


def _with_null(schema: Document) -> Document:
    values = schema.get("enum")
    if isinstance(values, list) and None not in values:
        return schema | {"enum": [*values, None]}
    return schema


# --- for Google ---------------------------------------------------------------------------------

_GEMINI: Final = frozenset(
    "$id $defs $ref $anchor type format title description enum items prefixItems minItems maxItems"
    " minimum maximum anyOf properties additionalProperties required propertyOrdering".split()
)
# What says something to a reader although no decoder enforces it.
_SAID: Final = frozenset(
    "minLength maxLength pattern exclusiveMinimum exclusiveMaximum multipleOf uniqueItems default"
    " minProperties maxProperties examples not allOf".split()
)
_ANY_TEXT: Final = "The text, as it is."
_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}


def for_gemini(schema: Document) -> Document:
    """`schema` for `parametersJsonSchema` and `responseJsonSchema`."""
    return walked(rooted(schema), _for_gemini)


def _for_gemini(schema: Document) -> Document:
    found = renamed(joined(_nullable(schema)))
    found = _described(_typed(_valued(found)))
    lost = {name: value for name, value in found.items() if name in _SAID}
    kept = {name: value for name, value in found.items() if name in _GEMINI}
    return alone(told(kept, lost))


def _described(schema: Document) -> Document:
    """The same without `true` and `false` in a schema's place, which Google does not know."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        kept = {k: {} if v is True else v for k, v in properties.items() if v is not False}
        schema = schema | {"properties": kept}
    if isinstance(schema.get("items"), bool):
        schema = {name: value for name, value in schema.items() if name != "items"}
    return schema


def _valued(schema: Document) -> Document:
    """`const` and `enum` as a list of texts and numbers: null and booleans are types instead."""
    if "const" in schema:
        schema = {("enum" if k == "const" else k): v for k, v in schema.items()}
        schema["enum"] = [schema["enum"]]
    values = schema.get("enum")
    if not isinstance(values, list):
        return schema
    kept = [value for value in values if isinstance(value, str | int | float)]
    kept = [value for value in kept if not isinstance(value, bool)]
    types = list(dict.fromkeys(_type_of(value) for value in values))
    found: Document = {}
    for name, value in schema.items():
        found |= ({name: kept} if kept else {}) if name == "enum" else {name: value}
    if "type" not in found and "" not in types:
        found["type"] = types[0] if len(types) == 1 else types
    return found


def _type_of(value: object) -> str:
    return "null" if value is None else _TYPES.get(type(value), "")


def _typed(schema: Document) -> Document:
    """The type that the keywords tell of, where none is named."""
    if "type" in schema:
        return schema
    if "properties" in schema:
        return {"type": "object"} | schema
    if "items" in schema or "prefixItems" in schema:
        return {"type": "array"} | schema
    return schema


# --- for Anthropic ------------------------------------------------------------------------------

_ANTHROPIC_FORMATS: Final = frozenset(
    "date-time time date duration email hostname uri ipv4 ipv6 uuid".split()
)
_ANTHROPIC: Final = frozenset(
    "$id $defs $ref $anchor $schema type title description enum const items anyOf allOf properties"
    " additionalProperties required default definitions".split()
)


def for_anthropic(
    schema: Document, tool: str, losses: Losses, at: str, *, strict: bool = False
) -> Document:
    """`schema` for a tool's `input_schema`; with `strict`, or as the format of the answer, also
    without the keywords that its decoder does not enforce.

    Arguments:
        tool: its name, for the message; "" is the format of the answer.
        at: where the client wrote the schema.

    Raises CannotTranslate for a root that is no object and cannot be made one.
    """
    found = rooted(schema)
    if tool and any(name in found for name in COMBINED):
        flat = flattened(found)
        if flat is None:
            why = f"the schema of the tool `{tool[:64]}` is a choice that is no one object"
            raise losses.refusal(at, why, code="unsupported_value")
        losses.lose("drop", f"{at}.{next(name for name in COMBINED if name in found)}")
        found = flat
    return walked(found, _for_anthropic) if strict else found


def _for_anthropic(schema: Document) -> Document:
    found = renamed(schema)
    lost = {k: v for k, v in found.items() if k not in _ANTHROPIC and not _enforced(k, v)}
    kept = {name: value for name, value in found.items() if name not in lost}
    lost = {name: value for name, value in lost.items() if not isinstance(value, dict)}
    return told(closed(kept), lost)


def _enforced(name: str, value: object) -> bool:
    """The keywords that Anthropic knows with some values only."""
    if name == "format":
        return value in _ANTHROPIC_FORMATS if isinstance(value, str) else False
    return name == "minItems" and value in (0, 1)


# --- for OpenAI ---------------------------------------------------------------------------------


def for_openai(schema: Document, *, strict: bool) -> Document:
    """`schema` for OpenAI's formats. With `strict` its objects are closed and no keyword stands
    beside a reference; `takes_strict` says whether that is enough."""
    found = rooted(schema)
    return walked(found, _for_openai) if strict else found


def _for_openai(schema: Document) -> Document:
    found = renamed(schema)
    return alone(closed(found) if "additionalProperties" not in found else found)


def takes_strict(schema: Document) -> bool:
    """Whether OpenAI takes `schema` as a strict one: all properties required, all objects closed.

    Otherwise it goes without `strict`: a property that the client may leave out is not made one
    that the model has to invent.
    """
    fits = True

    def check(node: Document) -> Document:
        nonlocal fits
        properties = node.get("properties")
        if isinstance(properties, dict):
            fits = fits and set(properties) <= set(listed(node, "required"))
        fits = fits and node.get("additionalProperties", False) is False
        return node

    walked(schema, check)
    return fits


# --- for a tool that takes text where a provider has none ---------------------------------------


def of_text(syntax: str, grammar: str) -> Document:
    """The schema of a function that takes the free text of a custom tool, as its `input`.

    Arguments:
        grammar: that the text follows, in the given `syntax`; "" is any text.
    """
    about = f"Text of this {syntax or 'formal'} grammar:\n{grammar}" if grammar else _ANY_TEXT
    properties = {"input": {"type": "string", "description": about}}
    return {"type": "object", "properties": properties, "required": ["input"]}
