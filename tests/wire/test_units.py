"""What a request for pictures, audio or a ranking is taken to have used."""

from __future__ import annotations

from relayd.model import Usage
from relayd.wire.head import Head
from relayd.wire.paths import TAILS
from relayd.wire.units import PICTURE_TOKENS, heard, spoken, used, written


def head(asked: Usage | None, estimate: int = 7) -> Head:
    made = Head(TAILS["images/generations"], "m", False, b"{}", input_estimate=estimate)
    made.asked = asked
    return made


def test_what_is_counted_holds_and_what_is_not_is_filled_in() -> None:
    asked = Usage(audio_ms=1000, characters=5, searches=2)

    assert used(head(asked), Usage(in_uncached=3, audio_ms=900), complete=True, begun=True) == (
        Usage(in_uncached=3, audio_ms=900, characters=5, searches=2),
        "reported",
    )


def test_pictures_that_nobody_counted_are_those_that_were_asked_for() -> None:
    usage, source = used(head(Usage(images=3)), Usage(out_total=9), complete=True, begun=True)

    assert (usage, source) == (Usage(out_total=9, images=3), "reported")


def test_pictures_without_tokens_have_estimated_ones() -> None:
    usage, source = used(head(Usage(images=3)), Usage(images=2), complete=True, begun=True)

    assert source == "estimated"
    assert usage == Usage(
        in_uncached=7, out_total=2 * PICTURE_TOKENS, out_image=2 * PICTURE_TOKENS, images=2
    )


def test_a_length_that_was_reported_needs_no_tokens() -> None:
    usage = Usage(audio_ms=900)

    assert used(head(Usage(audio_ms=1000)), usage, complete=True, begun=True) == (usage, "reported")


def test_a_cut_stream_has_at_least_the_pictures_that_came() -> None:
    usage, source = used(head(Usage(images=4)), Usage(images=2), complete=False, begun=True)

    assert source == "partial"
    assert (usage.images, usage.in_uncached) == (2, 7)
    assert usage.out_total == usage.out_image == 2 * PICTURE_TOKENS


def test_a_cut_stream_keeps_what_was_counted_where_that_is_more() -> None:
    counted = Usage(in_uncached=1, out_total=10**6, images=1)

    assert used(head(Usage(images=1)), counted, complete=False, begun=True) == (counted, "partial")


def test_nothing_counted_is_an_estimate_of_what_was_begun() -> None:
    pictures, source = used(head(Usage(images=2)), None, complete=False, begun=True)
    assert source == "estimated"
    assert (pictures.images, pictures.out_total) == (2, 2 * PICTURE_TOKENS)

    speech, _ = used(head(Usage(characters=100)), None, complete=True, begun=True)
    assert (speech.characters, speech.out_total, speech.out_audio) == (100, spoken(100), 140)

    audio, _ = used(head(Usage(audio_ms=60_000), heard(60_000)), None, complete=True, begun=True)
    assert (audio.audio_ms, audio.in_audio, audio.out_total) == (60_000, 1000, written(60_000))

    nothing, _ = used(head(None), None, complete=True, begun=True)
    assert nothing == Usage(in_uncached=7, out_total=0)


def test_what_never_began_costs_what_went_in() -> None:
    pictures, _ = used(head(Usage(images=2)), None, complete=False, begun=False)
    assert pictures == Usage(in_uncached=7, out_total=0)

    speech, _ = used(head(Usage(characters=100)), None, complete=False, begun=False)
    assert speech == Usage(in_uncached=7, out_total=0, out_audio=0, characters=100)

    audio, _ = used(head(Usage(audio_ms=100), 1), None, complete=False, begun=False)
    assert audio == Usage(in_uncached=1, in_audio=1, out_total=0, audio_ms=100)

    uncounted, _ = used(head(Usage(images=2)), Usage(), complete=False, begun=False)
    assert uncounted.images is None
