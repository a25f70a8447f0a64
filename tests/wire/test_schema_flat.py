"""Schemas that are made of several."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire import schema_flat
from relayd.wire.schema_flat import flattened, joined

Schema = dict[str, Any]


class Counting(dict[str, Any]):
    """An object that counts how often it is read through."""

    reads = 0

    def items(self) -> Any:
        self.reads += 1
        return super().items()

    def __or__(self, other: Any) -> Any:
        self.reads += 1
        return super().__or__(other)


# --- allOf --------------------------------------------------------------------------------------


def test_joined_schemas_are_one_and_the_first_word_counts() -> None:
    inner = {"allOf": [{"title": "inner", "properties": {"c": {}}}], "properties": {"b": 2}}
    schema = {
        "title": "outer",
        "properties": {"a": 1},
        "required": ["a"],
        "allOf": [inner, {"properties": {"a": 9, "d": {}}, "required": ["d", "a"]}, True],
    }
    assert joined(schema) == {
        "title": "outer",
        "properties": {"a": 1, "b": 2, "c": {}, "d": {}},
        "required": ["a", "d"],
    }
    assert schema["properties"] == {"a": 1}


def test_one_reference_stays_and_the_others_are_not_forgotten() -> None:
    one, other = {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}
    assert joined({"allOf": [one, {"title": "t"}]}) == one | {"title": "t"}
    assert joined({"allOf": [one, other]}) == one | {"allOf": [other]}
    assert joined(one | {"allOf": [other]}) == one | {"allOf": [other]}


def test_what_is_joined_in_itself_without_end_has_one() -> None:
    schema: Schema = {"title": "bottom"}
    for _ in range(200):
        schema = {"allOf": [schema]}
    assert joined(schema) == {}


def test_joining_takes_no_longer_per_branch_however_many_there_are() -> None:
    """What was joined is not copied for the next branch: it grows."""
    branches = [{"properties": {f"p{i}": i}, "required": [f"p{i}"]} for i in range(20_000)]
    found = joined({"allOf": branches})
    assert len(found["properties"]) == len(found["required"]) == 20_000


# --- a choice -----------------------------------------------------------------------------------


def test_what_many_branches_refer_to_is_read_once() -> None:
    """wire-formats, trap 142: flattening a choice must not multiply what its references name."""
    properties = Counting({f"p{i}": {} for i in range(100)})
    schema = {
        "$defs": {"A": {"properties": properties, "required": ["p1"]}},
        "allOf": [{"$ref": "#/$defs/A", "title": str(i)} for i in range(150)],
    }
    found = flattened(schema)
    assert found is not None
    assert len(found["properties"]) == 100
    assert found["required"] == ["p1"]
    assert properties.reads == 1


def test_a_long_chain_of_references_is_followed_without_copies() -> None:
    names = [f"d{i}" for i in range(10)]
    links = {name: Counting({"$ref": f"#/$defs/d{i + 1}"}) for i, name in enumerate(names)}
    links["d10"] = Counting({"properties": {"end": {}}})
    found = flattened({"$defs": links, "anyOf": [{"$ref": "#/$defs/d0"}]})
    assert found is not None
    assert found["properties"] == {"end": {}}
    assert [link.reads for link in links.values()] == [0] * 11


def test_a_choice_that_refers_to_itself_is_read_once() -> None:
    again = {"$ref": "#/$defs/A"}
    schema = {
        "anyOf": [{"properties": {"a": {}}}, again],
        "$defs": {"A": {"anyOf": [again, {"anyOf": [again, again]}]}},
    }
    found = flattened(schema)
    assert found == {
        "type": "object",
        "properties": {"a": {}},
        "$defs": schema["$defs"],
    }


def test_a_reference_to_nothing_is_an_object_of_any_kind() -> None:
    assert flattened({"anyOf": [{"$ref": "#/$defs/none"}]}) == {"type": "object"}


def test_a_reference_that_leads_to_itself_has_an_end() -> None:
    schema = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "anyOf": [{"$ref": "#/$defs/A"}]}
    assert flattened(schema) == {"type": "object", "$defs": schema["$defs"]}


@pytest.mark.parametrize(
    "branch",
    [
        {"type": "string"},
        {"anyOf": [{"type": "array"}]},
        {"$ref": "#/$defs/A/properties/x"},  # it would be written twice
    ],
)
def test_what_is_no_one_object_is_not_flattened(branch: Schema) -> None:
    inside = {"A": {"properties": {"x": {"type": "object"}}}}
    assert flattened({"$defs": inside, "anyOf": [branch]}) is None


def test_a_choice_has_so_many_branches() -> None:
    most = schema_flat.MOST_BRANCHES - 1  # the root is one
    assert flattened({"anyOf": [{}] * most}) == {"type": "object"}
    assert flattened({"anyOf": [{}] * (most + 1)}) is None


def test_a_value_that_was_said_already_is_said_once() -> None:
    kinds = ["a", "b", "b", "a"]
    found = flattened({"oneOf": [{"properties": {"k": {"const": kind}}} for kind in kinds]})
    assert found is not None
    assert found["properties"] == {"k": {"anyOf": [{"const": "a"}, {"const": "b"}]}}


def test_choices_inside_of_a_choice_are_one() -> None:
    inner = {"anyOf": [{"const": 1}, {"const": 2}]}
    branches = [{"properties": {"k": inner}}, {"properties": {"k": True}}]
    found = flattened({"anyOf": [*branches, "junk"], "oneOf": "junk"})
    assert found is not None
    assert found["properties"] == {"k": {"anyOf": [{"const": 1}, {"const": 2}, True]}}


def test_it_says_how_far_it_is() -> None:
    flat = schema_flat._Flat({})
    flat.add({"properties": {"a": {}}}, required=True)
    assert repr(flat) == "<_Flat 1 properties, 199 branches left>"
