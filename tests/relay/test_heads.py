"""What the client gets of the head of an upstream's reply, and what relayd adds."""

from __future__ import annotations

from relayd.relay.heads import Heads
from relayd.wire.formats import FORMATS
from relayd.wire.passthrough import EVENT_STREAM
from tests.support.crossings import crossing, translation

JSON = (b"content-type", b"application/json")
REST = (b"x-ratelimit-remaining-requests", b"7")
OWN = (b"x-relayd-attempts", b"2")


def test_a_whole_reply_keeps_its_type_and_names_the_upstreams_own_id() -> None:
    heads = Heads([], None)
    kept = heads.of_whole([JSON, (b"server", b"theirs"), (b"x-request-id", b"up-7")], None)

    assert kept == [JSON, (b"x-relayd-upstream-request-id", b"up-7")]
    assert heads.upstream_id == "up-7"


def test_an_id_is_cut() -> None:
    heads = Heads([], None)
    heads.of_whole([(b"request-id", b"x" * 1000)], None)

    assert heads.upstream_id == "x" * 128


def test_the_type_of_a_stream_is_ours() -> None:
    heads = Heads([], None)
    observer = FORMATS["chat"].sniffer(translation("chat", stream=True).head)

    assert heads.of_stream([JSON], observer) == [*EVENT_STREAM]
    assert heads.of_stream([JSON], None) == [JSON]


def test_what_was_made_anew_has_the_type_that_it_was_made_in() -> None:
    made = [(b"content-type", b"text/event-stream")]

    assert Heads([], None).of_whole([JSON], made) == made


def test_our_limits_stand_instead_of_the_upstreams_and_the_way_is_told() -> None:
    ours = [(b"x-ratelimit-remaining-requests", b"3")]
    heads = Heads(ours, None)
    heads.own = [OWN]

    assert heads.of_whole([JSON, REST], None) == [JSON, OWN, *ours]
    assert Heads([], None).of_whole([JSON, REST], None) == [REST, JSON]


def test_a_translated_reply_says_so() -> None:
    way = crossing("chat", "messages")
    kept = dict(Heads([], way).of_whole([JSON], [JSON]))

    assert kept[b"x-relayd-translated"] == b"chat->messages"


def test_it_tells_what_it_knows() -> None:
    heads = Heads([], None)
    heads.own = [OWN]

    assert repr(heads) == "<Heads upstream_id='' own=1>"
