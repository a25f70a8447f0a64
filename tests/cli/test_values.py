"""What people type behind an option, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relayd.cli.values import (
    AMOUNT,
    parse_cap,
    parse_count,
    parse_duration,
    parse_endpoints,
    parse_expiry,
    parse_list,
    parse_moment,
    parse_networks,
)
from relayd.money import DOLLAR
from tests.store.samples import NOON

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", NOON - 90),
        ("30m", NOON - 1800),
        ("2h", NOON - 7200),
        (" 1d ", NOON - DAY),
        ("2w", NOON - 14 * DAY),
        ("999999999w", 0.0),
        ("2026-11-21", NOON - 12 * 3600),
        ("2026-11-21T12:00", NOON),
        ("2026-11-21 13:00+01:00", NOON),
    ],
)
def test_moments_are_ago_or_dates_in_utc(text: str, seconds: float) -> None:
    assert parse_moment(text, NOON) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12h", NOON + 12 * 3600),
        ("30d", NOON + 30 * DAY),
        ("2026-11-22", NOON + 12 * 3600),
        ("2026-11-21T14:00+01:00", NOON + 3600),
    ],
)
def test_expiries_are_from_now_or_dates_in_utc(text: str, seconds: float) -> None:
    assert parse_expiry(text, NOON) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "is no time: write 12h, 30d"),
        ("", "is no time"),
        ("-1d", "is no time"),
        ("0d", "is in the past"),
        ("2026-11-21", "is in the past"),
        ("2020-01-01T00:00", "is in the past"),
        ("999999999w", "too far away"),
    ],
)
def test_what_is_no_time_to_come_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_expiry(text, NOON)


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1d", "2026-13-01", "٣d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(text, NOON)


def test_durations_are_counted() -> None:
    assert [parse_duration(text) for text in ("0", "90s", "24h", "7d")] == [
        0.0,
        90.0,
        DAY,
        7 * DAY,
    ]


def test_counts_may_be_thousands_or_millions() -> None:
    texts = ("60", "100k", "100K", "2M", "1_500", " 7 ")
    assert [parse_count(t) for t in texts] == [60, 100_000, 100_000, 2_000_000, 1500, 7]


def test_caps_are_dollars_from_nothing_on() -> None:
    assert [parse_cap(t) for t in ("5", "0.25", "0")] == [5 * DOLLAR, DOLLAR // 4, 0]


def test_lists_are_cut_at_commas() -> None:
    assert parse_list(" gpt-*, claude-* ,") == ("gpt-*", "claude-*")
    assert parse_endpoints("Chat,audio") == ("chat", "audio")


def test_networks_are_written_as_networks_are() -> None:
    written = parse_networks("10.0.0.0/8, 203.0.113.7,2001:DB8::/32,::1")
    assert written == ("10.0.0.0/8", "203.0.113.7/32", "2001:db8::/32", "::1/128")


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_duration, "-1h", "is no duration"),
        (parse_duration, "1y", "is no duration"),
        (parse_count, "0", "is no number such as 60"),
        (parse_count, "-5", "is no number"),
        (parse_count, "1.5", "is no number"),
        (parse_count, "9" * 15 + "M", "is no number"),
        (parse_cap, "-1", "less than nothing"),
        (parse_cap, "five", "is not an amount of dollars"),
        (parse_cap, "1e400", "beyond"),
        (parse_list, " , ", "names nothing"),
        (parse_endpoints, "chat,video", "'video' is none of chat, embeddings"),
        (parse_networks, "10.0.0.0/33", "is no address or network"),
        (parse_networks, "example.com", "is no address or network"),
        (parse_networks, "10.0.0.5/8", "did you mean 10.0.0.0/8?"),
        (parse_networks, "2001:db8::1/32", "did you mean 2001:db8::/32?"),
    ],
)
def test_what_cannot_be_meant_is_refused(parse: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        parse(text)


def test_a_value_tells_what_it_is() -> None:
    assert repr(AMOUNT) == "Value(DOLLARS)"
