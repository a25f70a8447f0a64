"""What is left out and what is refused: strict by default, told in the client's own names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import NotHere
from relayd.wire.losses import LONGEST_HEADER, LONGEST_PARAM, CannotTranslate, Losses
from relayd.wire.neutral import (
    Declaration,
    Function,
    Message,
    Output,
    Request,
    Shape,
    Thinking,
    ToolChoice,
)
from relayd.wire.parts import Extra, Extras, Item, Loss, Opaque, Part, Text, ToolResult


def lost(loss: Loss, *, lenient: bool) -> tuple[str, ...] | None:
    """What is reported; None where it is refused."""
    losses = Losses("chat", lenient=lenient)
    try:
        losses.lose(loss, "top_k")
    except CannotTranslate:
        return None
    return losses.dropped


@pytest.mark.parametrize(
    ("loss", "strict", "lenient"),
    [
        ("silent", (), ()),
        ("drop", ("top_k",), ("top_k",)),
        ("lenient", None, ("top_k",)),
        ("refuse", None, None),
    ],
)
def test_each_loss_is_what_it_says(
    loss: Loss, strict: tuple[str, ...] | None, lenient: tuple[str, ...] | None
) -> None:
    assert lost(loss, lenient=False) == strict
    assert lost(loss, lenient=True) == lenient


def test_a_refusal_names_the_field_and_says_why() -> None:
    with pytest.raises(CannotTranslate) as caught:
        Losses("chat").lose("refuse", "top_k")
    error = caught.value
    assert (error.status, error.param, error.code) == (400, "top_k", "unsupported_parameter")
    assert error.message == (
        "`top_k` cannot be translated for this model: the chat format has no field for it."
    )
    assert issubclass(CannotTranslate, NotHere), "another upstream may take it"
    refusal = Losses("chat").refusal("a", "it is too much", code="unsupported_value")
    assert refusal.message.endswith(": it is too much.")
    assert refusal.code == "unsupported_value"


def test_what_was_dropped_is_told_once_in_order() -> None:
    losses = Losses("chat")
    assert (losses.header, losses.dropped) == (b"", ())
    for name in ("b", "a", "b"):
        losses.lose("drop", name)

    assert losses.header == b"b, a"
    assert repr(losses) == "<Losses to=chat lenient=False ['b', 'a']>"


def test_the_header_has_a_bounded_length() -> None:
    losses = Losses("chat")
    for number in range(1000):
        losses.lose("drop", f"field_{number}")

    assert len(losses.header) <= LONGEST_HEADER + 20
    assert losses.header.endswith(b" more")
    told = losses.header.count(b"field_")
    assert losses.header.endswith(b", and %d more" % (1000 - told))


@given(st.text())
def test_whatever_a_client_calls_a_field_it_can_stand_in_a_header(name: str) -> None:
    losses = Losses("chat")
    losses.lose("drop", name)

    assert all(0x20 <= byte < 0x7F for byte in losses.header)
    assert b"," not in losses.header
    assert len(losses.header) <= LONGEST_PARAM + 1
    assert losses.refusal(name).param == losses.dropped[0]


def test_a_name_that_is_too_long_is_cut() -> None:
    assert Losses("chat").refusal("x" * 999).param == "x" * LONGEST_PARAM + "~"
    assert Losses("chat").refusal("x" * LONGEST_PARAM).param == "x" * LONGEST_PARAM


# --- all of a request -----------------------------------------------------------------------------


def extra(loss: Loss = "drop") -> Extras:
    return {"x": Extra(1, loss)}


def request(*parts: Part) -> Request:
    return Request(source="messages", model="m", messages=[Message("user", list(parts))])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (Request(source="chat", model="m", messages=[], extra=extra()), "x"),
        (
            Request(
                source="chat", model="m", messages=[Message("user", [], "m[0]", extra=extra())]
            ),
            "m[0].x",
        ),
        (request(Text("t", at="p", extra=extra())), "p.x"),
        (request(ToolResult(id="c", parts=[Text("t", at="inner", extra=extra())])), "inner.x"),
        (request(Text("t", at="p", item=Item("i", extra()))), "p.x"),
        (
            Request(
                source="chat",
                model="m",
                messages=[],
                tools=[Function(name="f", at="tools[0]", extra=extra())],
            ),
            "tools[0].x",
        ),
        (
            request(Declaration([Function(name="f", at="input[1].tools[0]", extra=extra())])),
            "input[1].tools[0].x",
        ),
        (
            Request(source="chat", model="m", messages=[], thinking=Thinking(extra=extra())),
            "thinking.x",
        ),
        (
            Request(
                source="chat",
                model="m",
                messages=[],
                output=Output(shape=Shape("json", extra=extra())),
                places={"shape": "response_format"},
            ),
            "response_format.x",
        ),
        (
            Request(
                source="chat",
                model="m",
                messages=[],
                tool_choice=ToolChoice("auto", extra=extra()),
            ),
            "tool_choice.x",
        ),
    ],
)
def test_nothing_that_only_one_format_says_is_forgotten(changed: Request, told: str) -> None:
    losses = Losses("gemini")
    losses.of_request(changed)

    assert losses.dropped == (told,)


def test_an_item_without_anything_of_its_own_loses_nothing() -> None:
    losses = Losses("chat")
    losses.of_request(request(Text("t", item=Item("i"))))

    assert losses.dropped == ()


def test_an_opaque_part_is_refused_by_any_other_format() -> None:
    part = Opaque("messages", "server_tool_use", {}, at="messages[0].content[0]")

    with pytest.raises(CannotTranslate) as caught:
        Losses("chat", lenient=True).of_request(request(part))
    assert caught.value.param == "messages[0].content[0]"
    assert caught.value.code == "unsupported_value"
    assert "`server_tool_use` exists in the messages format only" in caught.value.message
    Losses("messages").of_request(request(part))
    losses = Losses("chat")
    losses.of_request(request(Opaque("messages", "x", {}, loss="drop", at="p")))
    assert losses.dropped == ("p",)
