"""The screen of `relayd status` and `relayd top`."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from relayd.cli.glance import MOST_KEYS, screen
from relayd.cli.looks import Between, Look
from relayd.metrics.states import LedgerState
from tests.support.watched import DOORS, FAILED, SERVED, Watched, door


def drawn(seen: Between, width: int = 120, silence: str = "") -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(screen(seen, width, silence))
    return out.getvalue()


def row(text: str, name: str) -> str:
    """The line of a table that begins so, its gaps narrowed."""
    [line] = [line for line in text.splitlines() if line.strip().startswith(name)]
    return " ".join(line.split())


def test_the_first_lines_say_how_it_does() -> None:
    watched = Watched()
    text = drawn(Between(watched.look(0.0), watched.look(10.0, [SERVED] * 9 + [FAILED])))
    assert "relayd 1.2.3   up " in text
    assert "requests  1/s (10 in 10.0 s), 1 failed, 0 over a limit" in text
    assert "tokens    in 9/s, out 18/s, cached 4/s   $32.40 an hour" in text
    assert "first byte <=250 ms, p95 <=250 ms; own part p95 <=0.5 ms" in text
    assert "!" not in text and "realtime" not in text
    watched.sessions = 2
    assert "2 realtime" in drawn(Between(None, watched.look(20.0)))


def test_the_tables_say_how_each_key_and_model_does() -> None:
    watched = Watched()
    text = drawn(Between(watched.look(0.0), watched.look(10.0, [SERVED] * 9 + [FAILED])))
    assert row(text, "up/1") == "up/1 up - 1 open 2 1.00 90%"
    assert row(text, "up/2") == "up/2 cooling 12.0 s - 2 0.00 -"
    assert row(text, "up/3") == "up/3 refused never - 2 0.00 -"
    assert row(text, "fast") == "fast 1.00 1 14 18 32.40"


def test_whoever_is_up_for_days_is_said_to_be() -> None:
    page = 'relayd_build_info{version="1"} 1\nprocess_start_time_seconds 1000\n'
    assert "up 3 d 04 h" in drawn(Between(None, Look(page, 1000 + 76 * 3600)))


def test_where_nothing_happened_there_is_nothing_to_tell() -> None:
    watched = Watched()
    assert "model" not in drawn(Between(None, watched.look(1.0))).replace("models in", "")
    quiet = Between(watched.look(1.0, [SERVED]), watched.look(2.0))
    assert "first byte -, p95 -" in drawn(quiet)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_on_a_narrow_terminal_columns_go_and_no_line_is_longer(width: int) -> None:
    watched = Watched()
    text = drawn(Between(watched.look(0.0), watched.look(10.0, [SERVED])), width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("up/1", "refused", "fast", "req/s"):
        assert word in text
    assert ("$/h" in text) == (width >= 60)


def test_of_many_keys_those_in_trouble_come_first() -> None:
    doors = (*(door(str(n), "up") for n in range(MOST_KEYS + 9)), door("bad", "open", 3.0))
    text = drawn(Between(None, Watched(doors=doors).look(1.0)))
    assert row(text, "up/bad").startswith("up/bad open 3.00 s")
    assert "10 more, 10 of them up" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (LedgerState(full=True), "! requests are refused: usage rows cannot be kept"),
        (LedgerState(5, 61.0), "! the usage log is 1 m 01 s behind, 5 rows wait"),
    ],
)
def test_trouble_of_the_ledger_is_said(state: LedgerState, words: str) -> None:
    assert words in drawn(Between(None, Watched(state).look(1.0)))


def test_other_trouble_is_said() -> None:
    watched = Watched(doors=DOORS[1:])
    watched.lines_lost = 1234
    watched.reloads.note(1.0, ok=False)
    watched.metrics.woke(0.0, 0.3)
    text = drawn(Between(None, watched.look(1.0)), silence="no answer for 4 s: \x1b[2J")
    for words in (
        "! no answer for 4 s: \ufffd[2J",
        "! no upstream key takes requests",
        "! the last reload was refused",
        "! the event loop is late: p99 <=500 ms",
        "! 1,234 lines of the log lost",
    ):
        assert words in text


def test_what_is_longer_than_the_last_bucket_is_said_so() -> None:
    watched = Watched()
    seen = Between(watched.look(0.0), watched.look(1.0, [replace(SERVED, first_byte=9999.0)]))
    assert "first byte more than 10 min" in drawn(seen)


@pytest.mark.parametrize("name", ["gpt-[/]*", "[red]x", "\x1b]0;owned\x07\x1b[2Jm", ":smile:"])
def test_a_name_is_neither_markup_nor_a_command_to_the_terminal(name: str) -> None:
    page = (
        f'relayd_build_info{{version="{name}"}} 1\n'
        f'relayd_requests_total{{model="{name}",outcome="ok"}} 5\n'
        f'relayd_upstream_key_state{{upstream="{name}",key="1",state="{name}"}} 1\n'
    )
    text = drawn(Between(None, Look(page, 0.0)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)
    assert name.replace("\x1b", "\ufffd").replace("\x07", "\ufffd") in text
