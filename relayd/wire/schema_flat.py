"""One schema made of several: what `allOf` joins, and a choice at a root that takes no choice.

Clients write these schemas, and a reference makes much of little: one large definition may be
named by every branch. So each is read into one result that grows, no part of the document is read
into it twice, and no branch is copied. The time that this takes is that of reading the schema once.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, Final

from relayd.wire.checked import DEEPEST
from relayd.wire.facts import objects, section
from relayd.wire.parts import Document
from relayd.wire.schema_walk import COMBINED, MOST_STEPS, pointed

MOST_BRANCHES: Final = 200  # of a choice at the root, those inside of others included
_MERGED: Final = ("properties", "$defs", "definitions")
_AS_OBJECT: Final = ("object", ["object", "null"])
# Where definitions are. What lies deeper is part of another one and would be written twice.
_DEEPEST_POINTER: Final = 2
Schema = Mapping[str, Any]


def listed(schema: Schema, name: str) -> list[str]:
    """The strings of a list, whatever a client wrote in its place."""
    said = schema.get(name)
    return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []


def joined(schema: Document) -> Document:
    """The same without `allOf`: its branches become one schema with what stands beside them, as far
    as that can be said: what stands first wins. More than one reference cannot stand there; the
    others stay an `allOf`."""
    if "allOf" not in schema:
        return schema
    found = {name: value for name, value in schema.items() if name != "allOf"}
    groups = {name: dict(section(found.get(name))) for name in _MERGED}
    required = dict.fromkeys(listed(found, "required"))
    references = [{"$ref": found["$ref"]}] if "$ref" in found else []
    for branch in _branches(schema, []):
        if "$ref" in branch:
            references.append({"$ref": branch["$ref"]})
        for name, value in branch.items():
            if name in groups:
                _fill(groups[name], section(value))
            elif name != "allOf":
                found.setdefault(name, value)
        required |= dict.fromkeys(listed(branch, "required"))
    found |= {name: group for name, group in groups.items() if group}
    found |= {"allOf": references[1:]} if references[1:] else {}
    return found | ({"required": list(required)} if required else {})


def _branches(schema: Document, found: list[Document], depth: int = 0) -> list[Document]:
    """Add to `found` all that `allOf` joins, also inside of itself, in order."""
    for branch in objects(schema.get("allOf")) if depth <= DEEPEST else ():
        found.append(branch)
        _branches(branch, found, depth + 1)
    return found


def _fill(group: Document, more: Document) -> None:
    for name, value in more.items():
        group.setdefault(name, value)


def flattened(root: Document) -> Document | None:
    """One object instead of the choice at `root`: the properties of any branch, of which only
    those are required that all have to be; None where that cannot be made."""
    flat = _Flat(root)
    return flat.result() if flat.add(root, required=True) else None


class _Flat:
    """The object that is made of a choice. Owns its properties.

    Arguments:
        root: where references lead.
    """

    __slots__ = ("_left", "_met", "_properties", "_required", "_root")

    def __init__(self, root: Document) -> None:
        self._root = root
        self._left = MOST_BRANCHES  # a schema that refers to itself has no end
        self._met: set[tuple[int, str]] = set()
        self._properties: dict[str, list[Any]] = {}
        self._required: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<_Flat {len(self._properties)} properties, {self._left} branches left>"

    def add(self, schema: Schema, *, required: bool) -> bool:
        """Read a branch; whether it is an object, and there are not too many.

        Arguments:
            required: what it demands is demanded of all.
        """
        self._left -= 1
        if self._left < 0 or schema.get("type", "object") not in _AS_OBJECT:
            return False
        properties = schema.get("properties")
        if isinstance(properties, dict) and self._is_new(properties):
            for name, value in properties.items():
                self._property(name, value)
        if required and self._is_new(schema.get("required")):
            self._required |= dict.fromkeys(listed(schema, "required"))
        return all(self._choice(schema, name, required=required) for name in COMBINED)

    def _choice(self, schema: Schema, name: str, *, required: bool) -> bool:
        said = schema.get(name)
        demanded = required and name == "allOf"
        if not isinstance(said, list) or not self._is_new(said, f"{name} {demanded}"):
            return True
        for branch in said:
            if isinstance(branch, dict):
                followed = self._followed(branch)
                if followed is None or not self.add(followed, required=demanded):
                    return False
        return True

    def _is_new(self, value: object, use: str = "") -> bool:
        """Whether this very object was not read before, by another reference to it."""
        known = len(self._met)
        self._met.add((id(value), use))
        return len(self._met) > known

    def _property(self, name: str, value: Any) -> None:
        known = self._properties.setdefault(name, [])
        if not known or (known[0] != value and known[-1] != value):
            known.append(value)

    def _followed(self, schema: Document) -> Schema | None:
        """`schema` over what it refers to, without a copy; None for a part of another branch."""
        layers = [schema]
        while "$ref" in layers[-1] and len(layers) < MOST_STEPS:
            pointer = layers[-1]["$ref"]
            target = pointed(self._root, pointer)
            if target is None:
                break
            if pointer.count("/") > _DEEPEST_POINTER:
                return None
            layers.append(target)
        return ChainMap(*layers)

    def result(self) -> Document:
        """The object."""
        found = {name: value for name, value in self._root.items() if name not in COMBINED}
        if self._properties:
            found["properties"] = {n: _any_of(values) for n, values in self._properties.items()}
        if self._required:
            found["required"] = list(self._required)
        return found | {"type": "object"}


def _any_of(values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    return {"anyOf": [choice for value in values for choice in _choices(value)]}


def _choices(schema: Any) -> list[Any]:
    alone = section(schema).get("anyOf") if len(section(schema)) == 1 else None
    return alone if isinstance(alone, list) else [schema]
