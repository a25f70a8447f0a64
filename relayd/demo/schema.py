"""Documents that satisfy a JSON Schema, for tool arguments and structured output.

The smallest document that the schema admits: required properties, the first choice of every
alternative, bounds respected. Gemini's dialect (upper-case types, `nullable`, numbers as strings)
is read too. Schemas come from strangers: recursion ends at a depth, references that lead nowhere
read as `{}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from relayd.demo.ask import Document, dicts, string, table

DEEPEST: Final = 16
# Below this depth only what is required is written, so that recursive schemas end by themselves.
GENEROUS: Final = 3
MOST_ITEMS: Final = 32
LONGEST_STRING: Final = 4096

_STRINGS: Final = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# Tried in turn against a `pattern`; a pattern that none of them meets is not met.
_CANDIDATES: Final = ("demo", "Demo", "a", "A", "0", "1", "12", "123", "DEMO", "demo-1", "a1", "AB")


def satisfy(schema: Document) -> Any:
    """A document that the schema admits."""
    return _Maker(schema).make(schema, 0)


class _Maker:
    """Walks one schema; owns its root, where references lead."""

    def __init__(self, root: Document) -> None:
        self._root = root
        self._makers: dict[str, Callable[[Document, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": _string,
            "integer": _integer,
            "number": _number,
            "boolean": lambda schema, depth: True,
            "null": lambda schema, depth: None,
        }

    def make(self, schema: object, depth: int) -> Any:
        """A document for one schema node."""
        node = self._resolved(table(schema), 0)
        if "const" in node:
            return node["const"]
        if isinstance(node.get("enum"), list) and node["enum"]:
            return node["enum"][0]
        if depth > DEEPEST:
            return None
        return self._makers.get(_type_of(node), self._anything)(node, depth)

    def _anything(self, schema: Document, depth: int) -> Any:
        return "demo" if depth else {}

    def _resolved(self, node: Document, hops: int) -> Document:
        """The node: reference followed, first alternative taken, parts merged."""
        if hops > DEEPEST:
            return {}
        if "$ref" in node:
            target = self._lookup(string(node["$ref"]))
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return self._resolved({**target, **rest}, hops + 1)
        for key in ("anyOf", "any_of", "oneOf"):
            if options := dicts(node.get(key)):
                option = next((o for o in options if _type_of(o) != "null"), options[0])
                rest = {name: value for name, value in node.items() if name != key}
                return self._resolved(_merged(rest, option), hops + 1)
        if parts := dicts(node.get("allOf")):
            merged = {key: value for key, value in node.items() if key != "allOf"}
            for part in parts:
                merged = _merged(merged, self._resolved(part, hops + 1))
            return self._resolved(merged, hops + 1)
        return node

    def _lookup(self, reference: str) -> Document:
        node: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            node = table(node).get(name) if step else node
        return table(node)

    def _object(self, schema: Document, depth: int) -> Document:
        properties = table(schema.get("properties"))
        required = schema.get("required")
        if isinstance(required, list):
            names = [name for name in required if isinstance(name, str)]
        else:
            names = list(properties) if depth < GENEROUS else []
        return {name: self.make(properties.get(name), depth + 1) for name in names}

    def _array(self, schema: Document, depth: int) -> list[Any]:
        least = _bound(schema, "minItems", 0)
        most = _bound(schema, "maxItems", MOST_ITEMS)
        wanted = max(least, 1 if depth < GENEROUS else 0)
        fixed = dicts(schema.get("prefixItems"))
        length = int(min(wanted if not fixed else max(least, len(fixed)), most, MOST_ITEMS))
        return [
            self.make(fixed[i] if i < len(fixed) else schema.get("items"), depth + 1)
            for i in range(length)
        ]


def _type_of(schema: Document) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()
    return "object" if "properties" in schema else "array" if "items" in schema else ""


def _merged(left: Document, right: Document) -> Document:
    merged = {**left, **right}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**table(left["properties"]), **table(right["properties"])}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        merged["required"] = [*left["required"], *right["required"]]
    return merged


def _bound(schema: Document, key: str, default: float) -> float:
    """A numeric bound; Gemini writes its integers as strings."""
    value = schema.get(key)
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _string(schema: Document, depth: int) -> str:
    if known := _STRINGS.get(string(schema.get("format"))):
        return known
    least = int(min(_bound(schema, "minLength", 0), LONGEST_STRING))
    most = int(max(0, _bound(schema, "maxLength", LONGEST_STRING)))
    text = _matching(string(schema.get("pattern")))
    return text.ljust(least, "x")[: max(most, least)]


def _matching(pattern: str) -> str:
    if not pattern:
        return "demo"
    try:
        wanted = re.compile(pattern)
    except re.error:
        return "demo"
    # Short ones only: a pattern of a stranger may be exponential in the length.
    candidates = (*_CANDIDATES, *(text for text in _STRINGS.values() if len(text) <= 20))
    return next((text for text in candidates if wanted.search(text)), "demo")


def _number(schema: Document, depth: int) -> float:
    least = _bound(schema, "minimum", -math.inf)
    most = _bound(schema, "maximum", math.inf)
    low = max(least, _bound(schema, "exclusiveMinimum", -math.inf))
    high = min(most, _bound(schema, "exclusiveMaximum", math.inf))
    if step := max(0.0, _bound(schema, "multipleOf", 0)):
        return math.floor(low / step + 1) * step if low > -math.inf else 0.0
    if low < 1 < high:
        return 1.0
    if -math.inf < low == least:
        return low
    if math.inf > high == most:
        return high
    if low > -math.inf:
        return (low + high) / 2 if high < math.inf else low + 1
    return high - 1


def _integer(schema: Document, depth: int) -> int:
    low = max(
        _bound(schema, "minimum", -math.inf), _bound(schema, "exclusiveMinimum", -math.inf) + 1
    )
    high = min(
        _bound(schema, "maximum", math.inf), _bound(schema, "exclusiveMaximum", math.inf) - 1
    )
    value = math.floor(min(max(1, math.ceil(low) if low > -math.inf else 1), high))
    step = _bound(schema, "multipleOf", 0)
    return int(math.ceil(value / step) * step) if step >= 1 else value
