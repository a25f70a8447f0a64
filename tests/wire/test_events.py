"""Replies as events, and the whole reply that they make."""

from __future__ import annotations

import pytest

from relayd.model import Usage
from relayd.wire.events import (
    MOST_CHOICES,
    Break,
    Choice,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Events,
    Failure,
    Finish,
    Fold,
    Logprob,
    Open,
    Reply,
    Seal,
    Start,
    fold,
)
from relayd.wire.parts import (
    Carrier,
    Citation,
    Extra,
    Image,
    Item,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)

CARRIER = Carrier("anthropic-signature", "sig")


def parts(*events: Event) -> list[Part]:
    return fold(events).choices[0].parts


def test_pieces_become_the_whole() -> None:
    start, finish = Start("r", "m", usage=Usage(in_uncached=1)), Finish("stop")
    events: Events = [
        start,
        Open(0, Text("")),
        Delta(0, "a"),
        Delta(0, "b"),
        Close(0),
        Counted(Usage(out_total=2), {"x": 1}),
        finish,
        End({"y": 2}),
    ]

    assert fold(events) == Reply(
        start=start,
        choices=[Choice([Text("ab")], finish)],
        usage=Usage(out_total=2),
        usage_rest={"x": 1},
        ended=True,
        rest={"y": 2},
    )


def test_usage_of_the_start_counts_where_no_other_comes() -> None:
    assert fold([Start("r", "m", usage=Usage(in_uncached=1))]).usage == Usage(in_uncached=1)
    counted: Events = [Counted(Usage(in_uncached=2)), Start("r", "m")]
    assert fold(counted).usage == Usage(in_uncached=2)


def test_each_kind_of_block_grows_in_its_own_way() -> None:
    assert parts(Open(0, Refusal("")), Delta(0, "no"), Close(0)) == [Refusal("no")]
    call = ToolCall(id="c", name="f")
    assert parts(Open(0, call), Delta(0, "{"), Delta(0, "}"), Close(0)) == [
        ToolCall(id="c", name="f", arguments="{}")
    ]
    assert parts(Open(0, Image(data="aGk=")), Close(0)) == [Image(data="aGk=")]
    opaque = Opaque("chat", "x", {})
    assert parts(Open(0, opaque), Close(0)) == [opaque]


def test_thinking_has_paragraphs() -> None:
    def thought(*events: Event) -> list[str]:
        (part,) = parts(Open(0, Reasoning([])), *events, Close(0))
        assert isinstance(part, Reasoning)
        return part.text

    assert thought() == []
    assert thought(Delta(0, "a"), Delta(0, "b")) == ["ab"]
    assert thought(Delta(0, "a"), Break(0), Delta(0, "b")) == ["a", "b"]
    assert thought(Delta(0, "a"), Break(0)) == ["a", ""]
    assert thought(Break(0), Delta(0, "b")) == ["b"]


def test_carriers_and_sources_belong_to_their_block() -> None:
    (part,) = parts(Open(0, Reasoning([])), Seal(0, CARRIER), Close(0))
    assert part.carrier == CARRIER
    (text,) = parts(Open(0, Text("")), Cite(0, Citation(url="u")), Delta(0, "a"), Close(0))
    assert text == Text("a", [Citation(url="u")])
    assert parts(Open(0, Refusal("")), Cite(0, Citation(url="u")), Close(0)) == [Refusal("")]


def test_what_is_said_of_an_item_at_its_end_is_kept() -> None:
    (part,) = parts(Open(0, Text("")), Close(0, {"status": "completed"}))
    assert part.item == Item("", {"status": Extra("completed", "silent")})
    own = Item("i", {"phase": Extra("x", "silent")})
    (part,) = parts(Open(0, Text("", item=own)), Close(0, {"status": "done"}))
    assert part.item == Item("i", own.extra | {"status": Extra("done", "silent")})
    assert own.extra.keys() == {"phase"}, "the event's own is left alone"


def test_the_parts_of_events_are_left_as_they_are() -> None:
    text, thinking = Text("", []), Reasoning([])
    fold([Open(0, text), Delta(0, "a"), Cite(0, Citation()), Open(1, thinking), Delta(1, "b")])

    assert (text, thinking) == (Text("", []), Reasoning([]))


def test_blocks_that_were_never_closed_count_as_far_as_they_came() -> None:
    assert parts(Open(0, Text("")), Delta(0, "a")) == [Text("a")]
    failure = Failure("gone")
    reply = fold([Open(0, Text("")), failure])
    assert (reply.failure, reply.ended) == (failure, False)


def test_answers_are_kept_apart_in_whichever_order_they_come() -> None:
    probable = [Logprob("a", -1.0)]
    reply = fold(
        [
            Open(0, Text(""), 1),
            Open(1, Text(""), 0),
            Delta(0, "one", probable),
            Delta(1, "zero"),
            Delta(0, "!", [Logprob("!", -2.0)]),
            Finish("length", 1),
        ]
    )

    assert [choice.parts for choice in reply.choices] == [[Text("zero")], [Text("one!")]]
    assert reply.choices[1].logprobs == [Logprob("a", -1.0), Logprob("!", -2.0)]
    assert (len(probable), reply.choices[0].logprobs) == (1, None)
    assert reply.choices[1].finish == Finish("length", 1)


def test_the_number_of_answers_is_bounded() -> None:
    assert len(fold([Open(0, Text(""), MOST_CHOICES - 1)]).choices) == MOST_CHOICES
    for event in (Open(0, Text(""), MOST_CHOICES), Finish("stop", 10**9)):
        with pytest.raises(OverflowError, match="too many answers"):
            fold([event])


def test_what_does_not_grow_has_no_text() -> None:
    with pytest.raises(AssertionError, match="has no text"):
        fold([Open(0, Image()), Delta(0, "a")])


def test_a_fold_says_how_far_it_is() -> None:
    folded = Fold()
    folded.add([Open(0, Text(""))])

    assert repr(folded) == "<Fold choices=1 open=[0]>"
