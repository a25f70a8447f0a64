"""Walking through schemas."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.checked import DEEPEST
from relayd.wire.schema_walk import alone, closed, renamed, resolved, rooted, told, walked

Schema = dict[str, Any]


def marked(schema: Schema) -> Schema:
    return schema | {"seen": True}


def test_every_schema_inside_is_visited_and_data_is_not() -> None:
    schema: Schema = {
        "properties": {"a": {}, "b": True},
        "items": {},
        "anyOf": [{}, False],
        "enum": [{}],
        "default": {"items": {}},
        "additionalProperties": False,
    }
    seen = {"seen": True}
    assert walked(schema, marked) == {
        "properties": {"a": seen, "b": True},
        "items": seen,
        "anyOf": [seen, False],
        "enum": [{}],
        "default": {"items": {}},
        "additionalProperties": False,
        "seen": True,
    }


def test_what_lies_too_deep_stays_as_it_is() -> None:
    schema: Schema = {"bottom": True}
    for _ in range(DEEPEST + 5):
        schema = {"items": schema}
    found = walked(schema, marked)
    for _ in range(DEEPEST):
        found = found["items"]
    assert found["seen"]
    assert "seen" not in found["items"]


def test_nothing_is_changed_in_place_and_the_order_stays() -> None:
    schema: Schema = {"z": 1, "items": {"b": 1, "a": 2}, "a": 3}
    found = walked(schema, lambda each: dict(each))
    assert list(found) == ["z", "items", "a"]
    assert list(found["items"]) == ["b", "a"]
    assert found["items"] is not schema["items"]


@pytest.mark.parametrize(
    ("description", "lost", "expected"),
    [
        (None, {"pattern": "^a", "minLength": 2}, '{pattern: "^a", minLength: 2}'),
        ("A name.", {"minLength": 2}, "A name.\n\n{minLength: 2}"),
        ("A name.", {}, "A name."),
        ("A name.", {"pattern": "a" * 300}, "A name."),
    ],
)
def test_what_is_left_out_is_told_in_words(
    description: str | None, lost: Schema, expected: str
) -> None:
    schema = {} if description is None else {"description": description}
    assert told(schema, lost) == {"description": expected}


def test_older_words_become_newer_ones() -> None:
    old = {"oneOf": [{"$ref": "#/definitions/A"}], "definitions": {"A": {}}}
    assert renamed(old) == {"anyOf": [{"$ref": "#/definitions/A"}], "$defs": {"A": {}}}
    assert renamed({"$ref": "#/definitions/A"}) == {"$ref": "#/$defs/A"}
    assert renamed({"oneOf": [1], "anyOf": [2]}) == {"oneOf": [1], "anyOf": [2]}


def test_only_objects_are_closed() -> None:
    assert closed({"type": "object"}) == {"type": "object", "additionalProperties": False}
    assert closed({"properties": {}})["additionalProperties"] is False
    assert closed({"type": "string"}) == {"type": "string"}


def test_a_reference_stands_alone() -> None:
    assert alone({"$ref": "#/a", "$defs": {}}) == {"$ref": "#/a", "$defs": {}}
    assert alone({"type": "string"}) == {"type": "string"}
    assert alone({"$ref": "#/a", "description": "x", "anyOf": []}) == {
        "description": "x",
        "anyOf": [{"$ref": "#/a"}],
    }


def test_a_root_says_its_type() -> None:
    assert rooted({}) == {"type": "object"}
    assert rooted({"type": None, "properties": {}}) == {"type": "object", "properties": {}}
    assert rooted({"type": "array"}) == {"type": "array"}
    assert rooted({"anyOf": []}) == {"anyOf": []}


def test_a_reference_at_the_root_is_followed() -> None:
    schema = {"$ref": "#/$defs/A~1b", "$defs": {"A/b": {"type": "object", "title": "A"}}}
    assert rooted(schema) == {"type": "object", "title": "A", "$defs": schema["$defs"]}


@pytest.mark.parametrize(
    "pointer",
    [7, "https://x/y", "#/$defs/none", "#/$defs/A/b/c", "#/type", "#/$defs/" + "A/" * 500],
)
def test_a_reference_to_nothing_is_left_alone(pointer: object) -> None:
    schema = {"$ref": pointer, "type": "x", "$defs": {"A": {"b": 1}}}
    assert resolved(schema, schema) == schema


def test_a_reference_to_itself_has_an_end() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert resolved(schema, schema)["$ref"] == "#/$defs/A"
