"""Parameter edits: the document is what a plain edit gives, and other bytes stay as they were."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.model import Edits
from relayd.wire.params import edited

names = st.sampled_from(["a", "b", "c", "é", "m\n"])
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
documents = st.dictionaries(names, values, max_size=5)
settings = st.lists(st.tuples(paths, values), max_size=3)


def edit(body: bytes, edits: Edits) -> bytes:
    return b"".join(edited([body], edits))


def written(pairs: list[tuple[str, Any]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((path, orjson.dumps(value)) for path, value in pairs)


def parent_of(document: dict[str, Any], path: str, *, make: bool) -> tuple[Any, str]:
    """The object that holds the end of `path`, or None where there is none."""
    *parents, last = path.split(".")
    holder: Any = document
    for key in parents:
        if make:
            holder = holder.setdefault(key, {})
        else:
            holder = holder.get(key)
        if not isinstance(holder, dict):
            return None, last
    return holder, last


def plainly(
    document: dict[str, Any],
    removed: list[str],
    set_: list[tuple[str, Any]],
    default: list[tuple[str, Any]],
) -> dict[str, Any]:
    """The same edit as anyone would write it on the parsed document."""
    result: dict[str, Any] = orjson.loads(orjson.dumps(document))
    for path in removed:
        holder, last = parent_of(result, path, make=False)
        if holder is not None:
            holder.pop(last, None)
    for path, value in set_:
        holder, last = parent_of(result, path, make=True)
        if holder is not None:
            holder[last] = orjson.loads(orjson.dumps(value))
    for path, value in default:
        holder, last = parent_of(result, path, make=True)
        if holder is not None:
            holder.setdefault(last, orjson.loads(orjson.dumps(value)))
    return result


@given(documents, st.lists(paths, max_size=3), settings, settings, st.booleans())
def test_the_document_is_the_one_that_a_plain_edit_gives(
    document: dict[str, Any],
    removed: list[str],
    set_: list[tuple[str, Any]],
    default: list[tuple[str, Any]],
    indented: bool,
) -> None:
    body = b" " + orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else None)
    edits = Edits(
        set_params=written(set_), default_params=written(default), remove_params=tuple(removed)
    )
    result = edit(body, edits)
    assert orjson.loads(result) == plainly(document, removed, set_, default)
    for cut in (1, len(body) // 2):
        pieces: list[bytes | memoryview] = [memoryview(body)[:cut], body[cut:]]
        assert b"".join(edited(pieces, edits)) == result


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"t":1.0,"n":18446744073709551616}', b'{"t":0,"n":18446744073709551616}'),
        (b'{ "x" : 1e2 }', b'{"t":0, "x" : 1e2 }'),
        (b"{}", b'{"t":0}'),
        (b"{ \n}", b'{"t":0 \n}'),
        (b'{"t":0}', b'{"t":0}'),
        (b'{"t":1,"x":2,"t":{"a":[]}}', b'{"t":0,"x":2,"t":0}'),
        (b'{"\\u0074":1}', b'{"\\u0074":0}'),
    ],
)
def test_what_is_set_is_set_and_every_other_byte_stays(body: bytes, expected: bytes) -> None:
    assert edit(body, Edits(set_params=(("t", b"0"),))) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"r":1}', b"{}"),
        (b'{ "r" : 1 }', b"{  }"),
        (b'{"r":1, "x":1.0}', b'{"x":1.0}'),
        (b'{"x":1.0 , "r":1}', b'{"x":1.0 }'),
        (b'{"x":1, "r":1, "s":2, "r":3 }', b'{"x":1, "s":2 }'),
        (b'{"r":1,"r":2,"x":1,"r":3,"y":2,"r":4,"r":5}', b'{"x":1,"y":2}'),
        (b'{"r":1,"\\u0072":[2]}', b"{}"),
        (b'{"x":{"r":1}}', b'{"x":{"r":1}}'),
    ],
)
def test_what_is_removed_takes_one_comma_along(body: bytes, expected: bytes) -> None:
    assert edit(body, Edits(remove_params=("r",))) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"x":1}', b'{"g":{"t":0},"x":1}'),
        (b'{"g":{"k":1.0}}', b'{"g":{"t":0,"k":1.0}}'),
        (b'{"g":{"t":7}}', b'{"g":{"t":7}}'),
        (b'{"g":{"t":null}}', b'{"g":{"t":null}}'),
        (b'{"g":[1]}', b'{"g":[1]}'),
        (b'{"g":null}', b'{"g":null}'),
        (b'{"g":{"t":1},"g":{ }}', b'{"g":{"t":1},"g":{"t":0 }}'),
    ],
)
def test_a_default_fills_a_gap_and_never_breaks_into_what_is_no_object(
    body: bytes, expected: bytes
) -> None:
    assert edit(body, Edits(default_params=(("g.t", b"0"),))) == expected


@pytest.mark.parametrize(
    "other",
    [
        b'"x":{"t":1}',
        b'"x":[{"t" : 1}]',
        b'"x":"\\"t\\":1"',
        b'"say \\"t":1',
        b'"x":["t","t"]',
        b'"x":"t"',
        b'"x":"\\u0041"',
        b'"x":[' + b'"t",' * 2000 + b'"t"]',
    ],
)
@pytest.mark.parametrize("own", [b'"t":9', b'"t" :9', b'"\\u0074":9'])
def test_only_the_objects_own_key_is_meant_however_others_look(own: bytes, other: bytes) -> None:
    changed = own.replace(b"9", b"0")
    for body in (b"{" + own + b"," + other + b"}", b"{" + other + b"," + own + b"}"):
        assert edit(body, Edits(set_params=(("t", b"0"),))) == body.replace(own, changed)
        assert edit(body, Edits(remove_params=("t",))) == b"{" + other + b"}"
    alone = b"{" + other + b"}"
    assert edit(alone, Edits(set_params=(("t", b"0"),))) == b'{"t":0,' + other + b"}"
    assert edit(alone, Edits(remove_params=("t",))) == alone


def test_a_key_that_json_may_spell_in_many_ways_is_found() -> None:
    for key, spelled in (("a/b", b'"a\\/b"'), ("中", b'"\\u4e2d"'), ('"', b'"\\""')):
        assert edit(b"{" + spelled + b":1}", Edits(remove_params=(key,))) == b"{}"


def test_a_removal_makes_no_parents() -> None:
    assert edit(b'{"x":1}', Edits(remove_params=("g.t", "h"))) == b'{"x":1}'


def test_removals_come_first_then_what_is_set_then_defaults() -> None:
    edits = Edits(
        set_params=(("a", b"1"), ("g", b"{}"), ("g.x", b"2")),
        default_params=(("a", b"3"), ("b", b"4")),
        remove_params=("b", "g"),
    )
    assert edit(b'{"b":0,"g":{"old":1}}', edits) == b'{"a":1,"b":4,"g":{"x":2}}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"r":1}', b'{"t":0}'),
        (b'{ "r":1, "r":2 }', b'{"t":0  }'),
        (b'{"r":1,"x":1.0}', b'{"t":0,"x":1.0}'),
        (b'{"x":1.0,"r":1}', b'{"t":0,"x":1.0}'),
    ],
)
def test_what_is_added_has_a_comma_only_before_what_is_left(body: bytes, expected: bytes) -> None:
    assert edit(body, Edits(set_params=(("t", b"0"),), remove_params=("r",))) == expected


def test_what_is_added_comes_in_the_order_of_the_configuration() -> None:
    edits = Edits(set_params=tuple((name, b"1") for name in "zyxwv"))
    assert edit(b"{}", edits) == b'{"z":1,"y":1,"x":1,"w":1,"v":1}'


def test_a_body_that_needs_no_change_goes_out_as_the_same_object() -> None:
    body = b'{"t":0}'
    assert edited([body], Edits(set_params=(("t", b"0"),)))[0] is body
    assert edited([memoryview(body)], Edits(remove_params=("x",))) == [body]


def test_a_large_prompt_is_not_copied() -> None:
    body = b'{"messages":["' + b"x" * 100_000 + b'"],"t":1}'
    pieces = edited([body], Edits(set_params=(("t", b"0"),)))
    assert isinstance(pieces[0], memoryview) and pieces[0].obj is body
