"""What a request for pictures, audio or a ranking is taken to use: before, and where nobody says.

Before an upstream is asked, the units that it may cost are set aside: so many pictures, so long a
recording, so many characters. Afterwards the upstream's own count holds; what it does not count is
filled in from what was asked for. Where it counts nothing at all, or pictures without tokens, the
tokens are estimated by the rates below, which are those of common models.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from relayd.model import Usage, UsageSource
from relayd.wire.head import Head

PICTURE_TOKENS: Final = 1056  # of a square picture of medium quality
HEARD_TOKENS: Final = 1000  # of a minute of audio that is listened to
WRITTEN_TOKENS: Final = 250  # of the transcript of a minute
SPOKEN_TOKENS: Final = 1400  # of audio, for a thousand characters that are spoken
DOCUMENTS_OF_A_SEARCH: Final = 100


def heard(milliseconds: int) -> int:
    """Tokens of so much audio."""
    return -(-milliseconds * HEARD_TOKENS // 60_000)


def written(milliseconds: int) -> int:
    """Tokens of its transcript."""
    return -(-milliseconds * WRITTEN_TOKENS // 60_000)


def spoken(characters: int) -> int:
    """Tokens of the audio that so many characters become."""
    return -(-characters * SPOKEN_TOKENS // 1000)


def used(
    head: Head, usage: Usage | None, *, complete: bool, begun: bool
) -> tuple[Usage, UsageSource]:
    """What a request has used, and how that is known.

    Arguments:
        head: says what was asked for.
        usage: what the upstream counted so far; None is nothing.
        complete: the reply came to its proper end.
        begun: some of the reply came, so that what was asked for is being made.
    """
    asked = head.asked or Usage()
    if usage is None:
        return _estimated(head, asked, begun), "estimated"
    found = replace(usage)
    if found.images is None and begun:  # else a picture that nobody counted is not there
        found.images = asked.images
    for name in ("audio_ms", "characters", "searches"):
        if getattr(found, name) is None:
            setattr(found, name, getattr(asked, name))
    if complete and not (found.images and _tokenless(found)):
        return found, "reported"
    least = (found.images or 0) * PICTURE_TOKENS
    if found.in_uncached is None:
        found.in_uncached = head.input_estimate
    if least > (found.out_total or 0):
        found.out_total = found.out_image = least
    return found, "estimated" if complete else "partial"


def _tokenless(usage: Usage) -> bool:
    return usage.in_uncached is None and usage.out_total is None


def _estimated(head: Head, asked: Usage, begun: bool) -> Usage:
    """What goes in was sent; what comes out counts once some of it came."""
    found = replace(asked, in_uncached=head.input_estimate, images=asked.images if begun else None)
    if asked.audio_ms is not None:
        found.in_audio = found.in_uncached
        found.out_total = written(asked.audio_ms) if begun else 0
    elif asked.characters is not None:
        found.out_total = found.out_audio = spoken(asked.characters) if begun else 0
    else:
        pictures = (found.images or 0) * PICTURE_TOKENS
        found.out_total = pictures
        found.out_image = pictures or None
    return found
