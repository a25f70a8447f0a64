"""Ids are derived: the same every time, and such that every format takes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.model import FormatName
from relayd.wire import ids

FORMATS: list[FormatName] = ["chat", "responses", "messages", "gemini"]


@pytest.mark.parametrize(
    ("original", "to", "fits"),
    [
        ("call_1", "messages", True),
        ("toolu_01AbC", "chat", True),
        ("call.1:x", "chat", True),
        ("call.1:x", "messages", False),
        ("x" * 64, "responses", True),
        ("x" * 65, "responses", False),
        ("x" * 65, "messages", True),
        ("a b", "chat", False),
        ("a b", "gemini", True),
        ("", "gemini", False),
        ("call_1\n", "chat", False),
    ],
)
def test_an_id_that_fits_stays(original: str, to: FormatName, fits: bool) -> None:
    assert (ids.call_id(original, to) == original) is fits


@given(st.text(), st.sampled_from(FORMATS))
def test_any_other_becomes_one_that_every_format_takes(original: str, to: FormatName) -> None:
    found = ids.call_id(original, to)
    assert found == ids.call_id(original, to)
    if found != original:
        assert all(ids.call_id(found, each) == found for each in FORMATS)


def test_ids_of_items_belong_to_what_they_are_made_of() -> None:
    assert ids.item_id("fc_", "call_1") == ids.item_id("fc_", "call_1")
    assert ids.item_id("fc_", "call_1") != ids.item_id("fc_", "call_2")
    assert len(ids.item_id("fc_", "x" * 1000)) <= 64


def test_minted_ids_differ_within_a_reply_and_between_replies() -> None:
    minted = {ids.minted("msg_", request, number) for request in "ab" for number in range(3)}
    assert len(minted) == 6
    assert ids.minted("msg_", "a", 1) in minted
