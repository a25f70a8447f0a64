"""What the request changed, changed back in the reply."""

from __future__ import annotations

import pytest

from relayd.wire.events import Close, Delta, Events, Finish, Open, Seal
from relayd.wire.names import Names
from relayd.wire.neutral import Custom, Function, Namespace
from relayd.wire.parts import Carrier, Text, ToolCall
from relayd.wire.restore import LONGEST_WRAPPED, Restore

CARRIER = Carrier("gemini-signature", "sig")
NAMES = Names(
    [
        Function(name="plain"),
        Function(name="has a space"),
        Function(name="f", namespace=Namespace("group")),
        Custom(name="patch"),
    ],
    "chat",
)


def called(restore: Restore, name: str, *pieces: str, block: int = 0) -> Events:
    """The events of one call under the upstream's name of it, restored one by one."""
    events: Events = [Open(block, ToolCall(id="c1", name=name))]
    events += [Delta(block, piece) for piece in pieces]
    events.append(Close(block))
    return [kept for event in events for kept in restore.apply([event])]


def opened(events: Events) -> ToolCall:
    part = next(event.part for event in events if isinstance(event, Open))
    assert isinstance(part, ToolCall)
    return part


def test_tools_get_the_clients_names_again() -> None:
    for name, namespace in (("plain", ""), ("has a space", ""), ("f", "group")):
        call = opened(called(Restore(NAMES), NAMES.there(name, namespace), "{}"))
        assert (call.id, call.name, call.namespace, call.custom) == ("c1", name, namespace, False)


def test_a_name_that_the_model_made_up_stays() -> None:
    assert opened(called(Restore(NAMES), "invented")).name == "invented"


def test_wrapped_free_text_comes_back_as_free_text_when_it_is_whole() -> None:
    events = called(Restore(NAMES), "patch", '{"inp', 'ut":"a\\n', 'b"}')

    assert opened(events).custom
    assert events[1:] == [Delta(0, "a\nb"), Close(0)]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('{"other":1}', '{"other":1}'),
        ("not json", "not json"),
        ("[1]", "[1]"),
        ('{"input":7}', ""),
        ("", ""),
        ("\ud800", "\ud800"),
    ],
)
def test_what_the_model_wrote_instead_of_a_wrapping_is_told_as_it_is(said: str, text: str) -> None:
    events = called(Restore(NAMES), "patch", *([said] if said else []))

    assert events[1:] == ([Delta(0, text)] if text else []) + [Close(0)]


def test_other_blocks_go_on_while_one_is_kept_back() -> None:
    restore = Restore(NAMES)
    restore.apply([Open(0, Text("")), Open(1, ToolCall(id="c", name="patch"))])

    assert restore.apply([Delta(1, '{"input":"x"}')]) == []
    assert restore.apply([Delta(0, "a")]) == [Delta(0, "a")]
    assert repr(restore).endswith(" open=[1]>")
    assert restore.apply([Close(1), Delta(0, "b"), Close(0)]) == [
        Delta(1, "x"),
        Close(1),
        Delta(0, "b"),
        Close(0),
    ]


def test_a_call_that_is_kept_back_is_bounded() -> None:
    restore = Restore(NAMES)
    restore.apply([Open(0, ToolCall(id="c", name="patch"))])
    piece = "x" * (LONGEST_WRAPPED // 4)
    for _ in range(4):
        restore.apply([Delta(0, piece)])

    with pytest.raises(OverflowError, match="tool call is too large"):
        restore.apply([Delta(0, "x")])


# --- a schema that was put into a tool ------------------------------------------------------------


def test_the_arguments_of_the_tool_that_holds_the_schema_are_the_answer() -> None:
    restore = Restore(NAMES, "answer")
    events = called(restore, "answer", '{"a":', "1}")

    assert events == [Open(0, Text("")), Delta(0, '{"a":'), Delta(0, "1}"), Close(0)]
    assert restore.apply([Finish("tool_calls", native="tool_use")]) == [
        Finish("stop", native="tool_use")
    ]


def test_true_calls_beside_the_answer_still_end_with_calls() -> None:
    restore = Restore(NAMES, "answer")
    called(restore, "answer", "{}")
    called(restore, "plain", "{}", block=1)

    assert restore.apply([Finish("tool_calls")]) == [Finish("tool_calls")]
    assert restore.apply([Finish("tool_calls", 1)]) == [Finish("stop", 1)]
    assert restore.apply([Finish("length")]) == [Finish("length")]


def test_calls_end_with_calls_where_no_schema_was_put_into_one() -> None:
    assert Restore(NAMES).apply([Finish("tool_calls")]) == [Finish("tool_calls")]


# --- ids and carriers -----------------------------------------------------------------------------


def given_ids(request_id: str, *ids: str) -> list[str]:
    restore = Restore(NAMES, "", request_id)
    opens: Events = [Open(n, ToolCall(id=each, name="plain")) for n, each in enumerate(ids)]
    return [opened([event]).id for event in restore.apply(opens)]


def test_a_call_without_an_id_gets_one_that_the_request_decides() -> None:
    """wire-formats, trap 121."""
    first, second = given_ids("r1", "", "")

    assert first != second
    assert all(each.startswith("call_") for each in (first, second))
    assert given_ids("r1", "", "") == [first, second]
    assert given_ids("r2", "")[0] != first


def test_an_id_that_two_calls_share_is_given_to_the_first() -> None:
    first, second, third = given_ids("r1", "c", "c", "d")

    assert (first, third) == ("c", "d")
    assert second.startswith("call_")


def test_the_carrier_of_a_call_is_kept_by_the_id_that_the_client_gets() -> None:
    kept: list[tuple[str, Carrier]] = []
    restore = Restore(NAMES, "", "r1", lambda call_id, carrier: kept.append((call_id, carrier)))

    (event,) = restore.apply([Open(0, ToolCall(id="", name="plain", carrier=CARRIER))])
    restore.apply([Open(1, ToolCall(id="c", name="plain")), Seal(1, CARRIER), Close(1)])
    restore.apply([Open(2, Text("")), Seal(2, CARRIER)])

    assert kept == [(opened([event]).id, CARRIER), ("c", CARRIER)]


def test_nobody_need_keep_carriers() -> None:
    seal = Seal(0, CARRIER)

    assert Restore(NAMES).apply([Open(0, ToolCall(id="c", name="plain")), seal])[1] is seal
