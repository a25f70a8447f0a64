"""Thinking in chat, and the state that comes with it."""

from __future__ import annotations

import pytest

from relayd.wire import envelope
from relayd.wire.chat import details
from relayd.wire.chat.details import Details, Where
from relayd.wire.parts import Cache, Carrier, Document, Image, Part, Reasoning, Refusal, Text

SIGNED = Carrier("anthropic-signature", "sig", "acc")
ENTRY: Document = {"type": "reasoning.text", "index": 0, "text": "a"}


def test_a_carrier_says_where_thinking_stood_and_what_came_with_it() -> None:
    assert details.where(details.carrier("reasoning", [ENTRY])) == Where("reasoning", [ENTRY])
    assert details.where(details.carrier("", [ENTRY])) == Where("", [ENTRY])
    assert details.carrier("reasoning", []).payload == '{"in":"reasoning"}'


@pytest.mark.parametrize(
    "payload", ["", "7", "[]", "no", '{"in":7}', '{"in":"model"}', '{"in":null,"details":"x"}']
)
def test_a_carrier_that_a_client_changed_stands_in_the_usual_place(payload: str) -> None:
    assert details.where(Carrier("chat-details", payload)) == Where("reasoning_content", [])


def test_other_providers_carriers_say_nothing_of_chat() -> None:
    assert details.where(None) == Where("reasoning_content", [])
    assert details.beside_call(SIGNED) == {}


@pytest.mark.parametrize("beside", [None, {}, "x", []])
def test_nothing_beside_a_call_is_no_carrier(beside: object) -> None:
    assert details.of_call(beside) is None


def test_what_stands_beside_a_call_comes_back() -> None:
    beside = {"google": {"thought_signature": "s"}}

    assert details.beside_call(details.of_call(beside)) == beside


def test_what_is_nested_too_deep_is_nothing() -> None:
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]

    assert details.dumped(deep) == ""
    assert details.dumped({"a": 1}) == '{"a":1}'


def test_pieces_of_one_entry_are_joined() -> None:
    found = Details()
    found.add([ENTRY | {"format": "f"}])
    found.add([{"type": "reasoning.text", "index": 0, "text": "b", "format": None}])
    found.add([{"type": "reasoning.text", "index": 0, "signature": "s"}])
    found.add([{"type": "reasoning.encrypted", "index": 0, "data": "d"}])
    found.add([{"type": "reasoning.encrypted", "index": 0, "data": "e"}])
    found.add([{"type": "reasoning.encrypted", "index": 0, "id": "1"}])
    found.add([{"type": "reasoning.encrypted", "index": 0, "id": "2"}])

    text = {"type": "reasoning.text", "index": 0, "format": "f", "signature": "s", "text": "ab"}
    assert found.whole() == [
        text,
        {"type": "reasoning.encrypted", "index": 0, "data": "d"},
        {"type": "reasoning.encrypted", "index": 0, "data": "e", "id": "1"},
        {"type": "reasoning.encrypted", "index": 0, "id": "2"},
    ]
    assert found
    assert repr(found) == "<Details 4 entries>"


def test_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "MOST_ENTRIES", 2)

    with pytest.raises(OverflowError):
        Details().add([{"index": n} for n in range(3)])


@pytest.mark.parametrize("raw", [True, False])
def test_what_was_told_is_what_returns(raw: bool) -> None:
    sealed = envelope.wrap(SIGNED, "acc")
    told = [
        *details.told(["a", "b"], sealed, "", raw=raw),
        *details.told([], sealed, "call_1", raw=False),
    ]

    first = Reasoning(["a", "b"], raw=raw, carrier=SIGNED, at="x")
    second = Reasoning([], carrier=SIGNED, at="x")
    assert details.returned(told, "x") == [("", first), ("call_1", second)]


def test_an_envelope_alone_is_thinking_without_text() -> None:
    told = details.told([], envelope.wrap(SIGNED, "acc"), "", raw=False)

    assert details.returned(told, "x") == [("", Reasoning([], carrier=SIGNED, at="x"))]


def test_a_hosts_own_details_are_not_taken_for_ours() -> None:
    assert details.returned([ENTRY, {"data": "gAAA"}, {"signature": "Eu"}], "x") is None


def test_a_broken_envelope_is_dropped_with_its_text() -> None:
    sealed = envelope.wrap(SIGNED, "acc")
    told = [ENTRY, {"data": sealed[:12]}, *details.told(["b"], sealed, "", raw=True)]

    assert details.returned(told, "x") == [("", Reasoning(["b"], raw=True, carrier=SIGNED, at="x"))]


def test_thinking_is_written_where_it_stood() -> None:
    assert details.in_field("reasoning", "a") == {"reasoning": "a"}
    assert details.in_field("", "a") == {}
    assert details.in_field("content", "a") == {"content": [details.thinking_part("a")]}


def test_the_text_of_details_is_in_one_of_two_members() -> None:
    assert details.said_in([ENTRY, {"summary": "b"}, {"text": 5}, {}]) == "ab"


# --- where thinking stood -----------------------------------------------------------------------


def thought(said: str, length: int = 0) -> details.Returned:
    return details.Returned(details.behind_text(length), Reasoning([said]))


def test_thinking_stands_where_it_stood_in_the_text() -> None:
    """wire-formats 8.10: the same order, or its provider refuses it."""
    picture, mark = Image(url="https://a/b"), Cache()
    said: list[Part] = [picture, Text("abcd", at="c", cache=mark), Text("ef", at="d")]
    thoughts = [
        thought("last", 99),
        thought("first"),
        thought("in", 1),
        thought("too", 1),
        thought("between", 4),
    ]
    found = details.interleaved(said, thoughts)
    assert found == [
        Reasoning(["first"]),
        picture,
        Text("a", at="c"),
        Reasoning(["in"]),
        Reasoning(["too"]),
        Text("bcd", at="c", cache=mark),
        Reasoning(["between"]),
        Text("ef", at="d"),
        Reasoning(["last"]),
    ]
    texts = [part for part in found if not isinstance(part, Reasoning)]
    assert details.joined(texts) == said


def test_texts_of_different_parts_stay_apart() -> None:
    said: list[Part] = [Text("a"), Text("b"), Text("c", at="x"), Refusal("d", at="x")]
    assert details.joined(said) == said


@pytest.mark.parametrize("after", ["", "call_1", "text_", "text_x", "text_0", "xtext_1"])
def test_what_names_no_place_in_the_text_stands_before_it(after: str) -> None:
    assert details.Returned(after, Text("")).place == 0
