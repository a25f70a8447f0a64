"""Reading a client's document: a wrong member is a 400 that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadCall
from relayd.wire import checked
from relayd.wire.parts import Document, Extra

READERS: dict[str, Callable[[Document, str, str], object]] = {
    "string": checked.string,
    "whole": checked.whole,
    "number": checked.number,
    "flag": checked.flag,
    "section": checked.section,
}


def error(read: Any, *arguments: Any, **options: Any) -> BadCall:
    with pytest.raises(BadCall) as caught:
        read(*arguments, **options)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("name", READERS)
def test_null_is_the_same_as_absent(name: str) -> None:
    assert READERS[name]({}, "a", "") is READERS[name]({"a": None}, "a", "") is None


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("string", "", ""),
        ("whole", 5, 5),
        ("whole", 5.0, 5),
        ("number", 0.5, 0.5),
        ("number", 2, 2),
        ("flag", False, False),
        ("section", {}, {}),
    ],
)
def test_a_value_of_its_type_is_read(name: str, value: object, read: object) -> None:
    assert READERS[name]({"a": value}, "a", "") == read


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("string", (1, True, [], {}), "a string"),
        ("whole", ("5", 5.5, True, float("inf"), []), "a whole number"),
        ("number", ("5", True, []), "a number"),
        ("flag", (0, "true", []), "true or false"),
        ("section", ([], "x", 1), "an object"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_path(
    name: str, values: tuple[object, ...], expected: str
) -> None:
    for value in values:
        found = error(READERS[name], {"a": value}, "a", "messages[0]")
        assert found.message == f"`messages[0].a` must be {expected}."
        assert (found.param, found.code) == ("messages[0].a", "invalid_type")


def test_a_number_may_have_a_least() -> None:
    assert checked.whole({"a": -1}, "a", least=-1) == -1
    assert error(checked.whole, {"a": -1}, "a").message == (
        f"`a` must be between 0 and {checked.LARGEST_NUMBER}."
    )


def test_a_whole_number_is_one_that_can_be_written_again() -> None:
    assert checked.whole({"a": 2**63 - 1}, "a") == 2**63 - 1
    for value in (2**63, 1e308, -1e308):
        assert error(checked.whole, {"a": value}, "a").param == "a"


def test_what_has_to_be_there_is_named_when_it_is_not() -> None:
    assert checked.needed({"a": ""}, "a") == ""
    for document in ({}, {"a": None}):
        found = error(checked.needed, document, "a", "tools[1]")
        assert (found.param, found.code) == ("tools[1].a", "missing_required_parameter")


def test_lists_are_read_with_the_path_of_each_item() -> None:
    assert checked.listed({}, "a") == checked.listed({"a": None}, "a") == []
    assert checked.strings({"a": ["x", "y"]}, "a") == ["x", "y"]
    assert list(checked.sections({"a": [{}, {"b": 1}]}, "a", "c")) == [
        ("c.a[0]", {}),
        ("c.a[1]", {"b": 1}),
    ]
    assert error(checked.listed, {"a": {}}, "a").message == "`a` must be a list."
    assert error(checked.strings, {"a": ["x", 1]}, "a").param == "a[1]"
    assert error(lambda: list(checked.sections({"a": [{}, 1]}, "a"))).param == "a[1]"


def test_a_list_is_bounded() -> None:
    found = error(checked.listed, {"a": [1] * (checked.MOST_ITEMS + 1)}, "a")

    assert (found.param, found.code) == ("a", "array_above_max_length")


# --- what nobody asked for ------------------------------------------------------------------------


def test_what_nobody_asked_for_is_kept_with_what_its_loss_means() -> None:
    document = {"known": 1, "listed": 2, "odd": 3, "null": None}

    assert checked.rest(document, {"known"}, {"listed": "drop"}) == {
        "listed": Extra(2, "drop"),
        "odd": Extra(3, "lenient"),
    }
    assert checked.rest({"odd": 3}, (), {}, "refuse") == {"odd": Extra(3, "refuse")}


@pytest.mark.parametrize("nothing", [[], {}, "", False])
def test_nothing_is_lost_where_nothing_is_said(nothing: object) -> None:
    assert checked.rest({"odd": nothing}, (), {"odd": "refuse"}) == {
        "odd": Extra(nothing, "silent")
    }
    assert checked.rest({"odd": 0}, (), {})["odd"].loss == "lenient", "a number says something"


def test_it_is_written_again_where_the_document_does_not_say_it_itself() -> None:
    extra = {"a": Extra(1, "drop"), "b": Extra(2, "drop")}

    assert checked.written(extra, {"b": 3}) == {"b": 3, "a": 1}


# --- depth ----------------------------------------------------------------------------------------


def nested(depth: int, *, lists: bool) -> Document:
    """An object that is nested so deep, in objects or in lists."""
    value: Any = [] if lists else {}
    for _ in range(depth - 2):
        value = [value] if lists else {"a": value}
    return {"a": value}


def test_depth_and_count_are_bounded() -> None:
    """wire-formats, trap 160."""
    for lists in (True, False):
        at_most = nested(checked.DEEPEST_DOCUMENT, lists=lists)
        assert checked.shallow(at_most) is at_most
        too_deep = nested(checked.DEEPEST_DOCUMENT + 1, lists=lists)
        assert error(checked.shallow, too_deep).message == "The request body is nested too deep."
        assert not checked.is_shallow(nested(100_000, lists=lists)), "it does not recurse"


def test_a_call_has_arguments_where_they_are_an_object_of_a_sane_depth() -> None:
    assert checked.json_object('{"a":[1]}') == {"a": [1]}
    for text in ("", "[]", "1", "{", '{"a":NaN}', '{"a":' + "[" * 300 + "]" * 300 + "}"):
        assert checked.json_object(text) is None


@given(st.text())
def test_any_text_is_an_object_or_it_is_none(text: str) -> None:
    assert isinstance(checked.json_object(text), dict | None)
