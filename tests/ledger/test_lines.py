"""The journal's lines: what goes in comes out, what is damaged is known as such."""

from __future__ import annotations

import dataclasses
import math
from typing import Any
from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.ledger.lines import (
    ENTRY_CELLS,
    LONGEST,
    USAGE_CELLS,
    Opening,
    Unreadable,
    closing_line,
    opening_line,
    read_line,
)
from relayd.model import Entry, Holding, Usage
from tests.support.journals import entry, opening

COUNTS = st.none() | st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
SECONDS = st.floats(0, 4e9)
USAGES = st.builds(
    Usage,
    **{name: COUNTS for name in USAGE_CELLS if name != "server_tools"},
    server_tools=st.dictionaries(TEXTS, st.integers(0, 1000), max_size=2),
)
AMOUNTS = st.integers(0, 2**62)
HOLDINGS = st.builds(
    Holding,
    *[TEXTS, AMOUNTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, SECONDS],
    state=st.sampled_from(["settled", "owed", "gone"]),
    id=TEXTS,
    **dict.fromkeys(("key_id", "reserved", "paid", "least"), AMOUNTS),
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXTS,
    "int": st.integers(-(2**62), 2**62),
    "float": SECONDS,
    "bool": st.booleans(),
    "int | None": COUNTS,
    "float | None": st.none() | SECONDS,
    "UsageSource": st.sampled_from(["reported", "partial", "interrupted"]),
    "Usage": USAGES,
    "Holding | None": st.none() | HOLDINGS,
}
ENTRIES = st.builds(Entry, **{f.name: KINDS[str(f.type)] for f in dataclasses.fields(Entry)})
# What nobody should send, and somebody will.
WILD_TEXTS = st.text(max_size=3000) | st.just("\x00" * 2000) | st.just("\ud800")
WILD_COUNTS = st.none() | st.integers() | st.just(10**30)
WILD_ENTRIES = st.builds(
    Entry,
    request_id=st.just("req_019acfd3b3c5d9a1c2b3e4f50617"),
    started_at=SECONDS,
    model_asked=WILD_TEXTS,
    model_used=WILD_TEXTS,
    error_code=WILD_TEXTS,
    upstream_request_id=WILD_TEXTS,
    bytes_in=st.integers(0, 2**70),
    cost=st.integers(-(2**80), 2**80),
    usage=st.builds(
        Usage,
        in_uncached=WILD_COUNTS,
        out_total=WILD_COUNTS,
        server_tools=st.dictionaries(WILD_TEXTS, WILD_COUNTS, max_size=5),
    ),
)


@given(ENTRIES)
def test_a_row_comes_back_as_it_was(row: Entry) -> None:
    line = closing_line(row)
    if len(line) < LONGEST - 100:  # else it may have been cut
        assert read_line(line[:-1]) == row


def test_every_field_of_a_row_has_its_cell() -> None:
    """A field that is added to a row and not to the line would be lost in a crash."""
    own = {f.name for f in dataclasses.fields(Entry)} - {"usage", "holding"}
    assert set(ENTRY_CELLS) == own and len(ENTRY_CELLS) == len(own)
    counts = [f.name for f in dataclasses.fields(Usage)]
    assert set(USAGE_CELLS) == set(counts) and len(USAGE_CELLS) == len(counts)


def test_a_row_of_the_largest_counts_fits_into_a_line_with_all_of_them() -> None:
    counts: dict[str, Any] = {name: 2**63 - 1 for name in USAGE_CELLS if name != "server_tools"}
    many = {f"tool_{n}": 2**60 for n in range(40)}
    row = dataclasses.replace(
        entry(1), usage=Usage(**counts, server_tools=many), error_code="x" * 900
    )
    read = read_line(closing_line(row)[:-1])
    assert isinstance(read, Entry) and read.usage == Usage(**counts)


def test_an_opening_comes_back_as_it_was() -> None:
    assert read_line(opening_line(opening(3))[:-1]) == opening(3)


def test_an_opening_alone_makes_an_interrupted_row() -> None:
    row = opening(3, cost=99).interrupted()
    assert (row.outcome, row.usage_source, row.status) == ("interrupted", "interrupted", 0)
    assert (row.usage.in_uncached, row.usage.out_total, row.cost) == (50, None, 99)
    assert (row.key_id, row.account_id, row.day, row.model_asked) == (1, 2, 20261121, "m")
    assert (row.request_id, row.started_at, row.stream) == ("req_3", 1003.0, True)


@given(WILD_ENTRIES)
def test_no_row_is_too_wild_for_a_line_or_too_long(row: Entry) -> None:
    line = closing_line(row)
    assert len(line) <= LONGEST and line.endswith(b"\n") and line.count(b"\n") == 1
    read = read_line(line[:-1])
    assert isinstance(read, Entry) and read.request_id == row.request_id


def test_what_is_cut_is_texts_and_nothing_that_is_billed() -> None:
    row = dataclasses.replace(entry(1), model_asked="é" * 5000, error_code="\x01" * 5000)
    read = read_line(closing_line(row)[:-1])
    assert isinstance(read, Entry)
    assert row.model_asked.startswith(read.model_asked) and read.model_asked
    assert (read.cost, read.day, read.usage.out_total) == (row.cost, row.day, 9)


def test_an_opening_of_a_long_model_name_is_cut_as_well() -> None:
    for name in ("m" * 5000, "\ud800"):
        line = opening_line(opening(1)._replace(model=name))
        read = read_line(line[:-1])
        assert isinstance(read, Opening) and len(line) <= LONGEST
        assert read._replace(model="") == opening(1)._replace(model="")


@pytest.mark.parametrize("line", [opening_line(opening(1)), closing_line(entry(1))])
def test_a_line_torn_or_flipped_anywhere_is_known_as_damaged(line: bytes) -> None:
    for cut in range(len(line) - 1):
        with pytest.raises(Unreadable):
            read_line(line[:cut])
    for place in range(len(line) - 1):
        flipped = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 : -1]
        with pytest.raises(Unreadable):
            read_line(flipped)


def signed(document: object) -> bytes:
    text = orjson.dumps(document)
    return b"%08x %b" % (crc32(text), text)


@pytest.mark.parametrize(
    "document",
    [
        ["c9", [], []],
        ["c1", ["req"] * (len(ENTRY_CELLS) + 1), []],
        ["c1", ["req", 1.0], [0] * (len(USAGE_CELLS) + 1)],
        ["c1", ["req"]],
        ["o1", ["req"]],
        [],
        {},
        7,
        [["o1"]],
    ],
)
def test_what_a_newer_relayd_wrote_is_not_guessed_at(document: object) -> None:
    with pytest.raises(Unreadable):
        read_line(signed(document))


def test_a_line_of_an_older_relayd_reads_with_defaults() -> None:
    cells = ["req_1", 5.0, 1, 2]
    assert read_line(signed(["c1", cells, [3]])) == Entry(
        "req_1", 5.0, 1, 2, usage=Usage(in_uncached=3)
    )


def test_what_is_no_number_does_not_stop_a_line() -> None:
    row = dataclasses.replace(entry(1), duration=math.nan)
    assert isinstance(read_line(closing_line(row)[:-1]), Entry)


def test_a_line_that_has_to_be_cut_leaves_its_holding_out() -> None:
    """Half a name would lead to nobody."""
    row = entry(1)
    row.holding = Holding("d" * 32, 1, "up", "key", "site", "m" * 600, "n" * 600, 1.0)
    line = closing_line(row)
    assert len(line) <= LONGEST
    found = read_line(line[:-1])
    assert isinstance(found, Entry)
    assert found.request_id == row.request_id and found.holding is None
