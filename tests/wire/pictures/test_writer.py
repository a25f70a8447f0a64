"""Events, written as the reply of an image endpoint."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.errors import BadReply
from relayd.model import Usage
from relayd.wire.blocks import Blocks
from relayd.wire.events import (
    Choice,
    Counted,
    End,
    Events,
    Failure,
    Finish,
    Reason,
    Reply,
    Start,
    fold,
)
from relayd.wire.neutral import Output, Picture, Request
from relayd.wire.parts import Document, Image, Part, Text
from relayd.wire.pictures.refused import NoPicture
from relayd.wire.pictures.writer import PicturesWriter, error_object, merged
from relayd.wire.setting import Coming


def png(width: int, height: int) -> str:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + size).decode()


ONE = png(1024, 768)
USED = Usage(in_uncached=5, out_total=1000)
TOLD = {
    "input_tokens": 5,
    "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
    "output_tokens": 1000,
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1000},
    "total_tokens": 1005,
}


def writer(*, edits: bool = False) -> PicturesWriter:
    output = Output(picture=Picture(edits=edits))
    request = Request(source="chat", model="m", messages=[], output=output)
    return PicturesWriter(Coming(request, "m", "req_1", 1_700_000_000))


def events(*parts: Part, usage: Usage | None = USED, **finish: Any) -> Events:
    blocks = Blocks()
    blocks.add(Start("", "m"))
    for part in parts:
        if isinstance(part, Text):
            blocks.whole(replace(part, text=""), part.text)
        else:
            blocks.whole(part)
    if usage is not None:
        blocks.add(Counted(usage))
    blocks.add(Finish(**{"reason": "stop"} | finish))
    blocks.add(End())
    return blocks.take()


def told(*parts: Part, **more: Any) -> Document:
    return writer().whole(fold(events(*parts, **more)))


def sent(out: bytes) -> list[tuple[str, Any]]:
    blocks = out.decode().strip().split("\n\n")
    pairs = [block.split("\n") for block in blocks if block]
    return [
        (name.removeprefix("event: "), orjson.loads(data.removeprefix("data: ")))
        for name, data in pairs
    ]


def test_a_picture_is_a_document_with_its_size_and_its_price() -> None:
    assert told(Image("image/png", ONE)) == {
        "created": 1_700_000_000,
        "data": [{"b64_json": ONE}],
        "output_format": "png",
        "size": "1024x768",
        "usage": TOLD,
    }


def test_nothing_is_made_up() -> None:
    assert told(Image(url="https://a.example/b"), usage=None) == {
        "created": 1_700_000_000,
        "data": [{"url": "https://a.example/b"}],
    }


def test_what_pictures_do_not_agree_about_is_not_told() -> None:
    document = told(Image("image/png", ONE), Image("image/jpeg", "AAAA"), usage=None)
    assert document.keys() == {"created", "data"}
    assert len(document["data"]) == 2


def test_the_models_words_are_the_revised_prompt() -> None:
    document = told(Text("Here "), Image("image/png", ONE), Text(" it is."))
    assert document["data"] == [{"b64_json": ONE, "revised_prompt": "Here it is."}]


@pytest.mark.parametrize(("edits", "name"), [(False, "image_generation"), (True, "image_edit")])
def test_a_stream_has_an_event_for_each_picture_and_counts_with_the_last(
    edits: bool, name: str
) -> None:
    said = events(Image("image/png", ONE), Image("image/png", ONE))
    made = writer(edits=edits)
    assert made.write(said[:-1]) == b""
    first, last = sent(made.write(said[-1:]))
    about = {
        "type": f"{name}.completed",
        "created_at": 1_700_000_000,
        "output_format": "png",
        "size": "1024x768",
        "b64_json": ONE,
    }
    assert first == (f"{name}.completed", about)
    assert last == (f"{name}.completed", about | {"usage": TOLD})
    assert made.error(BadReply("Late.")) == b""


def test_words_may_come_piece_by_piece() -> None:
    said = events(Text("Here it is."), Image("image/png", ONE))
    made, (start, opened, _, *rest) = writer(), said
    outs = [made.write([start, opened]), made.say(0, "Here "), made.say(0, "it is.")]
    assert outs == [b"", b"", b""]
    assert made.write(rest) == writer().write(said)


def test_a_stream_without_counts_has_none() -> None:
    ((_, event),) = sent(writer().write(events(Image("image/png", ONE), usage=None)))
    assert "usage" not in event


@pytest.mark.parametrize(
    ("reason", "more", "parts", "code", "message"),
    [
        ("filter", {"native": "IMAGE_SAFETY"}, [], "moderation_blocked", "(IMAGE_SAFETY)."),
        (
            "filter",
            {"native": "SAFETY", "explanation": "No."},
            [],
            "moderation_blocked",
            "(SAFETY): No.",
        ),
        ("stop", {}, [Text("What cat?")], "image_generation_user_error", ": What cat?"),
        ("stop", {}, [], "image_generation_user_error", "made no picture."),
        ("length", {"native": "MAX_TOKENS"}, [], "image_generation_user_error", "(MAX_TOKENS)."),
        ("stop", {}, [Text("x" * 999)], "image_generation_user_error", "x" * 300),
    ],
)
def test_an_answer_without_a_picture_is_an_error_that_says_why(
    reason: Reason, more: dict[str, Any], parts: list[Part], code: str, message: str
) -> None:
    with pytest.raises(NoPicture) as caught:
        told(*parts, reason=reason, **more)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert caught.value.message.endswith(message)
    ((name, event),) = sent(writer().write(events(*parts, reason=reason, **more)))
    assert name == event["type"] == "error"
    assert event["error"] == error_object(caught.value)
    assert (event["error"]["type"], event["error"]["code"]) == (NoPicture.default_code, code)


def test_a_reply_without_any_answer_is_an_error() -> None:
    with pytest.raises(NoPicture):
        writer().whole(Reply(choices=[Choice()]))


def test_a_failure_in_the_middle_is_told_once() -> None:
    made = writer()
    ((name, event),) = sent(made.write([Failure("It broke.", 502)]))
    assert (name, event["error"]["type"]) == ("error", "server_error")
    assert event["error"]["message"] == "It broke."
    assert made.write([Failure("Again.")]) == b""
    ((_, refused),) = sent(writer().write([Failure("No.", 400, "moderation_blocked")]))
    assert refused["error"] == error_object(NoPicture("No.", code="moderation_blocked"))
    assert "closed=True" in repr(made)


def test_several_replies_are_one() -> None:
    one = {"created": 1, "data": [{"b64_json": "A"}], "size": "1x1", "output_format": "png"}
    other = one | {"created": 2, "data": [{"b64_json": "B"}], "size": "2x2"}
    assert merged([one]) == one
    assert merged([one, other]) == {
        "created": 1,
        "data": [{"b64_json": "A"}, {"b64_json": "B"}],
        "output_format": "png",
    }


def test_the_counts_of_several_replies_are_added_up() -> None:
    one: Document = {"created": 1, "data": []}
    counted = one | {"usage": TOLD}
    assert merged([one, one]).get("usage") is None
    assert merged([one, counted])["usage"] == TOLD
    assert merged([counted, one])["usage"] == TOLD
    both = merged([counted, counted])["usage"]
    assert both["total_tokens"] == 2010
    assert both["output_tokens_details"] == {"text_tokens": 0, "image_tokens": 2000}
    more = merged([one | {"usage": {}}, counted])["usage"]
    assert more == TOLD
