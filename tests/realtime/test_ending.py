"""What the sides of a session are told at its end, read by the walker of frames."""

from __future__ import annotations

import orjson

from relayd.errors import BadReply
from relayd.realtime.ending import Ending, farewell, last_words, shutting_down
from relayd.wire.websocket import Frames

BROKEN = Ending("relay", 1011, BadReply("The upstream is broken."))


def test_a_client_hears_what_is_wrong_in_the_apis_words_and_then_the_code() -> None:
    frames = Frames(masked=False, largest=10_000, keeps=True)
    told, last = frames.feed(last_words(BROKEN, "event_7"), 10)

    said = orjson.loads(told.text)
    assert (said["type"], said["event_id"]) == ("error", "event_7")
    assert said["error"]["message"] == "The upstream is broken."
    assert (last.kind, last.code) == ("close", 1011)


def test_in_the_middle_of_a_message_it_hears_the_code_alone() -> None:
    (last,) = Frames(masked=False, largest=10_000).feed(last_words(BROKEN, ""), 10)

    assert (last.kind, last.code) == ("close", 1011)


def test_where_nothing_is_wrong_no_error_is_told() -> None:
    words = last_words(Ending("client", 1000), "event_7")
    (last,) = Frames(masked=False, largest=10_000).feed(words, 10)

    assert (last.kind, last.code) == ("close", 1000)


def test_an_upstream_hears_that_the_client_is_gone_in_a_masked_frame() -> None:
    (last,) = Frames(masked=True, largest=10_000).feed(farewell(), 10)

    assert (last.kind, last.code) == ("close", 1001)


def test_a_relay_that_stops_says_so_and_blames_nobody() -> None:
    ending = shutting_down()

    assert ending.problem is not None
    assert (ending.code, ending.problem.code, ending.problem.outcome) == (
        1001,
        "shutting_down",
        "ok",
    )
