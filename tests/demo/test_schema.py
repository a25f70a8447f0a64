"""Schemas are satisfied by small documents, and never for ever."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.demo.schema import satisfy


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({}, {}),
        ({"type": "string", "minLength": 6}, "demoxx"),
        ({"type": "string", "maxLength": 2}, "de"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "pattern": r"^\d{3}$"}, "123"),
        ({"type": ["null", "integer"], "minimum": 7}, 7),
        ({"type": "integer", "exclusiveMinimum": 7, "multipleOf": 5}, 10),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "minimum": 2.5}, 2.5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "maximum": 0.25}, 0.25),
        ({"type": "number", "exclusiveMaximum": 0}, -1.0),
        ({"type": "boolean"}, True),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": None}, None),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}]}, {"a": 1}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": "demo"}),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "demo"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"const": 3}}}, 3),
        ({"$ref": "#/nowhere"}, {}),
    ],
)
def test_schemas_are_satisfied(schema: dict[str, Any], document: object) -> None:
    assert satisfy(schema) == document


def test_recursive_schemas_end() -> None:
    node: dict[str, Any] = {"properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert satisfy(node)
    assert satisfy({"$ref": "#"}) == {}
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert satisfy(tree)["kids"]
