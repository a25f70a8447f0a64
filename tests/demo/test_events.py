"""Streams become scripts at the rate that the name asks."""

from __future__ import annotations

from relayd.demo.events import Stream, scripted
from relayd.demo.names import parse
from relayd.demo.script import TURN, Send, Step, Wait

EVENTS = [b"open", b"a", b"b", b"c", b"end"]
OPEN, A, B, C, END = map(Send, EVENTS)


def body(model: str) -> tuple[list[Step], int]:
    script = scripted(Stream(EVENTS, (1, 4), 1), parse(model), [])
    return script.body, script.closing


def test_events_are_a_turn_of_the_loop_apart() -> None:
    steps, closing = body("demo")
    assert steps == [OPEN, TURN, A, TURN, B, TURN, C, TURN, END]
    assert steps[-closing:] == [TURN, END]


def test_content_keeps_the_rate_and_the_rest_does_not_wait() -> None:
    gap = Wait(0.1)
    assert body("demo-at-10") == ([OPEN, A, gap, B, gap, C, END], 1)


def test_chunks_without_a_rate_do_not_wait_at_all() -> None:
    assert body("demo-chunks-3") == ([OPEN, A, B, C, END], 1)
