"""Waits share one timer, are forgotten when cancelled, and do not drift."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from relayd.demo.playback import Playback, Ticker
from relayd.demo.script import FOREVER, Close, Send, Step, Wait


class Timer:
    """A timer that was armed."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandWoundLoop:
    """A loop whose clock moves only when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        return self.call_at(self.now, callback)

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def wind(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while due := [timer for timer in self.armed if timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = end


class Paper:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


class Stage:
    """A loop, its ticker, and what has been written and ended."""

    def __init__(self) -> None:
        self.loop = HandWoundLoop()
        self.ticker = Ticker(cast(asyncio.AbstractEventLoop, self.loop))
        self.paper = Paper()
        self.ended = 0

    def play(self, *steps: Step) -> Playback:
        def ended() -> None:
            self.ended += 1

        loop: Any = self.loop
        playback = Playback(steps, cast(Any, self.paper), self.ticker, loop, ended)
        playback.play()
        return playback


def test_steps_are_played_in_order_and_the_end_is_told_once() -> None:
    stage = Stage()
    stage.play(Send(b"a"), Wait(0.5), Send(b"b"), Close(), Send(b"never"))
    assert stage.paper.written == [b"a"]
    stage.loop.wind(0.51)
    assert stage.paper.written == [b"a", b"b"]
    assert (stage.paper.closed, stage.ended) == (True, 1)


def test_many_waits_arm_one_timer() -> None:
    stage = Stage()
    for number in range(100):
        stage.play(Wait(1 + number / 100))
    assert stage.ticker.waiting == 100
    assert len(stage.loop.armed) == 1
    stage.loop.wind(3)
    assert stage.ended == 100
    assert stage.loop.armed == []


def test_an_earlier_wait_is_not_kept_by_a_later_one() -> None:
    stage = Stage()
    stage.play(Wait(60), Send(b"late"))
    stage.play(Wait(0.01), Send(b"early"))
    stage.loop.wind(0.02)
    assert stage.paper.written == [b"early"]


def test_a_stream_does_not_drift() -> None:
    stage = Stage()
    stage.play(*[step for _ in range(1000) for step in (Send(b"a"), Wait(1 / 300))])
    stage.loop.wind(2)
    assert abs(len(stage.paper.written) - 600) <= 1


def test_a_cancelled_playback_leaves_no_timer() -> None:
    stage = Stage()
    for playback in [stage.play(Wait(5)), stage.play(Wait(FOREVER)), stage.play(Wait(0))]:
        playback.cancel()
    assert stage.ticker.waiting == 0
    assert stage.loop.armed == []
    stage.loop.wind(9)
    assert stage.ended == 0


def test_nothing_is_written_while_the_transport_is_full() -> None:
    stage = Stage()
    playback = stage.play(Wait(0.1), *[Send(b"a")] * 3)
    playback.pause()
    stage.loop.wind(1)
    assert stage.paper.written == [b"a"]
    playback.resume()
    stage.loop.wind(0)
    assert stage.paper.written == [b"a"] * 3


def test_reprs_tell_the_truth() -> None:
    stage = Stage()
    playback = stage.play(Wait(1), Send(b"a"))
    assert repr(stage.ticker) == "Ticker(1 waiting in 1 slots)"
    assert repr(playback) == "Playback(playing, step 1 of 2)"
    stage.loop.wind(2)
    assert repr(playback) == "Playback(ended, step 2 of 2)"
