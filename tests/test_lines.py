"""What a line looks like: words, fields, traces, and nothing that could do harm."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from relayd.lines import (
    LONGEST_TRACE_LINE,
    LONGEST_VALUE,
    LONGEST_WORDS,
    MOST_LISTED,
    MOST_TRACE_LINES,
    Form,
    Lines,
    printable,
    say,
    worded,
)

NASTY = "a\n2026-01-01 00:00:00 info request id=req_forged \x1b[31mred\x07 \u202ertl"


def said(
    caplog: pytest.LogCaptureFixture,
    words: str,
    form: Form = "text",
    *,
    journald: bool = False,
    **fields: Any,
) -> str:
    """The line that comes of it."""
    with caplog.at_level(logging.DEBUG, "relayd"):
        say(logging.WARNING, words, **fields)
    return Lines(form, journald=journald).format(caplog.records[-1])


def test_words_and_fields_make_a_line(caplog: pytest.LogCaptureFixture) -> None:
    line = said(
        caplog, "it opens", request="req_1", why="no answer", again_s=4.56789, left=0, whole=True
    )
    assert line.split(" ", 2)[2] == (
        'warning it opens request=req_1 why="no answer" again_s=4.568 left=0 whole=yes'
    )


def test_in_json_fields_are_members(caplog: pytest.LogCaptureFixture) -> None:
    line = said(caplog, "reloaded", "json", keys=["a", "b c"], again_s=1.5)
    document = orjson.loads(line)
    assert document.pop("time").endswith("+00:00")
    assert document == {
        "level": "warning",
        "message": "reloaded",
        "keys": ["a", "b c"],
        "again_s": 1.5,
    }


def test_what_is_not_known_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    line = said(caplog, "x", request="", why=None, keys=[], odd=False)
    assert line.endswith("warning x")


def test_a_list_is_one_value_and_a_long_one_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "x", keys=["a", "b"]).endswith(' keys="a, b"')
    names = [f"n{number}" for number in range(MOST_LISTED + 5)]
    assert said(caplog, "x", keys=names).endswith(f'n{MOST_LISTED - 1}, (5 more)"')


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("journald", [False, True])
def test_nothing_in_a_line_can_begin_another_or_colour_a_terminal(
    caplog: pytest.LogCaptureFixture, form: Form, journald: bool
) -> None:
    line = said(caplog, f"model {NASTY}", form, journald=journald, why=NASTY, keys=[NASTY])
    assert line.isprintable()
    assert "id=req_forged ?[31mred? ?rtl" in line
    if form == "json":
        assert orjson.loads(line.partition(">")[2] if journald else line)["why"] in line


def test_half_a_character_does_no_harm() -> None:
    assert worded("x\ud800") == "x?" and printable("x\ud800") == "x?"


def test_a_quote_in_a_value_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "x", why='a" key="b').endswith(""" why="a' key='b\"""")


def test_everything_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    line = said(caplog, "w" * 1_000_000, why="x" * 1_000_000, keys=["y" * 1_000_000])
    assert len(line) < LONGEST_WORDS + 2000 and line.count("~") == 3


def test_a_short_word_has_no_spaces_and_is_cut() -> None:
    assert printable("a b\n") == "a?b?"
    assert printable("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE
    assert printable("x" * (LONGEST_VALUE + 1)) == "x" * LONGEST_VALUE + "~"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad key sk-proj-abcDEF123456", "bad key sk-***"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("https://x/?key=AbCdEf1234&alt=sse", "https://x/?key=***&alt=sse"),
        ("AIzaSyA1234567890", "AIza***"),
        ("sk-relayd-1234567890abcdef.", "sk-***"),
        ("hf_" + "aB3" * 10, "hf_***"),
        ("basic realm", "basic realm"),
        ("task-force and risk-averse people", "task-force and risk-averse people"),
        ("key=openai/1", "key=openai/1"),
        ("upstream key sk-telecom/1", "upstream key sk-telecom/1"),
        ("hf-inference-router-eu-west-1", "hf-inference-router-eu-west-1"),
        ("xai-backup pk-eu-west-1", "xai-backup pk-eu-west-1"),
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str, shown: str) -> None:
    assert worded(text) == shown


def test_a_key_that_the_cut_parts_is_hidden() -> None:
    assert "1234" not in worded("x" * 90 + " sk-12345678", 100)


def failure(depth: int = 0, text: str = "why") -> logging.LogRecord:
    """A record with an exception that was raised so deep."""

    def dig(left: int) -> None:
        if left:
            (dig, down)[left % 2](left - 1)
        else:
            raise ValueError(text)

    def down(left: int) -> None:
        dig(left)

    try:
        dig(depth)
    except ValueError as exc:
        info = (type(exc), exc, exc.__traceback__)
        return logging.LogRecord("relayd", 40, "", 0, "it broke", (), info)
    raise AssertionError


def test_a_trace_is_lines_of_its_own_on_a_terminal_which_begin_like_no_other() -> None:
    lines = Lines("text").format(failure(text=NASTY)).splitlines()
    assert lines[0].endswith("error it broke") and len(lines) > 4
    assert all(line.startswith("  | ") and line.isprintable() for line in lines[1:])


def test_under_journald_it_is_part_of_the_one_line() -> None:
    line = Lines("text", journald=True).format(failure())
    assert line.startswith("<3>error it broke | Traceback") and "\n" not in line


def test_in_json_it_is_a_member() -> None:
    document = orjson.loads(Lines("json").format(failure()))
    assert document["exception"].endswith("\nValueError: why")


def test_a_long_one_keeps_its_beginning_and_more_of_its_end() -> None:
    trace = orjson.loads(Lines("json").format(failure(200, "w" * 9999)))["exception"].splitlines()
    assert len(trace) == MOST_TRACE_LINES + 1
    assert trace[0].startswith("Traceback") and "lines more" in trace[MOST_TRACE_LINES // 4]
    assert len(trace[-1]) == LONGEST_TRACE_LINE + 1


def test_what_a_library_says_has_its_name() -> None:
    record = logging.LogRecord("asyncio", 30, "", 0, "slow %s", ("callback",), None)
    assert Lines("text").format(record).endswith("warning slow callback logger=asyncio")


def test_a_level_that_nobody_knows_is_information() -> None:
    record = logging.LogRecord("relayd", 15, "", 0, "x", (), None)
    assert Lines("text", journald=True).format(record).startswith("<6>")


def test_a_line_below_the_level_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "relayd"):
        say(logging.DEBUG, "x", odd=object())
    assert not caplog.records
