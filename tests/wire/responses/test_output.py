"""The items of a reply, one after the other."""

from __future__ import annotations

from dataclasses import replace

from relayd.wire.parts import Carrier, Extra, Item, Text
from relayd.wire.responses.output import Output
from tests.wire.responses.streams import told
from tests.wire.ways import coming

CLIENT = coming("responses")
NATIVE = replace(CLIENT, sealed=False)


def test_an_item_begins_in_progress_and_the_next_one_ends_it() -> None:
    output = Output(CLIENT)
    data = output.begin({"type": "message", "id": "a", "status": "in_progress"})
    data += output.begin({"type": "function_call", "id": "b"})
    data += output.end() + output.end()
    assert [(v["type"].rpartition(".")[2], v["item"]["id"]) for v in told(data)] == [
        ("added", "a"),
        ("done", "a"),
        ("added", "b"),
        ("done", "b"),
    ]
    assert output.items == [
        {"type": "message", "id": "a", "status": "completed"},
        {"type": "function_call", "id": "b"},
    ]


def test_parts_of_one_item_join_it() -> None:
    item = Item("msg_1")
    output = Output(NATIVE)
    assert not output.takes(Text("", item=item), "message")
    output.begin({"type": "message", "id": "msg_1"}, item)
    assert output.takes(Text("", item=item), "message")
    assert not output.takes(Text("", item=item), "reasoning")
    assert not output.takes(Text("", item=Item("msg_1")), "message")
    assert not output.takes(Text(""), "message")
    assert output.end_unless_joined() == b""
    output.begin({"type": "message", "id": "x"})
    assert output.end_unless_joined()


def test_what_an_item_is_beside_its_content_is_told_to_its_own_format_only() -> None:
    for to, phase in ((NATIVE, "final_answer"), (CLIENT, None)):
        output = Output(to)
        item = Item("msg_1", {"phase": Extra("final_answer", "silent")})
        output.begin({"type": "message", "id": "msg_1", "status": "in_progress"}, item)
        item.extra["status"] = Extra("incomplete", "silent")  # known at the end only
        output.end()
        assert output.items[0].get("phase") == phase
        assert output.items[0]["status"] == ("incomplete" if phase else "completed")


def test_ids_are_the_upstreams_own_or_made_of_the_requests() -> None:
    part = Text("", item=Item("msg_up"))
    assert Output(NATIVE).id("msg_", part) == "msg_up"
    output = Output(CLIENT)
    first = output.id("msg_", part)
    assert first == Output(CLIENT).id("msg_", Text(""))
    output.begin({"type": "message"})
    assert output.id("msg_", part) != first


def test_a_carrier_goes_in_an_envelope_or_as_it_is() -> None:
    carrier = Carrier("openai-encrypted", "gAAA")
    assert Output(NATIVE).sealed(carrier) == "gAAA"
    assert Output(CLIENT).sealed(carrier).startswith("rly1~openai-encrypted.acc1.")
    item = Output(NATIVE).thinking(Text(""), carrier)
    assert item["encrypted_content"] == "gAAA"


def test_an_output_says_how_far_it_is() -> None:
    output = Output(CLIENT)
    assert repr(output) == "<Output done=0 open=None sequence=0>"
    output.whole({"type": "message"})
    output.begin({"type": "reasoning"})
    assert repr(output) == "<Output done=1 open=reasoning sequence=3>"
