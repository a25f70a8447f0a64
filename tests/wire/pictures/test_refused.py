"""A reply without any picture, to who asked for one."""

from __future__ import annotations

from relayd.wire.events import Choice, Finish, Reply
from relayd.wire.parts import Image, Part, Text
from relayd.wire.pictures.refused import no_picture, words_of


def reply(*parts: Part, finish: Finish | None = None) -> Reply:
    return Reply(choices=[Choice([*parts], finish)])


def test_a_filter_is_told_as_openai_does() -> None:
    found = no_picture(reply(finish=Finish("filter", native="IMAGE_SAFETY", explanation="No.")))
    assert (found.status, found.code) == (400, "moderation_blocked")
    assert found.message.endswith("(IMAGE_SAFETY): No.")


def test_the_models_own_words_say_why_where_nobody_else_does() -> None:
    found = no_picture(reply(Text("What cat? " * 99), finish=Finish("stop")))
    assert found.code == "image_generation_user_error"
    assert len(found.message) < 400
    assert no_picture(Reply()).message == "The model made no picture."


def test_words_are_those_of_all_texts() -> None:
    assert words_of(reply(Text(" a"), Image("image/png", "AAAA"), Text("b "))) == "a b"
