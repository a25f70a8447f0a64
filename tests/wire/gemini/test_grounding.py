"""Sources of an answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from relayd.wire.events import Cite
from relayd.wire.gemini import grounding
from relayd.wire.gemini.grounding import Said
from relayd.wire.parts import Citation

CHUNKS = [
    {"web": {"uri": "https://e.org/1", "title": "One"}},
    {"retrievedContext": {"title": "Two"}},
]


def cited(text: str, segment: Any, chunks: Any = CHUNKS, indices: Any = (0,)) -> list[Citation]:
    said = Said()
    for letter in text:
        said.add(letter)
    support = {"segment": segment, "groundingChunkIndices": list(indices)}
    found = said.cited(7, {"groundingSupports": [support], "groundingChunks": chunks})
    citations = []
    for event in found:
        assert isinstance(event, Cite)
        assert event.block == 7
        citations.append(event.citation)
    return citations


def test_places_in_bytes_become_places_in_characters() -> None:
    segment = {"startIndex": 3, "endIndex": 9, "text": "wörld"}
    assert cited("ö wörld", segment) == [
        Citation("https://e.org/1", "One", "wörld", start=2, end=7),
    ]


def test_each_source_is_a_citation_of_its_own() -> None:
    found = cited("abc", {"endIndex": 1}, indices=(0, 1, 2, "x", -1))
    assert [(each.url, each.title) for each in found] == [("https://e.org/1", "One"), ("", "Two")]
    assert (found[0].start, found[0].end) == (0, 1)


@pytest.mark.parametrize(
    "segment",
    [
        {},
        None,
        {"startIndex": "1", "endIndex": 2},
        {"startIndex": 2, "endIndex": 1},
        {"startIndex": -1, "endIndex": 1},
        {"endIndex": 99},
        {"endIndex": 2, "text": "zz"},
    ],
)
def test_a_place_that_is_not_there_is_unknown(segment: Any) -> None:
    [citation] = cited("abc", segment)
    assert (citation.start, citation.end) == (None, None)


@pytest.mark.parametrize("indices", [None, 7, {"a": 1}])
def test_garbage_is_no_source(indices: Any) -> None:
    support = {"groundingChunkIndices": indices}
    assert not list(Said().cited(0, {"groundingSupports": [support]}))


def test_a_text_that_is_too_long_has_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounding, "LONGEST", 2)
    [citation] = cited("abc", {"endIndex": 1})
    assert citation.start is None


def test_the_number_of_citations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounding, "MOST", 3)
    assert len(cited("abc", {}, indices=[0] * 9)) == 3


def test_the_number_of_citations_is_that_of_a_text_and_not_of_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grounding, "MOST", 3)
    said = Said()
    told = {"groundingSupports": [{"groundingChunkIndices": [0, 1]}], "groundingChunks": CHUNKS}
    assert [len(list(said.cited(0, told))) for _ in range(3)] == [2, 1, 0]


def test_places_are_found_in_a_long_text_that_goes_on() -> None:
    said = Said()
    for number in range(3):
        said.add("öx" * 5000)
        start = 15_000 * number + 13_500
        segment = {"startIndex": start, "endIndex": start + 3, "text": "öx"}
        support = {"segment": segment, "groundingChunkIndices": [0]}
        [found] = said.cited(0, {"groundingSupports": [support], "groundingChunks": CHUNKS})
        assert isinstance(found, Cite)
        assert found.citation.start == 10_000 * number + 9000
        assert found.citation.end == found.citation.start + 2


def test_many_places_in_a_long_text_cost_no_more_than_their_number() -> None:
    """An upstream must not stop the loop: two million characters, a thousand places."""
    said = Said()
    said.add("é" * 2_000_000)
    support = {"segment": {"endIndex": 4_000_000}, "groundingChunkIndices": [0]}
    bare = {"segment": {"endIndex": 4_000_000}}
    told = {"groundingSupports": [support, bare] * 1000, "groundingChunks": CHUNKS}
    before = time.process_time()
    assert len(list(said.cited(0, told))) == 1000
    assert time.process_time() - before < 1  # it was half a minute


@pytest.mark.parametrize("name", ["uri", "title", "text"])
def test_what_is_told_a_thousand_times_is_short(name: str) -> None:
    long = "x" * 100_000
    source = {"uri": "u", "title": "t"} | ({name: long} if name != "text" else {})
    segment = {"text": long} if name == "text" else {}
    for citation in cited("abc", segment, [{"web": source}]):
        assert len(citation.url + citation.title + citation.quoted) < 10_000


def test_it_says_how_much_it_keeps() -> None:
    said = Said()
    said.add("abc")
    assert repr(said) == "<Said 3 characters>"
