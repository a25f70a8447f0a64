"""Sealed state in envelopes: the same in as out, and never mistaken for a provider's own."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire import envelope
from relayd.wire.neutral import Message
from relayd.wire.parts import Carrier, Extra, Image, Item, Reasoning, Text, ToolCall

SIGNED = Carrier("gemini-signature", "c2lnbmF0dXJl")


@given(st.text(), st.text(), st.text())
def test_what_goes_in_comes_out(payload: str, own_id: str, call_id: str) -> None:
    carrier = Carrier("openai-encrypted", payload, "acc1", own_id, call_id)
    assert envelope.unwrap(envelope.wrap(carrier, "other")) == carrier
    assert envelope.unwrap(envelope.wrap_base64(carrier, "other")) == carrier


def test_the_scope_is_the_accounts_unless_it_has_one() -> None:
    opened = envelope.unwrap(envelope.wrap(SIGNED, "acc1"))
    assert opened is not None
    assert opened.scope == "acc1"
    assert envelope.wrap(opened, "acc2") == envelope.wrap(SIGNED, "acc1")


def test_an_envelope_is_plain_ascii_that_says_what_it_is() -> None:
    sealed = envelope.wrap(SIGNED, "acc1")
    assert sealed.startswith("rly1~gemini-signature.acc1.")
    assert sealed.isascii()
    assert "=" not in sealed
    wrapped = envelope.wrap_base64(SIGNED, "acc1")
    assert base64.b64decode(wrapped, validate=True).decode() == sealed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gAAAAABo",
        "rly1~",
        "rly1~unknown-kind.acc1.e30",
        "rly1~gemini-signature.acc 1.e30",
        "rly1~gemini-signature.acc1",
        "rly1~gemini-signature.acc1.!!!",
        "rly1~gemini-signature.acc1.A",
        "rly1~gemini-signature.acc1.é",
        "rly1~gemini-signature.acc1.e30",  # {}
        "rly1~gemini-signature.acc1.W10",  # []
        "rly1~gemini-signature.acc1.eyJwIjoxfQ",  # {"p":1}
        "cmx5MX!!!",
        "cmx5MX4A",
        "rly1~gemini-signature.acc1." + "A" * envelope.LONGEST,
    ],
)
def test_a_broken_envelope_holds_nothing(text: str) -> None:
    assert envelope.unwrap(text) is None


def test_a_broken_envelope_is_still_known_as_one() -> None:
    for text in ("rly1~broken", "cmx5MXbroken"):
        assert envelope.is_envelope(text)
    assert not envelope.is_envelope("EqQBCkYIBxgC")


def test_a_body_that_may_hold_one_is_found() -> None:
    sealed, wrapped = envelope.wrap(SIGNED, "a"), envelope.wrap_base64(SIGNED, "a")
    assert envelope.may_hold(b'{"signature":"%b"}' % sealed.encode(), "messages")
    assert envelope.may_hold(b'{"thoughtSignature":"%b"}' % wrapped.encode(), "gemini")
    for name in ("chat", "responses", "messages", "gemini"):
        assert not envelope.may_hold(b'{"path":"~/src"}', name)


def test_a_carrier_goes_onto_the_call_that_it_stands_on() -> None:
    bound = Reasoning([], carrier=Carrier("gemini-signature", "s", "acc1", call_id="c1"))
    own = Carrier("gemini-signature", "own")
    call, signed = ToolCall("c1", "f"), ToolCall("c2", "f", carrier=own)
    second = Reasoning([], carrier=Carrier("gemini-signature", "x", call_id="c2"))
    gone = Reasoning([], carrier=Carrier("gemini-signature", "x", call_id="c9"))
    message = Message("assistant", [bound, call, second, signed, gone, Text("x")])
    envelope.bound([message])
    assert message.parts == [call, signed, Text("x")]
    assert call.carrier == Carrier("gemini-signature", "s", "acc1")
    assert signed.carrier == own


def test_a_carrier_goes_onto_the_picture_that_it_stands_on() -> None:
    bound = Reasoning(["seen"], carrier=Carrier("gemini-signature", "s", call_id="ig_1"))
    image = Image("image/png", "AA==", item=Item("ig_1"))
    message = Message("assistant", [bound, image, Image("image/png", "BB==")])
    envelope.bound([message])
    assert image.carrier == Carrier("gemini-signature", "s")
    assert bound in message.parts  # it says something of its own


def test_other_thinking_stays_where_it_is() -> None:
    thought = Reasoning([], carrier=Carrier("anthropic-redacted", "data"))
    message = Message("assistant", [thought, Reasoning([]), ToolCall("", "f")])
    before = list(message.parts)
    envelope.bound([message])
    assert message.parts == before


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking", "reasoning", "reasoning.text"])
def test_a_thought_goes_with_its_envelope(kind: str) -> None:
    """Providers refuse one that lacks its state."""
    sealed = {"type": kind, "text": "Hm.", "signature": envelope.wrap(SIGNED, "acc1")}
    own, said = {"type": kind, "signature": "own"}, {"type": "text", "text": "Hello."}
    assert envelope.unsealed([sealed, own, said]) == [own, said]


def test_envelopes_are_left_out_wherever_clients_have_put_them() -> None:
    sealed = envelope.wrap(SIGNED, "acc1")
    wrapped = envelope.wrap_base64(SIGNED, "acc1")
    said = {"a": {"b": [sealed, {"c": wrapped, "d": 1}], "e": "x"}, "f": sealed}
    assert envelope.unsealed(said) == {"a": {"b": [{"d": 1}], "e": "x"}}
    extra = {"s": Extra(sealed, "drop"), "t": Extra(said, "silent"), "u": Extra(2, "drop")}
    assert envelope.without(extra) == {
        "t": Extra({"a": {"b": [{"d": 1}], "e": "x"}}, "silent"),
        "u": Extra(2, "drop"),
    }
