"""Calendar days as numbers (20261121), as far as the store needs them.

Which day a request counts to is decided when it is admitted, in the configured zone, and is kept in
its row. Here is only what must be said without a zone: the day of a row that came without one, and
the moment after which no zone on earth has that day any more.
"""

from __future__ import annotations

from datetime import UTC, datetime

LAST_MOMENT = 253_402_300_799.0  # 9999-12-31, the last day that four digits of a year can say
LAST_DAY = 99991231
# From here on some zone has no day after the day, which a calendar wants to know.
LAST_DAYS = LAST_MOMENT - 2 * 86_400.0
_WESTERNMOST = 12 * 3600  # seconds that the latest zone is behind UTC


def utc_day(moment: float) -> int:
    """The day in UTC; 0 for what is no moment (NaN, before 1970, after 9999)."""
    if not 0 <= moment <= LAST_MOMENT:
        return 0
    day = datetime.fromtimestamp(moment, UTC)
    return day.year * 10_000 + day.month * 100 + day.day


def within(moment: float) -> float:
    """The moment, or the nearest that a calendar has."""
    return min(max(moment, 0.0), LAST_MOMENT)


def begun_everywhere(day: int) -> float:
    """The moment from which on this day has begun in every zone. Raises ValueError for no day."""
    start = datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=UTC)
    return start.timestamp() + _WESTERNMOST


def month_of(day: int) -> int:
    """202611 for 20261121."""
    return day // 100
