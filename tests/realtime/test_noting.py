"""What is kept of a session: each message a line, within a bound, whatever comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from relayd.capture_terms import CaptureTerms
from relayd.model import Entry
from relayd.realtime.ending import Ending
from relayd.realtime.noting import OVERHEAD, Minutes
from relayd.relay.capture import Captures
from tests.support.sessions import MASK, close, event, frame

SAID = '{"type":"input_text","text":"héllo"}'.encode()


def minutes(largest: int = 2**20) -> tuple[Minutes, Captures]:
    captures = Captures(CaptureTerms(("laptop",), Path("nowhere"), largest=largest))
    return Minutes(captures, "laptop", 10.0), captures


def kept(of: Minutes, captures: Captures) -> dict[str, Any]:
    """The file that the session becomes."""
    row = Entry("req_7-3", 1.0, model_asked="m", status=101, outcome="ok")
    of.keep("req_7", row, Ending("upstream", 1000))
    [waiting] = captures._waiting
    assert waiting.name == "req_7"
    found: dict[str, Any] = orjson.loads(orjson.dumps(waiting.made()))
    return found


def test_both_sides_are_lines_in_order() -> None:
    of, captures = minutes()
    of.hear("client", frame(1, SAID, mask=MASK), 10.5)
    of.hear("upstream", event("response.done"), 11.0)
    of.hear("upstream", close(1000), 11.25)
    found = kept(of, captures)
    assert found["messages"] == [
        {"s": 0.5, "from": "client", "text": SAID.decode()},
        {"s": 1.0, "from": "upstream", "text": '{"type":"response.done"}'},
        {"s": 1.25, "from": "upstream", "close": 1000},
    ]
    assert (found["id"], found["key"], found["ended_by"], found["close"]) == (
        "req_7",
        "laptop",
        "upstream",
        1000,
    )


def test_bytes_that_come_one_by_one_say_the_same() -> None:
    of, captures = minutes()
    for byte in frame(1, SAID, mask=MASK):
        of.hear("client", bytes([byte]), 10.0)
    assert kept(of, captures)["messages"][0]["text"] == SAID.decode()


def test_sound_is_named_by_its_size() -> None:
    of, captures = minutes()
    of.hear("client", frame(2, bytes(1000), mask=MASK), 10.0)
    assert kept(of, captures)["messages"] == [{"s": 0.0, "from": "client", "bytes": 1000}]


def test_of_a_long_text_the_beginning_is_kept() -> None:
    of, captures = minutes()
    of.hear("upstream", frame(1, b"x" * 300_000), 10.0)
    [line] = kept(of, captures)["messages"]
    assert line["bytes"] == 300_000 and line["begins"] == "x" * 1024


def test_all_lines_together_have_a_bound() -> None:
    of, captures = minutes(largest=3 * (OVERHEAD + 100))
    for _ in range(10):
        of.hear("upstream", frame(1, b"x" * 100), 10.0)
    found = kept(of, captures)
    assert (len(found["messages"]), found["left_out"]) == (3, 7)
    assert repr(of) == "<Minutes 3 lines, 7 left out>"


def test_a_side_that_breaks_the_rules_is_not_heard_any_more() -> None:
    of, captures = minutes()
    of.hear("client", frame(1, SAID, mask=MASK) + frame(1, SAID), 10.0)  # no mask
    of.hear("client", frame(1, SAID, mask=MASK), 10.0)
    of.hear("upstream", event("x"), 10.0)
    assert [line["from"] for line in kept(of, captures)["messages"]] == ["client", "upstream"]
