"""Days and months of a time zone: its clocks are set forward and back, and some days are odd."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.calendar import Calendar

HOUR = 3600.0
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Africa/Cairo", "Asia/Kolkata"]
MOMENTS = st.floats(0.0, 4e9)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_a_day_lasts_from_midnight_to_midnight_of_the_zone() -> None:
    berlin = Calendar("Europe/Berlin")
    midnight = at("2026-11-22", "Europe/Berlin")

    assert berlin.day(midnight - 0.001) == 20261121
    assert berlin.day(midnight) == 20261122
    assert Calendar().day(midnight) == 20261121
    assert Calendar().day(0.0) == 19700101


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-21", 24)]
)
def test_days_on_which_clocks_are_set_have_their_true_length(day: str, hours: int) -> None:
    berlin = Calendar("Europe/Berlin")

    assert berlin.day_left(at(day, "Europe/Berlin")) == hours * HOUR


def test_the_rest_of_a_day_and_a_month_is_exact() -> None:
    calendar = Calendar("Europe/Berlin")
    now = at("2026-10-24T23:00:00", "Europe/Berlin")

    assert calendar.day_left(now) == HOUR
    assert calendar.month_left(now) == 7 * 24 * HOUR + 2 * HOUR  # an hour is given back
    december = at("2026-12-31T23:59:59.5", "Europe/Berlin")
    assert calendar.month_left(december) == calendar.day_left(december) == 0.5
    assert calendar.month_left(december + 0.5) == 31 * 24 * HOUR


def test_a_zone_may_leap_over_midnight_or_over_a_day() -> None:
    cairo = Calendar("Africa/Cairo")  # 2026-04-24 begins at one o'clock
    leap = at("2026-04-24T01:00:00", "Africa/Cairo")
    assert (cairo.day(leap - 1), cairo.day(leap)) == (20260423, 20260424)
    assert cairo.day_left(leap) == 23 * HOUR

    samoa = Calendar("Pacific/Apia")  # there was no 2011-12-30
    leap = at("2011-12-31T00:00:00", "Pacific/Apia")
    assert (samoa.day(leap - 1), samoa.day(leap)) == (20111229, 20111231)
    assert samoa.day_left(leap - 1) == 1


def test_clocks_set_back_over_midnight_do_not_bring_yesterday_back() -> None:
    """At one past midnight they showed one past eleven in the evening again."""
    moment = at("2010-11-07T00:00:30", "America/St_Johns")

    fresh = [Calendar("America/St_Johns").day(moment + after) for after in (-60, 0, 60, 1800, 3600)]

    assert fresh == [20101106, 20101107, 20101107, 20101107, 20101107]


@given(st.sampled_from(ZONES), st.lists(MOMENTS, min_size=2, max_size=20))
def test_days_never_go_back_and_do_not_depend_on_what_was_asked_before(
    zone: str, moments: list[float]
) -> None:
    calendar = Calendar(zone)

    days = {moment: calendar.day(moment) for moment in moments}

    assert [days[moment] for moment in sorted(days)] == sorted(days.values())
    assert days == {moment: Calendar(zone).day(moment) for moment in moments}
    for moment in moments:
        left = calendar.day_left(moment)
        assert 0 < left <= 49 * HOUR
        assert left <= calendar.month_left(moment) <= 31 * 24 * HOUR + HOUR
        assert calendar.day(moment + left) > days[moment]


@given(MOMENTS)
def test_utc_days_are_those_of_the_standard_library(moment: float) -> None:
    assert str(Calendar().day(moment)) == datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d")


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Town", "America", "../etc", "/etc", "a\0b", "x" * 5000]
)
def test_a_name_that_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone such as UTC"):
        Calendar(name)


def test_it_says_its_zone() -> None:
    assert repr(Calendar("Asia/Kolkata")) == "Calendar('Asia/Kolkata')"
    assert Calendar("Asia/Kolkata").zone == "Asia/Kolkata"
