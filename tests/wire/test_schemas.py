"""Schemas, in the dialect of each provider."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire import schemas
from relayd.wire.losses import CannotTranslate, Losses

Schema = dict[str, Any]


def of_string(**more: object) -> Schema:
    return {"type": "object", "properties": {"a": {"type": "string", **more}}}


# --- from Google --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("legacy", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        ({"type": "TYPE_UNSPECIFIED", "title": "x"}, {"title": "x"}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "STRING", "nullable": False}, {"type": "string"}),
        (
            {"type": "STRING", "nullable": True, "enum": ["a"], "format": "enum"},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": "STRING", "nullable": True, "enum": ["a", None]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"nullable": True, "any_of": [{"type": "STRING"}]},
            {"anyOf": [{"anyOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "minItems": "1", "max_items": "2", "items": {"type": "INTEGER"}},
            {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
        ),
        ({"type": "STRING", "maxLength": "many"}, {"type": "string", "maxLength": "many"}),
        ({"propertyOrdering": ["a"], "example": 1}, {"examples": [1]}),
        ({"ref": "#/defs/A", "defs": {"A": {"type": "NUMBER"}}}, None),
        ({"type": "string", "format": "date-time", "description": "d"}, None),
    ],
)
def test_a_legacy_schema_becomes_json_schema(legacy: Schema, expected: Schema | None) -> None:
    """wire-formats, trap 129."""
    if expected is None:
        expected = legacy
    if "ref" in legacy:
        expected = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "number"}}}
    assert schemas.from_gemini(legacy) == expected


def test_a_property_may_be_called_like_a_keyword() -> None:
    legacy = {"type": "OBJECT", "properties": {"any_of": {"type": "STRING"}, "type": {}}}
    found = schemas.from_gemini(legacy)
    assert found["properties"] == {"any_of": {"type": "string"}, "type": {}}


# --- for text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "grammar", "about"),
    [
        ("", "", "The text, as it is."),
        ("lark", "start: x", "Text of this lark grammar:\nstart: x"),
        ("", "start: x", "Text of this formal grammar:\nstart: x"),
    ],
)
def test_free_text_is_the_only_input_and_says_what_it_follows(
    syntax: str, grammar: str, about: str
) -> None:
    assert schemas.of_text(syntax, grammar) == {
        "type": "object",
        "properties": {"input": {"type": "string", "description": about}},
        "required": ["input"],
    }


# --- for Google ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"const": "a"}, {"enum": ["a"], "type": "string"}),
        ({"const": True}, {"type": "boolean"}),
        ({"enum": [1, 2]}, {"enum": [1, 2], "type": "integer"}),
        ({"enum": ["a", None]}, {"enum": ["a"], "type": ["string", "null"]}),
        ({"enum": [{"a": 1}, "b"]}, {"enum": ["b"]}),
        ({"enum": "none"}, {"enum": "none"}),
        ({"type": "number", "enum": [1.5]}, {"type": "number", "enum": [1.5]}),
        ({"properties": {}}, {"type": "object", "properties": {}}),
        ({"items": {}}, {"type": "array", "items": {}}),
        ({"prefixItems": [{}]}, {"type": "array", "prefixItems": [{}]}),
        ({}, {}),
        ({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ({"$ref": "#/definitions/A"}, {"$ref": "#/$defs/A"}),
        (
            {"$ref": "#/$defs/A", "description": "x"},
            {"description": "x", "anyOf": [{"$ref": "#/$defs/A"}]},
        ),
        (
            {"type": "string", "pattern": "^a", "if": {}, "$comment": "x"},
            {"type": "string", "description": '{pattern: "^a"}'},
        ),
        (
            {
                "allOf": [
                    {"properties": {"b": {}}, "required": ["b"]},
                    {"allOf": [{"title": "t"}]},
                    True,
                ],
                "required": ["a"],
            },
            {"type": "object", "properties": {"b": {}}, "required": ["a", "b"], "title": "t"},
        ),
        ({"type": "object", "additionalProperties": False}, None),
        (
            {"properties": {"a": True, "b": False, "c": {}}},
            {"type": "object", "properties": {"a": {}, "c": {}}},
        ),
        ({"type": "array", "items": True}, {"type": "array"}),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]},
            {
                "description": '{allOf: [{"$ref":"#/$defs/B"}]}',
                "anyOf": [{"$ref": "#/$defs/A"}],
            },
        ),
        ({"not": {"const": 1}}, {"description": '{not: {"const":1}}'}),
    ],
)
def test_every_schema_form_becomes_one_that_gemini_takes(
    schema: Schema, expected: Schema | None
) -> None:
    """wire-formats, trap 128."""
    found = schemas.for_gemini({"type": "object", "properties": {"p": schema}})
    assert found["properties"]["p"] == (schema if expected is None else expected)


def test_all_of_in_itself_has_an_end() -> None:
    schema: Schema = {}
    for _ in range(200):
        schema = {"allOf": [schema]}
    assert schemas.for_gemini({"properties": {"a": schema}})


# --- for Anthropic ------------------------------------------------------------------------------


def anthropic(schema: Schema, *, lenient: bool = False, **more: bool) -> tuple[Schema, Losses]:
    losses = Losses("messages", lenient=lenient)
    found = schemas.for_anthropic(schema, "search", losses, "tools[0].parameters", **more)
    return found, losses


def test_a_root_anyof_is_flattened_for_anthropic_or_names_the_tool() -> None:
    """wire-formats, trap 142."""
    one = {"type": "object", "properties": {"kind": {"const": "a"}, "x": {}}, "required": ["x"]}
    other = {"properties": {"kind": {"const": "b"}, "x": {}}}
    found, losses = anthropic({"oneOf": [one, {"$ref": "#/$defs/B"}], "$defs": {"B": other}})
    assert found == {
        "$defs": {"B": other},
        "properties": {"kind": {"anyOf": [{"const": "a"}, {"const": "b"}]}, "x": {}},
        "type": "object",
    }
    assert losses.dropped == ("tools[0].parameters.oneOf",)
    with pytest.raises(CannotTranslate, match="`search`") as refused:
        anthropic({"anyOf": [one, {"type": "string"}]}, lenient=True)
    assert refused.value.param == "tools[0].parameters"


def test_three_branches_make_one_choice() -> None:
    branches = [{"properties": {"kind": {"const": name}}} for name in "abc"]
    found, _ = anthropic({"anyOf": branches})
    assert found["properties"]["kind"] == {"anyOf": [{"const": name} for name in "abc"]}


def test_what_all_branches_demand_is_required() -> None:
    branches = [{"required": ["a"]}, {"required": "b", "properties": ["c"]}]
    found, _ = anthropic({"allOf": branches, "properties": {"a": {}}})
    assert found == {"properties": {"a": {}}, "required": ["a"], "type": "object"}


def test_a_choice_without_end_is_refused() -> None:
    with pytest.raises(CannotTranslate, match="no one object"):
        anthropic({"anyOf": [{"title": str(i)} for i in range(1000)]})


def test_a_tool_keeps_the_keywords_that_anthropic_ignores() -> None:
    found, losses = anthropic(of_string(minLength=3))
    assert found == of_string(minLength=3)
    assert losses.dropped == ()


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"format": "uri"}, {"format": "uri"}),
        ({"format": "phone"}, {"description": '{format: "phone"}'}),
        ({"format": 7}, {"description": "{format: 7}"}),
        ({"minItems": 1}, {"minItems": 1}),
        ({"minItems": 2}, {"description": "{minItems: 2}"}),
        ({"maxLength": 9, "description": "d"}, {"description": "d\n\n{maxLength: 9}"}),
        ({"not": {"const": 1}}, {}),
        ({"oneOf": [{"const": 1}]}, {"anyOf": [{"const": 1}]}),
    ],
)
def test_a_strict_schema_has_only_what_anthropic_enforces(
    keywords: Schema, expected: Schema
) -> None:
    found, _ = anthropic(of_string(**keywords), strict=True)
    assert found == {**of_string(**expected), "additionalProperties": False}


def test_the_format_of_an_answer_may_be_a_choice() -> None:
    schema = {"anyOf": [{"type": "object"}]}
    found = schemas.for_anthropic(schema, "", Losses("messages"), "text.format", strict=True)
    assert found == {"anyOf": [{"type": "object", "additionalProperties": False}]}


# --- for OpenAI ---------------------------------------------------------------------------------


def test_a_schema_that_is_not_strict_gets_no_more_than_its_type() -> None:
    assert schemas.for_openai({"properties": {"a": {}}}, strict=False) == {
        "type": "object",
        "properties": {"a": {}},
    }


def test_a_strict_schema_is_closed_and_references_stand_alone() -> None:
    schema = of_string() | {"definitions": {"A": {"$ref": "#/definitions/B", "title": "t"}}}
    assert schemas.for_openai(schema, strict=True) == {
        **of_string(),
        "additionalProperties": False,
        "$defs": {"A": {"title": "t", "anyOf": [{"$ref": "#/$defs/B"}]}},
    }
    open_one = {"type": "object", "additionalProperties": True}
    assert schemas.for_openai(open_one, strict=True) == open_one


@pytest.mark.parametrize(
    ("schema", "takes"),
    [
        (of_string() | {"required": ["a"]}, True),
        (of_string(), False),
        (of_string() | {"required": "a"}, False),
        ({"type": "object", "additionalProperties": True}, False),
        ({"properties": {"o": of_string()}, "required": ["o"]}, False),
        ({"type": "string"}, True),
    ],
)
def test_openai_takes_a_strict_schema_whose_properties_are_all_required(
    schema: Schema, takes: bool
) -> None:
    assert schemas.takes_strict(schema) is takes
