"""Spans: exactly the bytes of one value, in any JSON that orjson accepts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire import splice
from relayd.wire.splice import Edit

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5), st.booleans())
def test_members_are_where_the_scanner_says(value: dict[str, Any], indented: bool) -> None:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)
    found = {m.key: orjson.loads(body[m.start : m.end]) for m in splice.members(body, 0)}
    assert found == value
    for member in splice.members(body, 0):
        assert body[member.key_start : member.key_start + 1] == b'"'


@given(st.lists(values, max_size=5), st.booleans())
def test_elements_are_where_the_scanner_says(value: list[Any], indented: bool) -> None:
    body = b" " + orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)
    found = [orjson.loads(body[span.start : span.end]) for span in splice.elements(body, 1)]
    assert found == value


def test_nesting_deeper_than_the_pattern_is_followed() -> None:
    deep = b"[" * 20 + b'"]}"' + b"]" * 20
    body = b'{"a":' + deep + b',"b":{"c":{"d":{"e":{"f":{"g":[{}]}}}}},"model":"m"}'
    assert [m.key for m in splice.members(body, 0)] == ["a", "b", "model"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a"}',
        b' {\n "model" :\t"a" , "x":1}',
        b'{"messages":[{"content":"\\"model\\":\\"z\\""}],"model":"a"}',
        b'{"x":"say \\"model","model":"a","role":"model"}',
        b'{"tools":[{"model":"inner"}],"model":"a"}',
        b'{"tools":[{"model":{"type":"string"}}],"model":"a"}',
        b'{"mod\\u0065l":"a"}',
        b'{"a\\"model":"b","model":"a"}',
    ],
)
def test_the_top_level_model_is_found(body: bytes) -> None:
    assert [body[s.start : s.end] for s in splice.model_spans(body)] == [b'"a"']


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"b","model":"a"}',
        b'{"model":"b","mod\\u0065l":"a"}',
        b'{"model":1,"model":"x","model":"a"}',
    ],
)
def test_a_duplicate_model_cannot_hide(body: bytes) -> None:
    """A parser that takes the first key, or the last: the upstream sees one name either way."""
    edits = [Edit(s.start, s.end) for s in splice.model_spans(body)]
    renamed = b"".join(splice.apply(body, edits, "z"))
    assert set(orjson.loads(b"[" + renamed[1:-1].replace(b":", b",") + b"]")) == {"model", "z"}


def test_edits_leave_every_other_byte_alone() -> None:
    body = b'{ "model" : "a", "n": 1.0, "big": 123456789012345678901, "n": 2 }'
    pieces = splice.apply(body, [Edit(12, 15), Edit(1, 1, b'"x":1,')], 'b"é')
    assert b"".join(pieces) == body.replace(b'"a"', '"b\\"é"'.encode()).replace(b"{", b'{"x":1,', 1)
    assert isinstance(pieces[0], memoryview)


def test_an_edit_that_changes_nothing_gives_the_same_object() -> None:
    body = b'{"model":"a"}'
    assert splice.apply(body, [Edit(9, 12)], "a")[0] is body
    assert splice.apply(body, [], "b")[0] is body


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        splice.value_end(b'"open', 0)
