"""Small readings of a reply: whatever comes, they never raise."""

from __future__ import annotations

from relayd.wire.events import Failure, Logprob
from relayd.wire.parts import Citation, Image, Opaque
from relayd.wire.responses import pieces
from relayd.wire.responses.pieces import Entry, Growing


def test_a_failure_has_a_message_a_status_and_a_code() -> None:
    assert pieces.failure({"message": "No.", "code": "empty_image_file"}) == Failure(
        "No.", 400, "empty_image_file"
    )
    assert pieces.failure(None) == Failure(pieces.NO_REASON)
    assert pieces.failure("Broken.") == Failure("Broken.")


def test_the_first_id_and_the_last_word_count() -> None:
    entry = Entry(0)
    entry.describe({"type": "message", "id": "a", "status": "in_progress", "phase": "one"})
    assert "status" not in entry.item.extra
    entry.done = True
    entry.describe({"type": "message", "id": "b", "status": "completed", "phase": "two"})
    assert entry.item.id == "a"
    assert {name: extra.value for name, extra in entry.item.extra.items()} == {
        "phase": "two",
        "status": "completed",
    }


def test_wrong_types_are_nothing() -> None:
    assert pieces.citation({"url": 1, "title": [], "start_index": "x"}) == Citation(
        native={"url": 1, "title": [], "start_index": "x"}
    )
    assert pieces.logprobs({"logprobs": {}}) is None
    found = pieces.logprobs({"logprobs": [{"token": 1, "bytes": "x", "top_logprobs": 3}]})
    assert found == [Logprob("", 0.0)]
    for odd in (True, -1, 2**64 - 1, 1e308):
        assert pieces.started({"created_at": odd}).created is None
    started = pieces.started({"id": 1, "model": None, "created_at": "x", "service_tier": 3})
    assert (started.id, started.model, started.created, started.tier) == ("", "", None, "")


def test_what_a_tool_drew_is_a_picture() -> None:
    entry = Entry(0)
    entry.kind = "image_generation_call"
    assert pieces.hosted(entry, {"result": "AAAA"}) == Image("image/png", "AAAA", item=entry.item)
    assert isinstance(pieces.hosted(entry, {"result": 1}), Opaque)


def test_how_far_things_are_can_be_seen() -> None:
    assert repr(Growing(3)) == "<Growing block=3 said=0 closed=False>"
    assert repr(Entry(2)) == "<Entry 2  done=False>"
