"""How often a webhook gets a message."""

from __future__ import annotations

import pytest

from relayd.alerts.pace import Pace

BURST, RESERVED, EVERY = 6, 3, 10.0


@pytest.fixture
def pace() -> Pace:
    return Pace(BURST, RESERVED, EVERY, 0.0)


def sent(pace: Pace, now: float, *, urgent: bool) -> int:
    """How many messages may be sent at once."""
    number = 0
    while pace.wait(now, urgent=urgent) == 0.0:
        pace.take()
        number += 1
    return number


def test_a_few_messages_go_out_at_once_and_then_one_in_a_while(pace: Pace) -> None:
    assert sent(pace, 0.0, urgent=True) == BURST
    assert pace.wait(0.0, urgent=True) == EVERY
    assert pace.wait(4.0, urgent=True) == 6.0
    assert sent(pace, 10.0, urgent=True) == 1
    assert repr(pace) == "<Pace 0.0 of 6>"


def test_critical_news_finds_room_however_much_else_was_told(pace: Pace) -> None:
    assert sent(pace, 0.0, urgent=False) == BURST - RESERVED
    assert pace.wait(0.0, urgent=False) == EVERY
    assert sent(pace, 0.0, urgent=True) == RESERVED
    # And what matters less waits until the room for what is critical is there again.
    assert pace.wait(0.0, urgent=False) == (RESERVED + 1) * EVERY


def test_a_long_silence_makes_no_larger_burst(pace: Pace) -> None:
    assert sent(pace, 1e6, urgent=True) == BURST


def test_when_the_wait_is_over_there_is_a_message(pace: Pace) -> None:
    """However the numbers are rounded."""
    now = 0.1
    sent(pace, now, urgent=True)
    for _ in range(1000):
        now += pace.wait(now, urgent=True)
        assert pace.wait(now, urgent=True) == 0.0
        pace.take()


def test_without_a_pace_nothing_waits() -> None:
    assert Pace(1, 0, 0.0, 0.0).wait(0.0, urgent=False) == 0.0
