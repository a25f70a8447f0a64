"""A reply without any picture, to who asked for one: no answer, whatever its status was."""

from __future__ import annotations

from typing import Final

from relayd.errors import BadCall
from relayd.wire.events import Reply
from relayd.wire.parts import Text

LONGEST_WHY: Final = 300  # characters of the model's own words in an error


class NoPicture(BadCall):
    """The model drew nothing: it was not allowed to, or it answered with words alone."""

    default_code = "image_generation_user_error"


def no_picture(reply: Reply) -> NoPicture:
    """Why a reply has none."""
    finishes = [choice.finish for choice in reply.choices if choice.finish is not None]
    native = next((each.native for each in finishes if each.native), "")
    said = next((each.explanation for each in finishes if each.explanation), "") or words_of(reply)
    why = f" ({native})" if native else ""
    told = f": {said[:LONGEST_WHY]}" if said else "."
    if any(each.reason == "filter" for each in finishes):
        message = f"The request was rejected by the model's safety system{why}{told}"
        return NoPicture(message, code="moderation_blocked")
    return NoPicture(f"The model made no picture{why}{told}")


def words_of(reply: Reply) -> str:
    """What the model says beside its pictures."""
    parts = [part for choice in reply.choices for part in choice.parts]
    return " ".join(part.text.strip() for part in parts if isinstance(part, Text)).strip()
